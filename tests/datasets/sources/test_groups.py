"""Groups of pictures share a split: drawn, given, by a regular expression, in every class-folder set."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from datasets.base import DataError
from datasets.cache.cache import open_dataset, prepare
from datasets.registry import DATASETS
from datasets.sources.groups import SHOWN
from datasets.sources.image_folder import ImageFolder
from datasets.splits import grouped_split
from tests.datasets.conftest import WriteTree
from tests.datasets.makers import make_animals, make_eurosat, make_expressions

# (label, group) of each example: any sizes, groups of one class or of several
EXAMPLES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 25)), min_size=1, max_size=150)


@given(EXAMPLES, st.integers(0, 5))
def test_no_group_is_torn_and_every_class_is_trained_on(examples: list[tuple[int, int]], seed: int) -> None:
    labels, groups = [label for label, _ in examples], [str(group) for _, group in examples]
    splits = grouped_split(groups, labels, seed)
    assert all(len({split for split, own in zip(splits, groups, strict=True) if own == group}) == 1 for group in groups)
    assert {label for label, split in zip(labels, splits, strict=True) if split == "train"} == set(labels)


@given(st.lists(st.integers(1, 8), min_size=60, max_size=120), st.integers(2, 3), st.integers(0, 5))
def test_many_small_groups_come_near_the_shares_of_each_class(sizes: list[int], classes: int, seed: int) -> None:
    """Groups of one class each: off by half of the largest group at most, or so it would be without the other share."""
    groups = [str(i) for i, n in enumerate(sizes) for _ in range(n)]
    labels = [i % classes for i, n in enumerate(sizes) for _ in range(n)]
    splits = grouped_split(groups, labels, seed)
    for label in range(classes):
        n = Counter(split for split, own in zip(splits, labels, strict=True) if own == label)
        assert abs(n["test"] - 0.2 * n.total()) <= 5
        assert abs(n["val"] - 0.15 * (n["train"] + n["val"])) <= 5


@given(st.integers(3, 12), st.integers(1, 40), st.integers(0, 5))
def test_a_class_of_three_groups_has_one_in_each_split(n_groups: int, size: int, seed: int) -> None:
    groups = [f"{label}/{i % n_groups}" for label in (0, 1) for i in range(n_groups * size)]
    labels = [int(group[0]) for group in groups]
    found = set(zip(labels, grouped_split(groups, labels, seed), strict=True))
    assert found == {(label, split) for label in (0, 1) for split in ("train", "val", "test")}


def test_the_draw_depends_on_seed_and_names_alone() -> None:
    groups, labels = [str(i // 4) for i in range(200)], [i % 3 for i in range(200)]
    once = grouped_split(groups, labels, 0)
    assert once == grouped_split(groups, labels, 0) != grouped_split(groups, labels, 1)
    backwards = grouped_split(groups[::-1], labels[::-1], 0)
    assert backwards[::-1] == once
    tested = {
        seed: frozenset(g for g, s in zip(groups, grouped_split(groups, labels, seed), strict=True) if s == "test")
        for seed in range(20)
    }
    assert len(set(tested.values())) > 15, "a seed draws other groups"


def test_shares_of_nothing_draw_nothing() -> None:
    groups, labels = [str(i) for i in range(20)], [0, 1] * 10
    assert set(grouped_split(groups, labels, 0, test=0)) == {"train", "val"}
    assert set(grouped_split(groups, labels, 0, validation=0)) == {"train", "test"}


MAKERS: dict[str, tuple[Any, str]] = {  # what writes a small copy, and what makes groups of several of its pictures
    "image_folder": (lambda root: make_animals(root) / "animals", r"\((\d)"),
    "animals": (make_animals, r"\((\d)"),
    "eurosat": (make_eurosat, r"_(\d)"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_every_class_folder_set_draws_its_splits_by_group(name: str, tmp_path: Path) -> None:
    make, regex = MAKERS[name]
    root = make(tmp_path / "data")
    plain = DATASETS[name].model_validate({"image_size": 8})
    settings = DATASETS[name].model_validate({"image_size": 8, "group_regex": regex})
    splits: dict[str, set[str]] = {}
    for row in settings.source(root).rows:
        group = row.path[row.path.index("(" if "(" in regex[:3] and "(" in row.path else "_") + 1]
        splits.setdefault(group, set()).add(row.split)
    assert len(splits) > 3
    assert all(len(own) == 1 for own in splits.values())
    torn = Counter(row.split for row in plain.source(root).rows)
    assert set(torn) == {"train", "val", "test"}
    prepared = prepare(settings, root, tmp_path / "cache")
    assert f"by {len(splits)} groups, stratified: test 20 %" in prepared.facts["splits"]
    assert prepared.info.fingerprint != prepare(plain, root, tmp_path / "cache").info.fingerprint
    assert open_dataset(settings, prepared.path).info == prepared.info


def test_a_list_of_animals_and_its_folders_have_the_same_groups(tmp_path: Path) -> None:
    settings = DATASETS["animals"].model_validate({"image_size": 8, "group_regex": r"\((\d)"})
    found = [
        {row.path: row.split for row in settings.source(make_animals(tmp_path / place, csv=csv)).rows}
        for place, csv in (("a", False), ("b", True))
    ]
    assert found[0] == found[1]


def test_paths_without_a_group_are_named_and_counted(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        prepare(ImageFolder(image_size=8, group_regex=r"cat.*\((\d+)\)"), tree, tmp_path / "cache")
    faults = [fault for fault in error.value.faults if "group_regex" in fault or "more of this kind" in fault]
    assert faults[0] == "dog/dog (0).png: dataset.group_regex = 'cat.*\\\\((\\\\d+)\\\\)' finds nothing in it"
    assert faults[-1] == f"and {30 - SHOWN} more of this kind"
    assert len(faults) == SHOWN + 1


@pytest.mark.parametrize("regex", ["x*", "(x)?dog|(x)?cat"])
def test_an_empty_group_is_none(regex: str, tree: Path) -> None:
    assert len([f for f in ImageFolder(group_regex=regex).source(tree).faults if "finds nothing" in f]) == SHOWN


def test_what_is_no_regular_expression_is_refused_for_every_set() -> None:
    for name in ("image_folder", "animals", "expressions", "eurosat", "faces"):
        with pytest.raises(ValidationError, match="no regular expression"):
            DATASETS[name].model_validate({"group_regex": "("})


def test_groups_that_change_nothing_are_told(tree: Path) -> None:
    each = ImageFolder(image_size=8, group_regex=r".*").source(tree)
    assert each.faults == ()
    assert each.notes[-1] == (
        "dataset.group_regex = '.*' finds a group of its own for each picture, as if there were no groups"
    )
    for regex, n, names in ((r"\.|dog|cat", 2, "'cat', 'dog'"), (r"\(", 1, "'('")):
        (fault, *_) = ImageFolder(image_size=8, group_regex=regex).source(tree).faults
        assert f"puts all pictures into {n} group{'s' * (n > 1)} ({names}), and 3 splits need one each" in fault


def test_a_group_in_two_given_splits_is_refused(tmp_path: Path, write_tree: WriteTree) -> None:
    root = write_tree(tmp_path, {"train/cat": 6, "train/dog": 6, "test/cat": 6, "test/dog": 6})
    (fault, *others) = ImageFolder(image_size=8, group_regex=r"\((\d)\)").source(root).faults
    assert fault.startswith(
        "group '0' of dataset.group_regex = '\\\\((\\\\d)\\\\)' lies in several splits: test (test/cat"
    )
    assert "train (train/cat/cat (0).png)" in fault
    assert len(others) == 5


def test_validation_is_drawn_from_given_training_pictures_by_group(tmp_path: Path, write_tree: WriteTree) -> None:
    root = write_tree(tmp_path, {"train/cat": 12, "train/dog": 12, "test/cat": 2, "test/dog": 2})
    source = ImageFolder(image_size=8, group_regex=r"(train.*\(\d+\)|test)").source(root)
    assert source.faults == ()
    assert Counter(row.split for row in source.rows) == {"train": 20, "val": 4, "test": 4}
    assert source.facts["splits"] == (
        "train, test as given; drawn of the training pictures by 24 groups, stratified: val 15 %, "
        "which came to val 16.7 %"
    )


def test_by_name_a_new_group_moves_no_other(tmp_path: Path, write_tree: WriteTree) -> None:
    settings = ImageFolder(image_size=8, group_regex=r"/(\w+ \(\d)", split_rule="by_name")
    root = write_tree(tmp_path, {"cat": 40, "dog": 40})
    before = {row.path: row.split for row in settings.source(root).rows}
    shutil.copy(root / "cat" / "cat (1).jpg", root / "cat" / "new (7).jpg")
    after = {row.path: row.split for row in settings.source(root).rows}
    assert before.items() < after.items()


def test_the_expressions_of_a_tree_are_grouped_too(tmp_path: Path) -> None:
    root = make_expressions(tmp_path / "data")
    shutil.rmtree(next(root.glob("expressions/val*")))
    settings = DATASETS["expressions"].model_validate({"image_size": 8, "group_regex": r"^(train|test).*?(\d+)\D*$"})
    (fault, *_) = settings.source(root).faults
    assert "puts all pictures into 1 group ('train'), and 2 splits need one each" in fault
