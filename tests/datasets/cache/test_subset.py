"""Training on validation, dropping leaks, and both with long tail and limits, against sets of paths."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.audit import audit
from datasets.base import Dataset
from datasets.cache.cache import open_dataset, prepare
from datasets.cache.subset import leaked
from datasets.sources.digits import Digits
from datasets.sources.image_folder import ImageFolder
from datasets.splits import shuffled

WriteTree = Callable[..., Path]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(Digits(), None, tmp_path_factory.mktemp("cache")).path


def paths(data: Dataset, split: str) -> list[str]:
    return list(data.splits[split].paths)


def test_training_on_validation_joins_both_in_the_fixed_shuffle(digits: Path) -> None:
    plain, joined = (open_dataset(Digits(train_on_validation=on), digits) for on in (False, True))
    both = [*paths(plain, "train"), *paths(plain, "val")]
    assert paths(joined, "train") == [both[i] for i in shuffled(both, 0)]
    for split in ("val", "test"):
        assert paths(joined, split) == paths(plain, split)
        assert np.array_equal(joined.splits[split].images, plain.splits[split].images)
    assert (plain.info.seen, joined.info.seen) == ((), ("val",))
    assert joined.info.counts["train"] == tuple(
        a + b for a, b in zip(plain.info.counts["train"], plain.info.counts["val"], strict=True)
    )
    assert joined.info.fingerprint == plain.info.fingerprint
    whole = open_dataset(Digits(), digits)
    known = {
        path: (image.tobytes(), label)
        for part in whole.splits.values()
        for path, image, label in zip(part.paths, part.images, part.labels.tolist(), strict=True)
    }
    part = joined.splits["train"]
    for path, image, label in zip(part.paths, part.images, part.labels.tolist(), strict=True):
        assert known[path] == (image.tobytes(), label)


def test_long_tail_and_limit_come_after_the_join(digits: Path) -> None:
    joined = open_dataset(Digits(train_on_validation=True), digits)
    tail = open_dataset(Digits(train_on_validation=True, imbalance_factor=20), digits)
    assert paths(tail, "train") == [path for path in paths(joined, "train") if path in set(paths(tail, "train"))]
    assert max(tail.info.counts["train"]) > max(open_dataset(Digits(), digits).info.counts["train"])
    first = open_dataset(Digits(train_on_validation=True, limit_train=40), digits)
    assert paths(first, "train") == paths(joined, "train")[:40]


@pytest.fixture
def leaky(tmp_path: Path, write_tree: WriteTree) -> Path:
    """Three classes with splits on disk, and copies of images: into test, into validation, into another class."""
    root = write_tree(
        tmp_path / "data", {f"{s}/{c}": 8 for s in ("train", "val", "test") for c in ("ant", "bee", "cat")}
    )
    for source, copy in COPIES.items():
        (root / copy).write_bytes((root / source).read_bytes())
    return root


COPIES = {
    "test/ant/ant (0).png": "train/ant/leak test.png",
    "val/ant/ant (3).png": "train/ant/leak val.png",
    "test/bee/bee (3).png": "train/cat/leak test, other class.png",
    "train/bee/bee (0).png": "train/cat/in two classes.png",
    "train/bee/bee (3).png": "train/bee/harmless twice.png",
    "val/cat/cat (0).png": "test/cat/leak between the others.png",
}


def opened(root: Path, cache_dir: Path, **settings: Any) -> Dataset:
    chosen = ImageFolder.model_validate({"image_size": 12, **settings})
    return open_dataset(chosen, prepare(chosen, root, cache_dir).path)


def test_leaks_are_dropped_from_training_alone_and_counted(leaky: Path, cache_dir: Path) -> None:
    plain, clean = opened(leaky, cache_dir), opened(leaky, cache_dir, drop_leaks=True)
    gone = set(paths(plain, "train")) - set(paths(clean, "train"))
    assert gone == {
        "train/ant/leak test.png",
        "train/ant/leak val.png",
        "train/cat/leak test, other class.png",
        "train/cat/in two classes.png",
        "train/bee/bee (0).png",
    }
    assert (plain.info.dropped, clean.info.dropped) == (0, 5)
    assert [path for path in paths(plain, "train") if path not in gone] == paths(clean, "train")
    for split in ("val", "test"):
        assert paths(clean, split) == paths(plain, split)
    assert sum(clean.info.counts["train"]) == sum(plain.info.counts["train"]) - 5


def test_with_validation_trained_on_only_the_test_is_held_out(leaky: Path, cache_dir: Path) -> None:
    clean = opened(leaky, cache_dir, drop_leaks=True, train_on_validation=True)
    assert "train/ant/leak val.png" in paths(clean, "train")
    assert "val/cat/cat (0).png" not in paths(clean, "train")
    assert "val/cat/cat (0).png" in paths(clean, "val")
    assert clean.info.dropped == 5


def test_neither_decodes_again(leaky: Path, cache_dir: Path) -> None:
    chosen = ImageFolder(image_size=12)
    prepare(chosen, leaky, cache_dir)
    for change in ({"drop_leaks": True}, {"train_on_validation": True}):
        assert not prepare(chosen.model_copy(update=change), leaky, cache_dir).decoded


DIGESTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), max_size=20)


@settings(deadline=None)
@given(DIGESTS, st.lists(st.integers(0, 8), max_size=5))
def test_leaks_are_what_a_plain_search_finds(rows: list[tuple[int, int]], held_out: list[int]) -> None:
    digests = np.array([digest for digest, _ in rows], dtype=np.uint64)
    labels = np.array([label for _, label in rows], dtype=np.int64)
    expected = [
        digest in held_out or any(digest == other and label != its for other, its in rows) for digest, label in rows
    ]
    assert leaked(digests, labels, np.array(held_out, dtype=np.uint64)).tolist() == expected


def test_the_audit_finds_the_copies(leaky: Path, cache_dir: Path) -> None:
    found = audit(prepare(ImageFolder(image_size=12), leaky, cache_dir))
    assert (found.across_splits, found.across_classes, found.leaked) == (4, 2, 5)
    told = "\n".join(found.lines)
    assert "4 groups of identical pictures (8 files) across splits, e.g. train/" in told
    assert "2 groups of identical pictures (4 files) across classes" in told
    assert "--drop-leaks would leave out 5 of" in told
    for copy in ("in two classes", "leak"):
        assert copy in told
