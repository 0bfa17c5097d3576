"""The figure of accuracy against cost: one dot a finished cell, and none where all networks cost the same."""

from xml.etree import ElementTree

import pytest

from analysis.figures.cost_plot import cost_figure
from analysis.records.store import read_records
from analysis.tables.ranking import ranking_table
from tests.analysis import runs

OUTCOMES = {"baseline": [0.7, 0.8, 0.81], "loss=small": [0.6, 0.7, 0.71], "loss=lost": ["failed"] * 3}


def figure(tmp_path, costs, outcomes=OUTCOMES):
    run = runs.write_outcomes(tmp_path, runs.study(outcomes), outcomes)
    runs.with_costs(run, costs)
    return cost_figure(ranking_table(read_records(run)), is_search=False)


def drawn(made):
    return {row["cell"]: row for rows in made.spec()["datasets"].values() for row in rows}


def test_each_finished_cell_is_a_dot_at_what_it_costs(tmp_path):
    made = figure(tmp_path, {"baseline": (11_000_000, 1_800_000_000), "loss=small": (10_000, 2_000_000)})
    rows = drawn(made)
    assert set(rows) == {"baseline", "loss=small"}
    assert rows["baseline"]["multiply_adds"] == 1800
    assert rows["loss=small"]["multiply_adds"] == 2
    assert rows["baseline"]["ci_low"] < rows["baseline"]["mean"] < rows["baseline"]["ci_high"]
    assert made.spec()["layer"][0]["encoding"]["x"]["scale"]["type"] == "log"
    assert "1 more, unfinished" in made.caption
    svg = made.svg()
    ElementTree.fromstring(svg)
    assert "loss=small" in svg


@pytest.mark.parametrize(
    "costs",
    [
        {},
        {"baseline": (5, 100)},
        {"baseline": (5, 100), "loss=small": (9, 100)},
        {"baseline": (5, 100), "loss=lost": (5, 9)},
    ],
    ids=str,
)
def test_none_is_drawn_where_nothing_costs_more(tmp_path, costs):
    assert figure(tmp_path, costs) is None


def test_costs_of_one_magnitude_have_a_linear_axis_and_one_seed_no_interval(tmp_path):
    made = figure(tmp_path, {"baseline": (5, 300), "loss=small": (9, 200)}, {"baseline": [0.7], "loss=small": [0.6]})
    assert made.spec()["layer"][0]["encoding"]["x"]["scale"]["type"] == "linear"
    assert {row["ci_low"] for row in drawn(made).values()} == {None}
