"""Values in messages: how they are shown, and what is wrong with them, as pydantic words its own types and tags."""

import json
import re
from collections.abc import Sequence
from typing import Any

from core.component import did_you_mean
from core.text import redacted

KINDS = (
    ("int", "a whole number"),
    ("float", "a number"),
    ("finite_number", "a finite number"),
    ("bool", "true or false"),
    ("string", "text"),
    ("tuple", "a list"),
    ("list", "a list"),
    ("dict", "a mapping"),
    ("model", "a mapping"),
)
"""how the names of pydantic's errors of type begin, and what such a field takes"""
BOUNDS = {
    "greater_than_equal": ("ge", "{} and more"),
    "greater_than": ("gt", "more than {:g}"),
    "less_than_equal": ("le", "at most {}"),
    "less_than": ("lt", "less than {:g}"),
}
LONGEST = 60  # characters of a value that a message shows
LONGEST_WORD, LONGEST_TEXT = 1500, 4000


def shown(value: Any) -> str:
    """A value in a message: text in quotes, everything else as YAML has it; long ones are cut."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return cut(redacted(text), LONGEST)


def kind_of(value: Any) -> str:
    """What a value is, in a sentence about what was given: `a dict`, `nothing (None)`."""
    return "nothing (None)" if value is None else f"a {type(value).__name__}"


def cut(text: str, length: int) -> str:
    """The text in at most `length` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def shortened(text: str) -> str:
    """A message whose words of over LONGEST_WORD characters, and itself beyond LONGEST_TEXT, are cut."""
    return cut(re.sub(rf"\S{{{LONGEST_WORD},}}", lambda word: cut(word[0], LONGEST), text), LONGEST_TEXT)


def listed(names: Sequence[str], most: int, others: str = "more") -> str:
    """The first `most` names, and how many `others` there are."""
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left} {others}" if left > 0 else "")


def value_fault(fault: Any) -> str:
    """An error of pydantic without its place: `takes a whole number (got 'x')`."""
    kind, got, context = fault["type"], shown(fault["input"]), fault.get("ctx", {})
    if kind in ("missing", "union_tag_not_found"):
        return "is missing"
    if kind == "json_invalid":
        return "holds text that is no Unicode"
    if kind.startswith("byte_size"):
        return f"not an amount such as 20GB, 1.5GiB or 800MB (got {got})"
    if kind == "value_error":
        said = " ".join(str(context["error"]).split())  # which may hold a user's line breaks
        return said if isinstance(fault["input"], dict) else f"{said} (got {got})"
    if kind in BOUNDS:
        name, words = BOUNDS[kind]
        return f"{got} is out of range; allowed: {words.format(context[name])}"
    if kind in ("too_short", "string_too_short"):
        least = context["min_length"]
        return "is empty" if least == 1 else f"holds {context['actual_length']}; allowed: {least} and more"
    if kind in ("too_long", "string_too_long"):
        of = " characters" if kind == "string_too_long" else ""
        return f"holds {len(fault['input']):,}{of}; allowed: up to {context['max_length']:,}"
    if kind in ("literal_error", "union_tag_invalid"):
        allowed = context.get("expected_tags") or context["expected"]
        given = context.get("tag", fault["input"])
        choices = allowed.replace("'", "").replace(" or ", ", ").split(", ")
        return f"{shown(given)} is unknown; {did_you_mean(given, choices)}"
    takes = next((words for start, words in KINDS if kind.startswith(start)), None)
    return f"takes {takes} (got {got})" if takes else f"cannot be {got}"
