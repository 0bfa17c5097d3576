"""Lists what is doubtful in a valid data set: files left out, copies across splits or classes, tiny pictures, few ones.

Reads the digests and sizes that decoding left in the cache file, never the images: 20,000 of them take milliseconds.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from core.files import write_text
from core.splits import SPLITS
from datasets.cache import arrow_file
from datasets.cache.cache import Prepared
from datasets.cache.subset import leaked

TINY = 8
"""pixels: images whose shorter side, before resizing, is below this are listed"""
RARE = 10
"""classes with fewer training examples than this are listed"""


@dataclass(frozen=True)
class Audit:
    """Counts over the whole data set, before any subset, and the same in sentences."""

    across_splits: int
    """groups of identical images of which some lie in one split and some in another"""
    across_classes: int
    """groups of identical images of which some are of one class and some of another"""
    leaked: int
    """training rows that `drop_leaks` takes out"""
    tiny: int
    """images of fewer than 8 pixels a side, before they were resized"""
    rare: tuple[str, ...]
    """classes with fewer than 10 training examples, or none to validate or to test on"""
    remarks: tuple[str, ...]
    """what decoding had to say"""
    leaks: tuple[str, ...]
    """of copies across splits and across classes, with an example, and of `drop_leaks`"""
    others: tuple[str, ...]
    """of tiny images and rare classes"""
    notes: tuple[str, ...] = ()
    """what the source says of itself"""
    counts: Mapping[str, int] = field(default_factory=dict)
    """what it counted, e.g. faces that leave room for fewer non-faces than asked for"""

    @property
    def lines(self) -> tuple[str, ...]:
        """All of it, one sentence a finding."""
        return (*self.notes, *self.remarks, *self.leaks, *self.others)


_AUDIT = TypeAdapter(Audit)


@dataclass(frozen=True)
class _Rows:
    """Every row of the file, split after split."""

    paths: tuple[arrow_file.ArrowPaths, ...]
    splits: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    digests: npt.NDArray[np.uint64]
    sides: npt.NDArray[np.int32]

    def path(self, row: int) -> str:
        split = int(self.splits[row])
        return self.paths[split][row - int(np.searchsorted(self.splits, split))]


def audit(prepared: Prepared) -> Audit:
    """The audit of a prepared data set. It is kept beside the cache file, and so made once."""
    kept = prepared.path.with_suffix(".audit.json")
    try:
        found = _AUDIT.validate_json(kept.read_bytes())
    except (OSError, ValidationError):
        found = _made(arrow_file.open_file(prepared.path))
        with suppress(OSError):  # a read-only cache folder that holds the data set is good enough
            write_text(kept, _AUDIT.dump_json(found).decode())
    leaks = found.leaks
    if found.leaked:
        would = "leaves" if prepared.info.dropped else "would leave"
        n = sum(prepared.full.counts["train"])
        leaks = (*leaks, f"--drop-leaks {would} out {found.leaked} of {n} training pictures")
    return replace(found, leaks=leaks, notes=prepared.notes, counts=prepared.counts)


def _made(opened: arrow_file.Opened) -> Audit:
    rows, classes = _rows(opened), opened.info.classes
    training = opened.splits["train"].labels
    held_out = np.concatenate([opened.origins[name].digests for name in ("val", "test")])
    n_leaked = int(leaked(opened.origins["train"].digests, training, held_out).sum())
    splits, classes_mixed = _mixed(rows, rows.splits), _mixed(rows, rows.labels)
    tiny = np.flatnonzero((rows.sides > 0) & (rows.sides < TINY))
    rare = _rare(classes, opened.info.counts)
    leaks, others = [], []
    if splits:
        leaks.append(f"{_groups(splits)} across splits, e.g. {_example(rows, splits[0], rows.splits)}")
    if classes_mixed:
        leaks.append(f"{_groups(classes_mixed)} across classes, e.g. {_example(rows, classes_mixed[0], rows.labels)}")
    if len(tiny):
        smallest = int(tiny[rows.sides[tiny].argmin()])
        example = f"{rows.path(smallest)} ({rows.sides[smallest]})"
        others.append(f"{len(tiny)} pictures of fewer than {TINY} pixels a side, e.g. {example}")
    return Audit(
        across_splits=len(splits),
        across_classes=len(classes_mixed),
        leaked=n_leaked,
        tiny=len(tiny),
        rare=tuple(rare),
        remarks=tuple(opened.remarks),
        leaks=tuple(leaks),
        others=(*others, *rare.values()),
    )


def _rows(opened: arrow_file.Opened) -> _Rows:
    parts, origins = [opened.splits[name] for name in SPLITS], [opened.origins[name] for name in SPLITS]
    return _Rows(
        paths=tuple(part.paths for part in parts if isinstance(part.paths, arrow_file.ArrowPaths)),
        splits=np.repeat(np.arange(len(SPLITS)), [len(part) for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        digests=np.concatenate([origin.digests for origin in origins]),
        sides=np.concatenate([origin.sides for origin in origins]),
    )


def _mixed(rows: _Rows, kinds: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """The groups of equal images in which not all are of one kind: row numbers, ascending, the first group first."""
    order = np.lexsort((np.arange(len(kinds)), rows.digests))
    starts = np.flatnonzero(np.diff(rows.digests[order])) + 1
    groups = [group for group in np.split(order, starts) if len(group) > 1]
    mixed = [group for group in groups if (kinds[group] != kinds[group[0]]).any()]
    return sorted(mixed, key=lambda group: int(group[0]))


def _groups(groups: Sequence[npt.NDArray[np.int64]]) -> str:
    n = sum(map(len, groups))
    return f"{len(groups)} groups of identical pictures ({n} files)" if len(groups) > 1 else f"{n} identical pictures"


def _example(rows: _Rows, group: npt.NDArray[np.int64], kinds: npt.NDArray[np.int64]) -> str:
    other = next(int(row) for row in group if kinds[row] != kinds[group[0]])
    pair = (int(group[0]), other)
    return " = ".join(f"{rows.path(row)} ({SPLITS[rows.splits[row]]})" for row in pair)


def _rare(classes: Sequence[str], counts: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """Class → sentence, for classes with few examples."""
    told = {}
    for label, name in enumerate(classes):
        n = {split: counts[split][label] for split in SPLITS}
        if sum(n.values()) and (n["train"] < RARE or not n["val"] or not n["test"]):
            few = ", ".join(f"{count} {split}" for split, count in n.items())
            told[name] = f"class {name} has few examples: {few}"
    return told
