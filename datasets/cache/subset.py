"""Which decoded rows a trial trains on: validation joined, leaks dropped, long tail, limits, in this order.

No image is read: equal images are recognised by their digests in the cache file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import numpy.typing as npt

from core.splits import SPLITS
from datasets.base import Dataset, DatasetSettings, Examples
from datasets.cache.arrow_file import ArrowPaths, Opened
from datasets.splits import class_order, first_of_each_class, long_tail_counts, shuffled

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Pool:
    """The training rows to choose from: whole splits, one after the other, and what each of their rows is."""

    parts: tuple[Examples, ...]
    labels: npt.NDArray[np.int64]
    digests: npt.NDArray[np.uint64]


def subset(opened: Opened, settings: DatasetSettings) -> Dataset:
    """The data set as `settings` choose from it; splits that nothing changes stay views of the file."""
    info = opened.info
    splits = dict(opened.splits)
    joined = ("train", "val") if settings.train_on_validation else ("train",)
    pool = _pool(opened, joined)
    kept, dropped = _training_rows(opened, settings, pool, joined)
    if len(joined) > 1 or len(kept) < len(pool.labels):
        splits["train"] = _gathered(pool, kept)
    for name, limit in zip(SPLITS, (settings.limit_train, settings.limit_eval, settings.limit_eval), strict=True):
        if 0 < limit < len(splits[name]):
            splits[name] = _first(splits[name], limit)
    counts = {name: class_counts(rows.labels, len(info.classes)) for name, rows in splits.items()}
    return Dataset(replace(info, counts=counts, seen=joined[1:], dropped=dropped), splits)


def class_counts(labels: npt.NDArray[np.int64], n_classes: int) -> tuple[int, ...]:
    """Examples of each class."""
    return tuple(np.bincount(labels, minlength=n_classes).tolist())


def _pool(opened: Opened, names: Sequence[str]) -> _Pool:
    parts = tuple(opened.splits[name] for name in names)
    if len(parts) == 1:
        return _Pool(parts, parts[0].labels, opened.origins[names[0]].digests)
    labels = np.concatenate([part.labels for part in parts])
    return _Pool(parts, labels, np.concatenate([opened.origins[name].digests for name in names]))


def _training_rows(opened: Opened, settings: DatasetSettings, pool: _Pool, joined: Sequence[str]) -> tuple[Rows, int]:
    """Rows of the pool in the fixed shuffle, after leaks and long tail, and how many leaks there were."""
    rows = np.arange(len(pool.labels))
    if len(joined) > 1:
        rows = np.array(shuffled(list(_paths(pool)), settings.split_seed), dtype=np.int64)
    n_rows = len(rows)
    if settings.drop_leaks:
        held_out = [opened.origins[name].digests for name in SPLITS if name not in joined]
        rows = rows[~leaked(pool.digests, pool.labels, np.concatenate(held_out))[rows]]
    dropped = n_rows - len(rows)
    if settings.imbalance_factor > 1:
        counts = class_counts(pool.labels[rows], len(opened.info.classes))
        order = class_order(opened.info.classes, settings.split_seed)
        kept = long_tail_counts(counts, settings.imbalance_factor, order)
        rows = rows[first_of_each_class(pool.labels[rows], kept)]
    return rows, dropped


def leaked(
    digests: npt.NDArray[np.uint64], labels: npt.NDArray[np.int64], held_out: npt.NDArray[np.uint64]
) -> npt.NDArray[np.bool_]:
    """(N,) which training images are also held out, or also in training under another class (every copy of them)."""
    _, group = np.unique(digests, return_inverse=True)
    n_groups = int(group.max(initial=-1)) + 1
    lowest = np.full(n_groups, np.iinfo(np.int64).max)
    highest = np.full(n_groups, -1)
    np.minimum.at(lowest, group, labels)
    np.maximum.at(highest, group, labels)
    return np.isin(digests, held_out) | (lowest != highest)[group]


def _paths(pool: _Pool) -> ArrowPaths:
    return reduce(ArrowPaths.followed_by, (part.paths for part in pool.parts if isinstance(part.paths, ArrowPaths)))


def _gathered(pool: _Pool, rows: Rows) -> Examples:
    """Copies of rows of the pool, each copied once."""
    points, aspects = ([getattr(part, name) for part in pool.parts] for name in ("points", "aspects"))
    return Examples(
        images=_taken([part.images for part in pool.parts], rows),
        labels=pool.labels[rows],
        points=None if points[0] is None else _taken(points, rows),
        paths=_paths(pool).taken(rows),
        aspects=None if aspects[0] is None else _taken(aspects, rows),
    )


def _taken(parts: Sequence[npt.NDArray], rows: Rows) -> npt.NDArray:
    taken = np.empty((len(rows), *parts[0].shape[1:]), parts[0].dtype)
    start = 0
    for part in parts:
        own = np.flatnonzero((rows >= start) & (rows < start + len(part)))
        taken[own] = part[rows[own] - start]
        start += len(part)
    return taken


def _first(rows: Examples, n: int) -> Examples:
    assert isinstance(rows.paths, ArrowPaths)
    return Examples(
        images=rows.images[:n],
        labels=rows.labels[:n],
        points=None if rows.points is None else rows.points[:n],
        paths=rows.paths.taken(np.arange(n)),
        aspects=None if rows.aspects is None else rows.aspects[:n],
    )
