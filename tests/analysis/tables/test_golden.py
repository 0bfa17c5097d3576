"""Tables of frozen records equal the golden files, character by character; golden_tables.py renews them."""

import pytest

from tests.analysis.golden_tables import GOLDEN, texts


@pytest.fixture(scope="module")
def made():
    return texts()


def test_no_table_came_or_went(made):
    assert sorted(made) == sorted(path.name for path in GOLDEN.glob("*.csv"))


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.glob("*.csv")))
def test_a_table_is_what_it_was(made, name):
    assert made[name] == (GOLDEN / name).read_text(encoding="utf-8")


def test_there_are_golden_tables_of_each_kind(made):
    kinds = {"ranking", "ablation", "effects", "interactions", "anova", "ladder", "factor_loss", "why"}
    assert {kind for kind in kinds if any(name.endswith(f"_{kind}.csv") for name in made)} == kinds
