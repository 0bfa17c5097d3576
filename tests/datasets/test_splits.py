"""Splits, orders, long tails and seeds: the same everywhere, exact where promised, unmoved by newcomers."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.splits import (
    class_order,
    first_of_each_class,
    hash_split,
    long_tail_counts,
    shuffled,
    stratified_split,
)

KEYS = st.lists(st.text(max_size=8), unique=True, max_size=30)


def test_hash_split_gives_the_asked_shares() -> None:
    share = Counter(hash_split(f"photo {i}", 0) for i in range(20_000))
    assert share["test"] / 20_000 == pytest.approx(0.2, abs=0.01)
    assert share["val"] / 20_000 == pytest.approx(0.8 * 0.15, abs=0.01)


def test_the_seed_redraws_the_split() -> None:
    assert [hash_split(str(i), 0) for i in range(50)] != [hash_split(str(i), 1) for i in range(50)]


@given(st.lists(st.integers(0, 4), max_size=80), st.integers(0, 5))
def test_stratified_split_is_exact_in_every_class(labels: list[int], seed: int) -> None:
    splits = stratified_split([str(i) for i in range(len(labels))], labels, seed)
    for label, n in Counter(labels).items():
        own = Counter(split for split, of in zip(splits, labels, strict=True) if of == label)
        assert (own["test"], own["val"]) == (round(0.2 * n), round(0.2 * n))


@given(KEYS, st.text(max_size=8))
def test_a_newcomer_reorders_nobody(keys: list[str], newcomer: str) -> None:
    before = [keys[i] for i in shuffled(keys, 0)]
    more = [*keys, newcomer] if newcomer not in keys else keys
    assert [more[i] for i in shuffled(more, 0) if more[i] in keys and more[i] != newcomer] == [
        key for key in before if key != newcomer
    ]


def test_the_order_says_nothing_about_the_split() -> None:
    keys = [str(i) for i in range(2_000)]
    first = [keys[i] for i in shuffled(keys, 0)][:1_000]
    assert sum(hash_split(key, 0) == "test" for key in first) / 1_000 == pytest.approx(0.2, abs=0.04)


@given(st.lists(st.integers(1, 500), min_size=2, max_size=12), st.floats(1, 200), st.integers(0, 9))
def test_long_tail_counts_follow_the_formula(counts: list[int], factor: float, seed: int) -> None:
    order = class_order([str(i) for i in range(len(counts))], seed)
    kept = long_tail_counts(counts, factor, order)
    for k, label in enumerate(order):
        wanted = max(1, round(max(counts) * factor ** (-k / (len(counts) - 1))))
        assert kept[label] == min(counts[label], wanted)


def test_factor_one_keeps_everything_and_less_is_refused() -> None:
    assert long_tail_counts([5, 9, 2], 1, [2, 0, 1]) == (5, 9, 2)
    with pytest.raises(ValueError, match=r"imbalance_factor = 0\.5"):
        long_tail_counts([5, 9], 0.5, [0, 1])


def test_head_and_tail_are_shuffled_by_the_seed() -> None:
    names = [str(i) for i in range(10)]
    orders = [class_order(names, seed) for seed in range(5)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len({tuple(order) for order in orders}) == 5


@given(st.lists(st.integers(0, 3), max_size=60), st.lists(st.integers(0, 20), min_size=4, max_size=4))
def test_first_of_each_class_keeps_the_first_rows_in_order(labels: list[int], counts: list[int]) -> None:
    seen: Counter[int] = Counter()
    expected = []
    for row, label in enumerate(labels):
        seen[label] += 1
        if seen[label] <= counts[label]:
            expected.append(row)
    assert first_of_each_class(np.array(labels, dtype=np.int64), counts).tolist() == expected
