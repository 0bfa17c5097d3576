"""Records which files in report/ a report has written, so that a later report deletes those that it does not replace.

`manifest.json` lists them. All other files stay.
"""

import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

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
    _write(report, earlier | files)
    return earlier


def settle(report: Path, files: set[str], earlier: set[str]) -> None:
    """Delete the files of earlier reports that are not among `files`, which the manifest then lists alone."""
    for name in earlier - files:
        (report / name).unlink(missing_ok=True)
    _write(report, files)


def _write(report: Path, files: set[str]) -> None:
    write_text(report / MANIFEST, json.dumps({"files": sorted(files)}, indent=1) + "\n")


def _recorded(report: Path) -> set[str]:
    """The files that the manifest lists, without names that no report can have written."""
    try:
        listed = json.loads((report / MANIFEST).read_text(encoding="utf-8"))["files"]
        return {name for name in listed if _possible(name)}
    except (OSError, ValueError, TypeError, KeyError):
        return set()


def _possible(name: object) -> bool:
    if not isinstance(name, str) or "\\" in name:
        return False
    path = PurePosixPath(name)
    if len(path.parts) == 2 and path.parts[0] == FIGURES:
        return path.suffix == ".svg"
    return len(path.parts) == 1 and (path.suffix in SUFFIXES or name == "index.html")
