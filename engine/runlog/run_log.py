"""log.jsonl, to which the driver appends every event of a run as a JSON line.

The log is the only state: what is not in it did not happen, and Parquet files and reports are made from it.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from analysis.records.log import repair_tail
from analysis.records.log_lines import written
from analysis.records.run_directory import RunDirectory
from core.errors import Interrupted, Moved, disk_fault
from core.text import shown
from engine.runlog.history import History


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class RunLog:
    """The append-only log of one run; a line is one system call, so a kill tears at most the last."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        repair_tail(run.log)
        self.history = History.of(run)
        self.lines = self.history.lines
        self._file = os.open(run.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.fsync(self._file)
        os.close(self._file)

    def extend(self, events: Iterable[dict[str, Any]]) -> None:
        for event in events:
            self.append(**event)

    def append(self, **event: Any) -> None:
        """Write the whole event; if the disk does not take it, nothing, and raise Interrupted: Moved where the run's
        folder is elsewhere by now.

        What code of the user's own or a library says, and the command, is recorded as it may be shown.
        """
        self.check_place()
        if event.get("error"):
            event["error"] = shown(event["error"])
        if "command" in event:
            event["command"] = [*map(shown, event["command"])]
        line = written(event, self.lines + 1)
        size = os.fstat(self._file).st_size
        try:
            with stopping():
                count = os.write(self._file, line)
                while count < len(line):  # a nearly full disk takes a part, and fails at the next write
                    count += os.write(self._file, line[count:])
        except Interrupted:
            with suppress(OSError):  # if not now, the torn line is cut when the log is opened again
                os.ftruncate(self._file, size)
            raise
        self.lines += 1
        self.history.add(event)

    def check_place(self) -> None:
        """Moved if the log's path is no longer that of the open file: what trials write would go to two folders."""
        with suppress(OSError):
            if os.path.samestat(self.run.log.stat(), os.fstat(self._file)):
                return
        place = None
        with suppress(OSError):  # there is no /proc elsewhere than on Linux
            place = Path(f"/proc/self/fd/{self._file}").readlink()
        raise Moved(self.run.root, place.parent if place and place.exists() else None)


@contextmanager
def stopping() -> Iterator[None]:
    """Raises Interrupted if the disk is full, read-only or failing in the block."""
    try:
        yield
    except OSError as error:
        if fault := disk_fault(error):
            raise Interrupted(fault) from error
        raise
