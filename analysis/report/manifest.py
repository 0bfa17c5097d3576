"""Records which files in report/ a report has written, so that a later report deletes those that it does not replace.

`manifest.json` lists them, and holds the marks of the figures that are drawn. All other files stay.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from analysis.records.untrusted import read_json
from analysis.report.exports import SUFFIXES, suffixes_of
from core.files import write_text

MANIFEST = "manifest.json"
FIGURES = "figures"


def files_of(tables: Iterable[str], figures: Iterable[str]) -> set[str]:
    """Names, relative to the report, of the files that tables and figures are written to."""
    written = {f"{name}{suffix}" for name in tables for suffix in suffixes_of(name)}
    return written | {f"{FIGURES}/{name}.svg" for name in figures} | {"index.html"}


def announce(report: Path, files: set[str]) -> set[str]:
    """Adds `files` to the manifest before they are written, so that the next report knows them even if this one is
    killed; returns the files of earlier reports."""
    earlier = _recorded(report)
    _write(report, earlier | files, drawn(report))
    return earlier


def settle(report: Path, files: set[str], earlier: set[str], marks: Mapping[str, str]) -> None:
    """Delete the files of earlier reports that are not among `files`, which the manifest then lists alone, with the
    `marks` of the figures (`analysis.figures.drawing`)."""
    for name in earlier - files:
        (report / name).unlink(missing_ok=True)
    _write(report, files, marks)


def drawn(report: Path) -> dict[str, str]:
    """The marks of the figures that an earlier report has drawn, by their files' names."""
    found = _read(report).get("drawn")
    return {str(name): str(mark) for name, mark in found.items()} if isinstance(found, dict) else {}


def _write(report: Path, files: set[str], marks: Mapping[str, str]) -> None:
    content = {"files": sorted(files), "drawn": dict(sorted(marks.items()))}
    write_text(report / MANIFEST, json.dumps(content, indent=1) + "\n")


def _read(report: Path) -> dict[str, Any]:
    return read_json(report / MANIFEST)


def _recorded(report: Path) -> set[str]:
    """The files that the manifest lists, without names that no report can have written."""
    listed = _read(report).get("files")
    return {name for name in listed if _possible(name)} if isinstance(listed, list) else set()


def _possible(name: object) -> bool:
    if not isinstance(name, str) or "\\" in name:
        return False
    path = PurePosixPath(name)
    if len(path.parts) == 2 and path.parts[0] == FIGURES:
        return path.suffix == ".svg"
    return len(path.parts) == 1 and (path.suffix in SUFFIXES or name == "index.html")
