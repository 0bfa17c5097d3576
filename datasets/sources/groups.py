"""Groups of pictures that must not be torn apart by a split: of one patient, camera or scene."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from core.value_words import listed
from datasets.base import Row

SHOWN = 10  # faults of a kind, and then a count


@dataclass(frozen=True)
class Groups:
    """Path → group; empty where every picture stands for itself."""

    of: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    """the setting or the column that gives them, as faults name it"""
    faults: tuple[str, ...] = ()
    where: Callable[[Row], str] = lambda row: row.path
    """how faults name a row"""

    def key(self, path: str) -> str:
        """What a split is drawn by."""
        return f"group {self.of[path]}" if path in self.of else path

    def straddling(self, rows: Sequence[Row]) -> list[str]:
        """Faults of groups of which the source gives rows to several splits."""
        first: dict[str, dict[str, Row]] = {}
        for row in rows:
            if row.path in self.of:
                first.setdefault(self.of[row.path], {}).setdefault(row.split or "train", row)
        return few(
            f"group {group!r} of {self.source} lies in several splits: "
            + ", ".join(f"{split} ({self.where(row)})" for split, row in splits.items())
            for group, splits in first.items()
            if len(splits) > 1
        )

    def among(self, rows: Sequence[Row]) -> list[str]:
        """Those of these rows, by name."""
        return sorted({self.of[row.path] for row in rows if row.path in self.of})

    def too_few(self, rows: Sequence[Row], drawn: int) -> Iterator[str]:
        """A fault where the rows that splits are drawn from have fewer groups than these and training need."""
        names = self.among(rows)
        if names and drawn and len(names) <= drawn:
            put = f"{self.source} puts all pictures into {len(names)} group{'s' * (len(names) > 1)}"
            yield f"{put} ({listed(list(map(repr, names)), SHOWN)}), and {drawn + 1} splits need one each"

    def notes(self, rows: Sequence[Row]) -> tuple[str, ...]:
        """What the audit says of them."""
        sizes = Counter(self.of[row.path] for row in rows if row.path in self.of)
        if len(sizes) > 1 and max(sizes.values()) == 1:
            return (f"{self.source} finds a group of its own for each picture, as if there were no groups",)
        return ()


def groups_by(regex: str, paths: Sequence[str]) -> Groups:
    """The groups of paths by the text that a regular expression finds in them: its first group, else all it matches."""
    if not regex:
        return Groups()
    pattern, of = re.compile(regex), dict[str, str]()
    for path in paths:
        if (match := pattern.search(path)) and (text := match.group(1 if pattern.groups else 0)):
            of[path] = text
    setting = f"dataset.group_regex = {regex!r}"
    missed = [path for path in paths if path not in of]
    return Groups(of, setting, tuple(few(f"{path}: {setting} finds nothing in it" for path in missed)))


def few(faults: Iterator[str] | Sequence[str]) -> list[str]:
    """The first faults of a kind, and how many more there are."""
    found = list(faults)
    more = len(found) - SHOWN
    return found if more < 2 else [*found[:SHOWN], f"and {more} more of this kind"]
