"""log.jsonl, the source of truth: reading it, and cutting off the torn last line that a kill leaves behind."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """Events in order. A torn last line is left out; a bad line before it is a ValueError naming file and line."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                event = _parse(line)
            except ValueError as error:
                if file.read(1):
                    raise ValueError(f"{path}:{number}: {error}") from None
                return
            yield event


def news(row: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """What an epoch's row tells beyond an earlier row of that epoch: the values that were null there."""
    return {name: value for name, value in row.items() if value is not None and known.get(name) is None}


def _parse(line: bytes) -> dict[str, Any]:
    event = json.loads(line.decode())
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        raise ValueError("not a JSON object with an `event`")
    return event


def repair_tail(path: Path) -> int:
    """Cut a torn last line off the log, so that the next line can be appended; returns the number of bytes cut."""
    if not path.exists() or not path.stat().st_size:
        return 0
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        begin = _start_of_last_line(file.fileno(), size)
        line = os.pread(file.fileno(), size - begin, begin)
        try:
            _parse(line)
            torn = not line.endswith(b"\n")
        except ValueError:
            torn = True
        if not torn:
            return 0
        file.truncate(begin)
        file.flush()
        os.fsync(file.fileno())
        return size - begin


def _start_of_last_line(descriptor: int, size: int, block: int = 1 << 16) -> int:
    """Offset behind the last newline that is not the file's final byte; 0 if there is none."""
    end = size - 1
    while end > 0:
        begin = max(0, end - block)
        found = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0
