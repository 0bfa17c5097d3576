"""The split and position of each example, and which rows a long tail or a limit keeps: pure functions of stable hashes.

Each use hashes under its own name, so that an example's place in the order says nothing about its split.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from core.seeds import stable_hash, stable_unit

PASSES = 4  # over the groups, at most, to bring the shares of a draw nearer


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


def grouped_split(
    groups: Sequence[str], labels: Sequence[int], seed: int, test: float = 0.2, validation: float = 0.15
) -> list[str]:
    """The split of every example, where all examples of a group share one; stratified as far as the groups allow.

    Groups come in the order of their hash. First one is tested on where it brings the shares of the classes, and of all
    examples, nearer to `test`. Then every class that test lacks gets the group that takes them least far from it, and
    groups come and go while that brings them nearer. Validation is drawn from the rest in the same way, `validation`
    being a share of that. Each class keeps a group to train on first, then one to test on, then one to validate on, as
    far as its groups go, even where such a group is more than the share. Adding an example may move other groups.
    """
    held: dict[str, Counter[int]] = {}
    for group, label in zip(groups, labels, strict=True):
        held.setdefault(group, Counter())[label] += 1
    order = sorted(held, key=lambda group: (stable_hash("group", seed, group), group))
    tested = _drawn({group: held[group] for group in order}, test, 2 if validation else 1)
    rest = {group: held[group] for group in order if group not in tested}
    validated = _drawn(rest, validation, 1)
    return ["test" if group in tested else "val" if group in validated else "train" for group in groups]


def _drawn(held: Mapping[str, Counter[int]], share: float, kept: int) -> set[str]:
    """Groups, with their examples by class, that make about `share` of each class; of each `kept` groups stay."""
    if not share:
        return set()
    sizes, groups = Counter[int](), Counter[int]()
    for own in held.values():
        sizes.update(own)
        groups.update(own.keys())
    wanted = {label: shares_with_one_each(n, share, 0)[0] for label, n in sizes.items()}
    stay = {label: min(kept, max(1, n - 1)) for label, n in groups.items()}  # of two groups one is drawn
    taken, got, n_all = set[str](), Counter[int](), sizes.total()

    def nearer(group: str, sign: int) -> float:
        """How much nearer the shares come when a group is drawn (1) or put back (-1); all examples weigh as much as all
        classes together."""
        off = [(n, got[label] - wanted[label], sizes[label]) for label, n in held[group].items()]
        whole = (held[group].total(), got.total() - share * n_all, n_all)
        rise = [sign * n * (2 * far + sign * n) / of**2 for n, far, of in (*off, whole)]
        return -sum(rise[:-1]) - len(sizes) * rise[-1]

    def move(group: str, sign: int) -> None:
        (taken.add if sign > 0 else taken.discard)(group)
        for label, n in held[group].items():
            got[label] += sign * n
            groups[label] -= sign

    def may(group: str, sign: int) -> bool:
        own = held[group].items()
        return all(groups[label] > stay[label] if sign > 0 else got[label] > n for label, n in own)

    def pass_over() -> bool:
        moved = False
        for group in held:
            sign = -1 if group in taken else 1
            if nearer(group, sign) > 1e-12 and may(group, sign):
                move(group, sign)
                moved = True
        return moved

    pass_over()
    for label in sizes:
        fit = [group for group in held if not got[label] and label in held[group] and may(group, 1)]
        if fit:
            move(max(fit, key=lambda group: nearer(group, 1)), 1)
    for _ in range(PASSES):
        if not pass_over():
            break
    return taken


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
