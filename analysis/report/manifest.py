"""Records which files in report/ a report has written, so that a later report deletes those that it does not replace.

`manifest.json` lists them, and holds the marks of the figures that are drawn, the digests of what was written by which
`check` knows a file that was changed, and one of itself. All other files stay.
"""

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any

from analysis.records.untrusted import read_json
from analysis.report.exports import SUFFIXES, suffixes_of
from core.files import found_digest, write_text

MANIFEST = "manifest.json"
_PARQUET = ("trials.parquet", "epochs.parquet")
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
    `marks` of the figures (`analysis.figures.drawing`) and the digests of all that is written."""
    for name in earlier - files:
        (report / name).unlink(missing_ok=True)
    found = ((name, found_digest(report.parent / name)) for name in (*_PARQUET, *(f"report/{name}" for name in files)))
    _write(report, files, marks, {name: digest for name, digest in found if digest})


def digests(report: Path) -> dict[str, str] | None:
    """The digests of what a whole report has written, by the files' names from the run's folder; empty while one is
    written, and of reports of before there were any; None where the manifest is missing or damaged."""
    content = _read(report)
    if not isinstance(content.get("files"), list):
        return None
    known = content.get("digests")
    if not isinstance(known, dict):
        return {}
    if (report / MANIFEST).read_text(encoding="utf-8") != _text({**content, "digest": ""}):
        return None
    return {str(name): str(digest) for name, digest in known.items()}


def drawn(report: Path) -> dict[str, str]:
    """The marks of the figures that an earlier report has drawn, by their files' names."""
    found = _read(report).get("drawn")
    return {str(name): str(mark) for name, mark in found.items()} if isinstance(found, dict) else {}


def _write(report: Path, files: set[str], marks: Mapping[str, str], digests: Mapping[str, str] | None = None) -> None:
    content: dict[str, Any] = {"files": sorted(files), "drawn": dict(sorted(marks.items()))}
    whole = {**content, "digests": dict(sorted(digests.items())), "digest": ""} if digests else None
    write_text(report / MANIFEST, _text(whole) if whole else json.dumps(content, indent=1) + "\n")


def _text(content: Mapping[str, Any]) -> str:
    """The manifest, of whose text the `digest` is that with an empty one."""
    digest = blake2b(json.dumps(content, indent=1).encode(), digest_size=16).hexdigest()
    return json.dumps({**content, "digest": digest}, indent=1) + "\n"


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
