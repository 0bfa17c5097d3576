"""The split and position of each example, and which rows a long tail or a limit keeps: pure functions of stable hashes.

Each use hashes under its own name, so that an example's place in the order says nothing about its split.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from core.seeds import stable_hash, stable_unit


def hash_split(key: str, seed: int, test: float = 0.2, validation: float = 0.15) -> str:
    """The split of one example by its key alone, so adding an example moves no other.

    `test` is a share of everything, `validation` a share of what is left; 0 turns a split off.
    """
    if stable_unit("test", seed, key) < test:
        return "test"
    return "val" if stable_unit("validation", seed, key) < validation else "train"


def stratified_split(
    keys: Sequence[str],
    labels: Sequence[int],
    seed: int,
    test: float = 0.2,
    validation: float = 0.2,
    sizes: Callable[[int, float, float], tuple[int, int]] | None = None,
) -> list[str]:
    """Exact shares of every class: its examples are ranked by hash, the first go to test, the next to validation.

    `sizes` gives (test, validation) of a class of so many examples; by default both are shares of the whole class,
    rounded. Adding an example may move others of its class.
    """
    members: dict[int, list[int]] = {}
    for i, label in enumerate(labels):
        members.setdefault(label, []).append(i)
    splits = ["train"] * len(keys)
    for own in members.values():
        own.sort(key=lambda i: (stable_hash("stratified", seed, keys[i]), keys[i]))
        n_test, n_val = (sizes or _shares)(len(own), test, validation)
        for rank, i in enumerate(own[: n_test + n_val]):
            splits[i] = "test" if rank < n_test else "val"
    return splits


def _shares(n: int, test: float, validation: float) -> tuple[int, int]:
    return round(test * n), round(validation * n)


def shares_with_one_each(n: int, test: float, validation: float) -> tuple[int, int]:
    """`validation` is a share of what test leaves. A class has an example to train on first, then one to test on, then
    one to validate on, as far as it goes; a share of 0 turns a split off."""

    def share(rate: float, of: int) -> int:
        return min(of - 1, max(1, round(rate * of))) if rate else 0

    n_test = share(test, n)
    return n_test, share(validation, n - n_test)


def shuffled(keys: Sequence[str], seed: int) -> list[int]:
    """The fixed shuffle: positions of `keys` in the order of their stable hash."""
    return sorted(range(len(keys)), key=lambda i: (stable_hash("order", seed, keys[i]), keys[i]))


def class_order(classes: Sequence[str], seed: int) -> list[int]:
    """The classes from head to tail of a long tail, shuffled by the seed so that no class is rare by its name."""
    return shuffled([f"class {name}" for name in classes], seed)


def long_tail_counts(counts: Sequence[int], factor: float, order: Sequence[int]) -> tuple[int, ...]:
    """How many examples of every class stay when the counts fall exponentially from the head to 1 / `factor` of it.

    n_c = max(1, round(n_max · factor^(−k / (C − 1)))), k the place of the class in `order`, never more than there are
    (Cui et al., Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019, section 5.1).
    """
    if factor < 1:
        raise ValueError(f"imbalance_factor = {factor}: must be at least 1 (1 keeps every example)")
    last = max(1, len(counts) - 1)
    kept = list(counts)
    for place, label in enumerate(order):
        kept[label] = min(counts[label], max(1, round(max(counts) * factor ** (-place / last))))
    return tuple(kept)


def first_of_each_class(labels: npt.NDArray[np.int64], counts: Sequence[int]) -> npt.NDArray[np.int64]:
    """Rows to keep, ascending: the first counts[c] rows of every class c.

    In the fixed shuffle these are the rows with the smallest hash, so a longer tail keeps a subset of a shorter one's.
    """
    by_class = np.argsort(labels, kind="stable")
    n_of_class = np.bincount(labels, minlength=len(counts))
    rank = np.empty(len(labels), dtype=np.int64)
    rank[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(n_of_class) - n_of_class, n_of_class)
    return np.flatnonzero(rank < np.asarray(counts)[labels])
