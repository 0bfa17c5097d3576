"""Names of studies, factors, levels and cells: unique as a reader sees them, or refused; and what no run could hold."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search_spaces.designs import DESIGNS, Design, Layout
from search_spaces.study_file import read_study
from tests.search_spaces.test_study_files import ABLATION, changed, faults, level, written

FLIP_CROP = """
name: mine
workload: digits
epochs: 2
design: factorial
factors:
- name: flip
  levels: [{name: off}, {name: flip + crop=0.5, settings: {augmentation.flip: true}}, {name: flip}]
- name: crop
  levels: [{name: off}, {name: 0.5, settings: {augmentation.translate: 0.5}}]
"""


def two_factors(first: str, level: str, second: str, other: str) -> list[dict[str, Any]]:
    return [
        {"name": first, "levels": [{"name": "off"}, {"name": level, "settings": {"optimizer.lr": 0.1}}]},
        {"name": second, "levels": [{"name": "off"}, {"name": other, "settings": {"optimizer.momentum": 0.1}}]},
    ]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (FLIP_CROP.replace("flip + crop=0.5", "a + crop=0.5").replace("name: flip}", "name: a}"), "flip=a + crop=0.5"),
        (changed(ABLATION, factors=two_factors("a", "b=c", "a=b", "c")), "a=b=c"),
        (changed(ABLATION, factors=two_factors("a", "b=c", "A=B", "C")), "A=B=C"),
        (changed(ABLATION, design="factorial", factors=two_factors("a", "x + b=y", "a=x + b", "y")), "a=x + b=y"),
    ],
)
def test_two_cells_of_one_name_are_refused_with_their_levels(text: str, names: str, tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, text)
    assert "two cells have one name: " in fault
    assert f"and {names!r} (" in fault
    assert "rename a level or a factor" in fault


def test_two_rows_of_one_name_are_refused_where_their_cells_have_two(tmp_path: Path) -> None:
    joined = {"name": "a + b", "levels": [level("off + off"), level("x + y")]}
    factors = [*two_factors("a", "x", "b", "y"), joined]
    (fault,) = faults(tmp_path, changed(ABLATION, design="factorial", factors=factors))
    assert "two rows of the table have one name: a + b = x + y, not off + off" in fault


class Numbered(Design):
    """A user's own design that calls all its cells the same."""

    name = "numbered"

    def layout(self, factors: Any, chosen: Any = ()) -> Layout:
        cells = DESIGNS["one_at_a_time"].layout(factors).cells
        return Layout(tuple(replace(cell, name="cell") for cell in cells), ())


def test_a_registered_design_whose_cells_share_a_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DESIGNS, "numbered", Numbered())
    (fault,) = faults(tmp_path, changed(ABLATION, design="numbered"))
    assert fault == (
        "design numbered: two cells have one name: 'cell' (momentum: off) and 'cell' (momentum: 0.9); rename a level "
        "or a factor"
    )


@pytest.mark.parametrize(
    ("first", "second"), [("on", "On"), ("caf\u00e9", "cafe\u0301"), ("on", "o\u200bn"), ("a  b", "a b")]
)
def test_names_that_are_read_as_one_are_refused(first: str, second: str, tmp_path: Path) -> None:
    factor = {"name": "lr", "levels": [level(first), level(second)]}
    assert "names a level twice" in faults(tmp_path, changed(ABLATION, factors=[factor]))[0]
    twice = [{"name": name, "levels": [level("a"), level("b")]} for name in (first, second)]
    assert "a factor stands twice" in faults(tmp_path, changed(ABLATION, factors=twice))[0]


@pytest.mark.parametrize("name", ["'off '", "' off'", '"a\\nb"', '"a\\tb"', '"\\e[31m"'])
def test_a_name_that_a_table_cannot_show_is_refused(name: str, tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, ABLATION.replace('name: "off"', f"name: {name}"))
    assert re.match(r"factors\.0\.levels\.0\.name: (has a space at an end|holds a line break)", fault)


@pytest.mark.parametrize(
    "name", ["../x", "/abs", "a//b", "a/../b", ".", "a/", "s3://bucket/x", "x" * 256, "é" * 128, "a/" * 501 + "b"]
)
def test_a_study_name_that_is_no_folder_below_results_is_refused(name: str, tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, changed(ABLATION, name=name))
    assert re.match("name: is (no path below results/|too long for a folder)", fault)


def test_the_longest_study_name_is_taken(tmp_path: Path) -> None:
    for name in ("x" * 255, "a/" + "é" * 127, "..x/y.."):
        assert read_study(written(tmp_path, changed(ABLATION, name=name))).name == name


def test_the_last_seed_is_one_that_a_page_shows_as_it_is(tmp_path: Path) -> None:
    last = 2**53 - 1
    study = read_study(written(tmp_path, changed(ABLATION, seeds=3, first_seed=last - 2)))
    assert list(study.replicates)[-1] == last
    for first in (last - 1, 2**63, 2**64):
        (fault,) = faults(tmp_path, changed(ABLATION, seeds=3, first_seed=first))
        assert fault.startswith(
            f"first_seed: {first} with 3 seeds goes beyond the last seed; allowed: up to {last - 2}"
        )


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"seeds": 10**9}, "seeds: 1000000000 is out of range; allowed: at most 1000000"),
        ({"seeds": 10**6}, "seeds: 1000000 of each of 2 cells are 2,000,000 trials; allowed: up to 1,000,000"),
        ({"epochs": 10**30}, "epochs: 1000000000000000000000000000000 is out of range; allowed: at most 1000000"),
    ],
    ids=["seeds", "trials", "epochs"],
)
def test_what_could_never_be_run_is_refused(changes: dict[str, Any], fault: str, tmp_path: Path) -> None:
    assert faults(tmp_path, changed(ABLATION, **changes)) == [fault]


def test_a_factorial_of_millions_of_cells_is_refused_before_they_are_laid_out(tmp_path: Path) -> None:
    factors = [{"name": f"f{i}", "levels": [level("a"), level("b"), level("c")]} for i in range(16)]
    (fault,) = faults(tmp_path, changed(ABLATION, design="factorial", factors=factors))
    assert fault == "design factorial has 43,046,721 cells of these factors; allowed: up to 100,000"
