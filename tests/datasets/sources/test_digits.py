"""The digits data set against scikit-learn's own copy, its split and its long tail."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from datasets.base import Dataset
from datasets.cache.cache import open_dataset, prepare
from datasets.sources.digits import Digits
from datasets.splits import class_order


@pytest.fixture(scope="module")
def arrow_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(Digits(), None, tmp_path_factory.mktemp("cache")).path


@pytest.fixture(scope="module")
def digits(arrow_path: Path) -> Dataset:
    return open_dataset(Digits(), arrow_path)


def test_every_digit_is_there_once_with_its_label(digits: Dataset) -> None:
    pixels, labels = load_digits(return_X_y=True)
    rows = [int(path) for part in digits.splits.values() for path in part.paths]
    assert sorted(rows) == list(range(1797))
    for part in digits.splits.values():
        own = [int(path) for path in part.paths]
        assert part.labels.tolist() == labels[own].tolist()
        assert np.abs(part.images.reshape(-1, 64) / 255 - pixels[own] / 16).max() < 0.5 / 255 + 1e-9


def test_every_class_is_split_60_20_20(digits: Dataset) -> None:
    for n in zip(*(digits.info.counts[split] for split in ("train", "val", "test")), strict=True):
        fifth = round(0.2 * sum(n))
        assert n == (sum(n) - 2 * fifth, fifth, fifth)


def test_mean_and_std_are_those_of_the_training_pixels(digits: Dataset) -> None:
    pixels = digits.splits["train"].images / 255
    assert digits.info.mean == pytest.approx([pixels.mean()], abs=1e-12)
    assert digits.info.std == pytest.approx([pixels.std()], abs=1e-12)


def test_the_long_tail_thins_training_alone(arrow_path: Path, digits: Dataset) -> None:
    tail = open_dataset(Digits(imbalance_factor=50), arrow_path)
    full = digits.info.counts["train"]
    order = class_order(digits.info.classes, 0)
    wanted = {label: max(1, round(max(full) * 50 ** (-k / 9))) for k, label in enumerate(order)}
    assert tail.info.counts["train"] == tuple(min(n, wanted[label]) for label, n in enumerate(full))
    assert min(tail.info.counts["train"]) == round(max(full) / 50)
    assert tail.info.counts["val"] == digits.info.counts["val"]
    assert tail.info.counts["test"] == digits.info.counts["test"]
    assert tail.info.fingerprint == digits.info.fingerprint


def test_a_longer_tail_keeps_a_part_of_a_shorter_one_in_the_same_order(arrow_path: Path, digits: Dataset) -> None:
    paths = [
        list(open_dataset(Digits(imbalance_factor=factor), arrow_path).splits["train"].paths) for factor in (1, 10, 100)
    ]
    for longer, shorter in zip(paths[1:], paths, strict=False):
        assert longer == [path for path in shorter if path in set(longer)]
        assert len(longer) < len(shorter)


def test_limits_take_the_first_examples_after_the_long_tail(arrow_path: Path) -> None:
    tail = open_dataset(Digits(imbalance_factor=10), arrow_path)
    both = open_dataset(Digits(imbalance_factor=10, limit_train=50, limit_eval=20), arrow_path)
    for split, n in (("train", 50), ("val", 20), ("test", 20)):
        assert list(both.splits[split].paths) == list(tail.splits[split].paths[:n])
        assert np.array_equal(both.splits[split].images, tail.splits[split].images[:n])
        assert sum(both.info.counts[split]) == len(both.splits[split]) == n


def test_a_limit_above_what_there_is_changes_nothing(arrow_path: Path, digits: Dataset) -> None:
    assert open_dataset(Digits(limit_train=10**6), arrow_path).info == digits.info


def test_the_split_seed_redraws_split_and_order(digits: Dataset, tmp_path: Path) -> None:
    other = prepare(Digits(split_seed=1), None, tmp_path)
    assert other.info.counts == digits.info.counts
    assert other.info.fingerprint != digits.info.fingerprint
