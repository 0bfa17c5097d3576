"""Digests of the source's files, remembered by (size, times), so that an unchanged file is not read again.

Remembering only saves time: a moved, touched or copied folder is read once more and gives the same digests.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from core.aside import thread_pool
from core.files import write_text
from datasets.base import Source

SETTLE_NS = 2_000_000_000
"""a file changed this recently may change again within the same time stamp: its digest is not remembered"""

Stamp = tuple[int, int, int]


@dataclass
class Contents:
    """What the files held when they were read."""

    digests: dict[str, str] = field(default_factory=dict)
    stamps: dict[str, Stamp] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def read_contents(source: Source, folder: Path) -> Contents:
    """The digest of every file of the source; `folder` holds the remembered ones, and need not be writable."""
    contents = Contents()
    if not source.files:
        return contents
    memory = folder / f"seen-{blake2b(str(source.root).encode(), digest_size=8).hexdigest()}.json"
    seen = _load(memory)
    now = time.time_ns()

    def read(item: tuple[str, Path]) -> None:
        name, file = item
        try:
            stamp = _stamp(file)
            known = seen.get(name)
            digest = known[1] if known and known[0] == stamp else _digest(file)
        except OSError as error:
            contents.faults.append(f"{file}: cannot be read ({error.strerror or error})")
            return
        contents.stamps[name] = stamp
        contents.digests[name] = digest

    with thread_pool() as pool:
        list(pool.map(read, source.files.items()))
    settled = {
        name: (stamp, contents.digests[name])
        for name, stamp in contents.stamps.items()
        if max(stamp[1:]) < now - SETTLE_NS
    }
    if settled != seen:
        _save(memory, settled)
    return contents


def changed_files(source: Source, contents: Contents) -> Iterator[str]:
    """One fault for every file that is no longer what `read_contents` read."""
    for name, stamp in contents.stamps.items():
        file, now = source.files[name], None
        with suppress(OSError):
            now = _stamp(file)
        if now != stamp:
            yield f"{file}: changed while it was being read; run again when nothing writes there"


def _stamp(file: Path) -> Stamp:
    # The time of the last status change cannot be set back, as copying tools do with the time of modification.
    status = file.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _digest(file: Path) -> str:
    return blake2b(file.read_bytes(), digest_size=16).hexdigest()


def _load(memory: Path) -> dict[str, tuple[Stamp, str]]:
    try:
        raw = json.loads(memory.read_text())
        return {name: ((size, modified, changed), digest) for name, (size, modified, changed, digest) in raw.items()}
    except (OSError, ValueError, TypeError, AttributeError):  # absent or torn: everything is read again
        return {}


def _save(memory: Path, settled: Mapping[str, tuple[Stamp, str]]) -> None:
    rows = {name: [*stamp, digest] for name, (stamp, digest) in settled.items()}
    with suppress(OSError):  # a read-only cache folder that already holds the data set is good enough
        write_text(memory, json.dumps(rows))
