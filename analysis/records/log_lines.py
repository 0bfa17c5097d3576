"""The lines of log.jsonl: each carries its number and a checksum, so that a changed, lost or repeated line is found.

    {"event": "epoch", …, "line": 17, "crc": "9f2a81bc"}

The checksum is the CRC-32 of the line's bytes before `, "crc"`. Lines written before there were numbers have neither.
"""

import json
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from analysis.records.events import event_fault
from analysis.records.untrusted import parsed

Event = dict[str, Any]
TAIL = len(b', "crc": "12345678"}')


def written(event: Event, number: int) -> bytes:
    """The line that holds an event, as line `number` of its log."""
    text = json.dumps({**event, "line": number}, ensure_ascii=False, allow_nan=False).encode()[:-1]
    return text + _seal(text) + b"\n"


def _seal(text: bytes) -> bytes:
    return b', "crc": "%08x"}' % crc32(text)


def sealed(line: bytes, number: int) -> bool:
    """Whether a line, without its end, is line `number` as it was written."""
    text = line[:-TAIL]
    return line[-TAIL:] == _seal(text) and text.endswith(b', "line": %d' % number)


@dataclass(frozen=True)
class Line:
    """A line as it was read: its event without number and checksum, or the `fault` of a line that cannot be used."""

    event: Event
    number: int | None = None
    fault: str | None = None
    torn: bool = False
    """whether it is no JSON, as where it was written in part"""


def read_line(line: bytes) -> Line:
    """A line of the log, without its end."""
    try:
        event = parsed(line)
    except ValueError as error:
        return Line({}, fault=_why(line, error), torn=isinstance(error, json.JSONDecodeError | UnicodeDecodeError))
    number, crc = event.pop("line", None), event.pop("crc", None)
    if crc is not None and (not isinstance(number, int) or line[-TAIL:] != _seal(line[:-TAIL])):
        return Line({}, fault="was changed: its checksum differs")
    return Line(event, number if crc is not None else None, event_fault(event))


def _why(line: bytes, error: ValueError) -> str:
    if not line.strip():
        return "is blank"
    if line.startswith(b"\xef\xbb\xbf"):
        return "begins with a byte order mark"
    if b"\0" in line:
        return f"holds {line.count(0)} NUL bytes"
    if isinstance(error, UnicodeDecodeError):
        return "is no UTF-8"
    return f"is no JSON ({error})" if isinstance(error, json.JSONDecodeError) else str(error)
