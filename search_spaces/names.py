"""What the names of studies, factors, levels and cells may be, and which two are read as one."""

import unicodedata
from collections.abc import Collection, Iterable, Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from core.component import did_you_mean
from core.text import name_fault
from core.yaml_text import Place

LONGEST_FOLDER = 255  # bytes of a folder's name that file systems take
LONGEST_NAME = 2000  # characters of a level's, a factor's or a cell's
LONGEST_PATH = 1000  # bytes of a study's name: with a run's place before it and files below it, Linux takes 4,096


Placed = list[tuple[Place, str]]
"""faults: (where it stands, from the validated object down; a sentence) each"""


class Misfit(ValueError):  # noqa: N818
    """Fields that do not fit each other."""

    def __init__(self, faults: Iterable[tuple[Place, str]]) -> None:
        self.faults = [(place, " ".join(text.split())) for place, text in faults]  # a user's key may hold line breaks
        super().__init__("; ".join(text for _, text in self.faults))


def _name(text: str) -> str:
    if fault := name_fault(text):
        raise ValueError(fault)
    if text.strip() != text:
        raise ValueError("has a space at an end")
    if text and not _look(text):
        raise ValueError("holds no character that is seen")
    return unicodedata.normalize("NFC", text)  # a shell or an editor may write é as two characters


def _folder(name: str) -> str:
    """A study's name is a path below results/."""
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError("is no path below results/; allowed: names joined by /, none of them empty, . or ..")
    size = max(len(part.encode()) for part in parts)
    if size > LONGEST_FOLDER or len(name.encode()) > LONGEST_PATH:
        raise ValueError(
            f"is too long for a folder: {size} bytes in a part, {len(name.encode())} in all; allowed: {LONGEST_FOLDER} "
            f"in a part, {LONGEST_PATH} in all"
        )
    return name


Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_name)]
StudyName = Annotated[Name, AfterValidator(_folder)]


def known(what: str, allowed: Collection[str]) -> AfterValidator:
    """Takes the names in `allowed` alone."""

    def check(name: str) -> str:
        if name not in allowed:
            raise Misfit([((), f"{what} {name!r} is unknown; {did_you_mean(name, allowed)}")])
        return name

    return AfterValidator(check)


def twice(what: str, names: Sequence[str]) -> list[tuple[int, str]]:
    """(position, sentence) of each name that is read as an earlier one."""
    return [
        (j, f"{what} twice: {names[i]}, {names[j]}{', which are read as one name' * (names[i] != names[j])}")
        for i, j in alike(names)
    ]


def alike(names: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of positions whose names are read as one: equal but for case, spaces and characters that nobody sees."""
    first: dict[str, int] = {}
    return [(first[key], i) for i, key in enumerate(map(_look, names)) if first.setdefault(key, i) != i]


def _look(name: str) -> str:
    seen = "".join(character for character in name if unicodedata.category(character) != "Cf")
    return " ".join(unicodedata.normalize("NFC", seen).casefold().split())
