"""JSON that anybody may have written: parsed within bounds, its text fit to be printed; the types of records' fields.

A run directory is shared, copied, downloaded, and damaged at rest, so nothing in it is believed before it is checked.
"""

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from core.text import UNSEEN, name_fault, visible
from core.value_words import value_fault

MOST_BYTES = 2**24  # of a small file
DEEPEST = 32  # lists and mappings within each other
FREE = {"error", "notes", "command", "rerun", "question", "audit", "leaks"}
"""fields of free text, such as the message of an exception: shown with control characters as escapes"""


def parsed(line: bytes) -> dict[str, Any]:
    """The JSON object in a line or file; ValueError says what is wrong with it."""
    text = line.decode()
    try:
        value = DECODER.decode(text)
        # Control characters are escapes or not ASCII; of few lines is more to see than that there are none.
        if "\\" in text or not text.isascii() or text.count("{") + text.count("[") > DEEPEST:
            value = _plain(value)
    except RecursionError:
        raise ValueError(f"is nested more than {DEEPEST} deep") from None
    if not isinstance(value, dict):
        raise ValueError("is no JSON object")
    return value


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a small file; empty where the file is missing, or holds nothing that `parsed` takes."""
    with suppress(OSError, ValueError):
        return parsed(file.read_bytes()) if file.stat().st_size <= MOST_BYTES else {}
    return {}


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number that JSON knows")


def _whole_number(text: str) -> int:
    if len(text) > 20:
        raise ValueError("holds a whole number of more than 64 bits")
    return int(text)


def _finite(text: str) -> float:
    if abs(value := float(text)) == float("inf"):
        raise ValueError(f"{text[:60]} is larger than any number that a computer holds")
    return value


DECODER = json.JSONDecoder(parse_constant=_no_number, parse_int=_whole_number, parse_float=_finite)


def _plain(value: Any, depth: int = DEEPEST, free: bool = False) -> Any:
    """The value with free text made visible; ValueError for other text with control characters, and for what is nested
    too deep."""
    if isinstance(value, str):
        return visible(value) if free else _printable(value)
    if isinstance(value, dict | list) and not depth:
        raise ValueError(f"is nested more than {DEEPEST} deep")
    if isinstance(value, dict):
        return {_printable(name): _plain(each, depth - 1, free or name in FREE) for name, each in value.items()}
    return [_plain(each, depth - 1, free) for each in value] if isinstance(value, list) else value


def _printable(text: str) -> str:
    if UNSEEN.search(text):
        raise ValueError(f"{visible(text)[:60]!r} holds control characters")
    return text


def _one_line(text: str) -> str:
    if not (text.isascii() and text.isprintable()) and (fault := name_fault(text)):
        raise ValueError(fault)
    return text


Name = Annotated[str, StringConstraints(max_length=2**16), AfterValidator(_one_line)]
Text = Annotated[str, AfterValidator(visible)]
KEY = re.compile("[0-9a-f]{12}")
Key = Annotated[str, StringConstraints(pattern=f"^{KEY.pattern}$")]
"""of a trial: it names the trial's files"""
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Epoch = Annotated[int, Field(ge=1, le=10**6)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Settings = dict[Name, Any]


class Record(BaseModel):
    """A part of the records: its known fields are checked; others are left as they are, for later versions."""

    model_config = ConfigDict(strict=True, extra="allow")


def fault_of(kind: type[Record], value: Any, name: str = "") -> str | None:
    """The first thing that is wrong with a value of this kind, as `FIELD: takes a whole number (got 'x')`, or None."""
    try:
        kind.model_validate(value)
    except ValidationError as error:
        fault = error.errors()[0]
        if fault["type"] == "string_pattern_mismatch":
            return f"{_at(fault)}: {fault['input']!r:.60} is no trial's key (twelve hex digits)"
        return f"{_at(fault)}: {value_fault(fault)}"
    return None


def _at(fault: Any) -> str:
    return visible(".".join(map(str, fault["loc"])))[:80]
