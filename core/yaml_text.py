"""Reads YAML 1.2 (its core schema) or JSON into plain data, with the line of every value.

PyYAML parses. Its own types are YAML 1.1's, where 010 is 8, 2:1 is 121 and `no` is false, and of two equal keys the
last one wins: here 010 is 10, the others are text, and a key that stands twice is a fault.
"""

import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Place = tuple[str | int, ...]
"""keys and positions from the top of the file down to a value"""

MOST_BYTES = 4 * 2**20  # of a file
DEEPEST = 40  # collections within each other: the parser's recursion would end in a crash of the process
LARGEST = 20_000  # values, each alias counted as all that it stands for
MOST_FAULTS = 50  # that are told of one file
MOST_DIGITS = 300  # of a whole number: those of the greatest that still is a float
SHOWN = 40  # characters of a faulty line
TAG = "tag:yaml.org,2002:"
PLAIN, TEXT, MERGE, COLLECTIONS = "plain", f"{TAG}str", "<<", (f"{TAG}map", f"{TAG}seq")
UNPRINTABLE = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
WORDS = (
    ("mapping values are not allowed", "`key: value` cannot stand here"),
    ("cannot start any token", "text that begins with this character stands in quotes"),
    ("second occurrence", "an anchor stands twice"),
)
"""what a part of the parser's message means"""


@dataclass
class Document:
    """A file's `content`, the line of every place in it (a key's own for an entry of a mapping), and its `faults`."""

    content: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    faults: list[tuple[int, str]] = field(default_factory=list)
    """(line, what is wrong there)"""

    def line(self, place: Place) -> int | None:
        """The line of a place, or of the nearest above it that the file has; None where nothing was read."""
        return next((self.lines[place[:n]] for n in range(len(place), -1, -1) if place[:n] in self.lines), None)


def read_document(data: bytes, is_text: Callable[[Place], bool] = lambda place: False) -> Document:
    """The one document of a file; `is_text` names the places whose scalars are kept as they are written."""
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return Document(faults=[(line, "cannot be read: it is not written in UTF-8")])
    if wrong := UNPRINTABLE.search(text):
        line = text.count("\n", 0, wrong.start()) + 1
        return Document(faults=[(line, f"cannot be read: character U+{ord(wrong[0]):04X} is not allowed in YAML")])
    try:
        if fault := _shape_fault(text):
            return Document(faults=[fault])
        node = yaml.compose(text, Loader=_Composer)
        if node is not None and _size(node, {}) > LARGEST:
            return Document(faults=[(1, f"cannot be read: its aliases stand for more than {LARGEST:,} values")])
        return _Reader(is_text).read(node)
    except yaml.MarkedYAMLError as error:
        return Document(faults=[_syntax_fault(text, error)])
    except yaml.YAMLError:
        return Document(faults=[(1, "cannot be read: it is no YAML")])


def read_bytes(path: Path) -> bytes:
    """A regular file's bytes; OSError if it cannot be read, ValueError if it is another thing or too large for a study.

    A device would never end, and a pipe wait for ever.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"it is {'a folder' if path.is_dir() else 'no regular file'}")
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"it holds more than {MOST_BYTES // 2**20} MiB")
    return data


def depth_of(text: str) -> int:
    """How many brackets are open at most, at once, in a value of the command line."""
    depth = deepest = 0
    for bracket in re.findall(r"[][{}]", text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def plain(text: str) -> Any:
    """A scalar without quotes: null, true or false, a whole number, a finite number, or else the text itself."""
    return next((convert(text) for form, convert in SCALARS if form.fullmatch(text)), text)


def _whole(text: str) -> Any:
    base = {"0x": 16, "0o": 8}.get(text[:2], 10)
    return int(text, base) if len(text) <= MOST_DIGITS else text


def _finite(text: str) -> Any:
    number = float(text)
    return number if abs(number) < float("inf") else text


SCALARS: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile("null|Null|NULL|~|"), lambda text: None),
    (re.compile("true|True|TRUE|false|False|FALSE"), lambda text: text[0] in "tT"),
    (re.compile("[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+"), _whole),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), _finite),
)
TYPES: dict[str, tuple[type, ...]] = {"null": (type(None),), "bool": (bool,), "int": (int,), "float": (int, float)}


class _Composer(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A loader that gives scalars without quotes and tag a tag of their own, instead of YAML 1.1's types."""

    yaml_implicit_resolvers = {None: [(PLAIN, re.compile(""))]}


class _StopError(Exception):
    pass


class _Reader:
    """Turns the parser's nodes into data."""

    def __init__(self, is_text: Callable[[Place], bool]) -> None:
        self.found = Document()
        self.is_text = is_text
        self.size = 0
        self.open: list[yaml.Node] = []

    def read(self, node: yaml.Node | None) -> Document:
        if node is not None:
            try:
                self.found.content = self._value(node, ())
            except _StopError:  # within an alias of itself, of which `_size` counts less
                fault = (1, f"cannot be read: its aliases stand for more than {LARGEST:,} values")
                self.found.faults = self.found.faults or [fault]
        return self.found

    def _value(self, node: yaml.Node, place: Place) -> Any:
        self.size += 1
        if self.size > LARGEST or len(self.found.faults) >= MOST_FAULTS:
            raise _StopError
        self.found.lines.setdefault(place, _line_of(node))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, place)
        if any(node is other for other in self.open):
            self._fault(node, place, "an alias stands within what it stands for")
            raise _StopError
        if node.tag not in COLLECTIONS:
            return self._fault(node, place, f"the tag {_tag(node)} is not taken here; leave it out")
        self.open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, place)
            return [self._value(item, (*place, i)) for i, item in enumerate(node.value)]
        finally:
            self.open.pop()

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        first: dict[str, int] = {}
        # `<<` first, so that an entry's own line is kept where it stands in for one that is merged
        for key, value in sorted(node.value, key=lambda entry: entry[0].value != MERGE):
            if not isinstance(key, yaml.ScalarNode):
                self._fault(key, place, "a key is a list or a mapping; allowed: text")
                continue
            name, line = key.value, _line_of(key)
            if name.count(".") > DEEPEST:  # which stand for mappings within each other
                self._fault(key, place, f"a name has more than {DEEPEST} dots")
                continue
            if name in first:
                self._fault(key, (*place, name), f"stands twice, first in line {first[name]}; leave one out")
                continue
            first[name] = line
            if name == MERGE and key.tag == PLAIN:
                merged = self._merged(value, place)
                continue
            self.found.lines[*place, name] = line
            own[name] = self._value(value, (*place, name))
        return {**merged, **own}

    def _merged(self, node: yaml.Node, place: Place) -> dict[str, Any]:
        """What `<<` brings in: a mapping, or several, the first of which wins."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                self._fault(source, (*place, MERGE), "takes an alias of a mapping, or a list of them")
                continue
            content = self._value(source, place)
            merged = {**(content if isinstance(content, dict) else {}), **merged}
        return merged

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Any:
        text: str = node.value
        if any("\ud800" <= character <= "\udfff" for character in text):
            return self._fault(node, place, "half of a surrogate pair is no character")
        if node.tag == TEXT:
            return text
        value = plain(text)
        if node.tag != PLAIN:
            if type(value) in TYPES.get(node.tag.removeprefix(TAG), ()):
                return value
            return self._fault(node, place, f"the tag {_tag(node)} is not taken for {text[:SHOWN]!r}")
        return text if value is not None and self.is_text(place) else value

    def _fault(self, node: yaml.Node, place: Place, what: str) -> None:
        where = "".join(f"{part}." for part in place).rstrip(".")
        self.found.faults.append((_line_of(node), f"{where + ': ' if where else ''}{what}"))


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node holds, each alias counted as all that it stands for: a sum over what each node holds once
    written, so that no alias is followed twice. What stands within itself counts there as one.
    """
    if (found := known.get(id(node))) is not None:
        return found
    known[id(node)] = 1
    if isinstance(node, yaml.MappingNode):
        known[id(node)] = 1 + sum(_size(value, known) for _, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        known[id(node)] = 1 + sum(_size(item, known) for item in node.value)
    return known[id(node)]


def _shape_fault(text: str) -> tuple[int, str] | None:
    """What cannot be composed: several documents, too many values, or collections too deep within each other."""
    depth = documents = 0
    for number, event in enumerate(yaml.parse(text, Loader=_Composer)):
        if number > 2 * LARGEST:  # keys are events too, and the ends of collections
            return _line_of(event), f"cannot be read: more than {LARGEST:,} values"
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        line = _line_of(event)
        if depth > DEEPEST:
            return line, f"cannot be read: more than {DEEPEST} lists and mappings within each other"
        if documents > 1:
            return line, "cannot be read: `---` begins a second document; allowed: one a file"
    return None


def _syntax_fault(text: str, error: yaml.MarkedYAMLError) -> tuple[int, str]:
    mark, problem = error.problem_mark or error.context_mark, str(error.problem or error.context)
    said = next((words for part, words in WORDS if part in problem), problem)
    lines = text.rstrip().split("\n")
    line = min(mark.line if mark else 0, len(lines) - 1)  # the parser finds the end of the file below its last line
    if mark and "\t" in lines[line][: mark.column + 1]:
        said = "a tab stands where YAML takes spaces"
    return line + 1, f"cannot be read: {said}, in {lines[line].strip()[:SHOWN]!r}"


def _line_of(what: yaml.Node | yaml.Event) -> int:
    assert what.start_mark is not None
    return what.start_mark.line + 1


def _tag(node: yaml.Node) -> str:
    return str(node.tag).replace(TAG, "!!")
