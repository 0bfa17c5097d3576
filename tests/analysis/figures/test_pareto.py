"""The front of a search with several objectives."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.figures.search.pareto_front import outline, pareto_figure
from analysis.figures.theme import spans_decades
from analysis.records.store import read_records
from analysis.report.build import write_report
from analysis.report.contents import report_tables
from analysis.tables.search.pareto import cell_objectives, non_dominated, pareto_table
from tests.analysis import runs
from tests.analysis.page_text import words

OBJECTIVES = ["val_accuracy", "seconds"]


def search(path, cells, objectives=OBJECTIVES, seeds=(0,), **changes):
    """A search whose `cells` have (accuracy, seconds) a seed, or a status."""
    events = []
    for name, outcomes in cells.items():
        for seed, outcome in zip(seeds, outcomes, strict=False):
            broken = isinstance(outcome, str)
            accuracy, seconds = (0.99, 0.01) if broken else outcome
            metrics = {"val_accuracy": accuracy, "test_accuracy": accuracy - 0.05, "val_reference": 1.0}
            events += [
                runs.start(name, seed, {"optimizer": {"lr": 0.1 * (len(events) + 1)}}),
                runs.epoch(name, seed, 1, **metrics),
                runs.end(name, seed, outcome if broken else "finished", seconds=seconds),
            ]
    study = runs.search(seeds=seeds, metric="test_accuracy", objectives=objectives, **changes)
    return runs.write(path, study, events)


def brute_force(points):
    def dominates(a, b):
        return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))

    return [not any(dominates(other, point) for other in points) for point in points]


# Few distinct values, so that ties and equal points are common.
POINTS = st.integers(1, 4).flatmap(
    lambda k: st.lists(st.tuples(*[st.integers(-3, 3).map(float)] * k), min_size=1, max_size=40)
)


@given(POINTS)
def test_the_front_is_what_a_comparison_of_all_pairs_leaves(points):
    assert non_dominated(np.array(points)).tolist() == brute_force(points)


def test_nothing_dominates_nothing():
    assert non_dominated(np.empty((0, 2))).tolist() == []


def test_the_table_holds_the_cells_that_no_other_beats_best_in_the_first_objective_first(tmp_path):
    cells = {"slow": [(0.9, 9.0)], "worse": [(0.7, 5.0)], "middle": [(0.8, 4.0)], "quick": [(0.5, 1.0)]}
    table = pareto_table(read_records(search(tmp_path, cells)))
    assert list(table) == ["cell", "n", "val_accuracy", "seconds", "test_accuracy", "optimizer.lr"]
    assert table["cell"].tolist() == ["slow", "middle", "quick"]
    assert table["seconds"].tolist() == [9.0, 4.0, 1.0]
    assert table["test_accuracy"].tolist() == pytest.approx([0.85, 0.75, 0.45])
    assert table["optimizer.lr"].tolist() == pytest.approx([0.1, 0.7, 1.0])


def test_a_cell_counts_by_its_mean_over_finished_seeds(tmp_path):
    cells = {"even": [(0.8, 2.0), (0.8, 2.0)], "uneven": [(0.9, 1.0), (0.6, 4.0)], "half": [(0.7, 1.5), "failed"]}
    table = pareto_table(read_records(search(tmp_path, cells, seeds=(0, 1))))
    assert table["cell"].tolist() == ["even", "half"]
    assert table["n"].tolist() == [2, 1]


@pytest.mark.parametrize("status", ["stopped", "diverged", "failed"])
def test_a_cell_that_did_not_finish_is_on_no_front(tmp_path, status):
    table = pareto_table(read_records(search(tmp_path, {"done": [(0.5, 5.0)], "not": [status]})))
    assert table["cell"].tolist() == ["done"]


def test_equal_cells_stand_together(tmp_path):
    table = pareto_table(read_records(search(tmp_path, {"one": [(0.5, 5.0)], "two": [(0.5, 5.0)]})))
    assert table["cell"].tolist() == ["one", "two"]


@pytest.mark.usefixtures("undrawn")
def test_an_objective_that_nobody_recorded_leaves_an_empty_front_with_its_columns(tmp_path):
    run = search(tmp_path, {"one": [(0.5, 5.0)]}, ["val_error_px", "seconds"])
    table = pareto_table(read_records(run))
    assert table.empty
    assert list(table) == ["cell", "n", "val_error_px", "seconds", "optimizer.lr"]
    assert "No cell has finished with val_error_px (smaller is better) and seconds" in words(write_report(run))


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("objectives", [None, [], ["val_accuracy"], ["val_accuracy", "val_accuracy"]])
@pytest.mark.matrix
def test_an_ordinary_search_has_no_front(tmp_path, objectives):
    run = search(tmp_path, {"one": [(0.5, 5.0)]}, objectives)
    assert "pareto" not in report_tables(read_records(run))
    assert "Pareto" not in words(write_report(run))
    assert not (run / "report" / "pareto.csv").exists()


def test_the_report_shows_the_front(tmp_path):
    cells = {"slow": [(0.9, 9.0)], "worse": [(0.4, 5.0)], "quick": [(0.5, 1.0)]}
    run = search(tmp_path, cells)
    text = words(write_report(run))
    assert (
        "Pareto front 2 of 3 finished cells are not dominated in val_accuracy (larger is better) and seconds "
        "(smaller is better): no other is at least as good in all of them and better in one." in text
    )
    assert pd.read_csv(run / "report" / "pareto.csv")["cell"].tolist() == ["slow", "quick"]
    for file in ("pareto.md", "pareto.tex", "figures/pareto.svg"):
        assert (run / "report" / file).stat().st_size > 0


@pytest.mark.usefixtures("undrawn")
def test_a_search_that_never_started_reports(tmp_path):
    assert "Pareto front No cell has finished" in words(write_report(search(tmp_path, {})))


@pytest.mark.parametrize("objectives", [OBJECTIVES, ["seconds", "val_accuracy"], [*OBJECTIVES, "val_reference"]])
def test_the_figure_names_the_front_and_marks_every_cell(tmp_path, objectives):
    cells = {"slow$": [(0.9, 90.0)], "worse": [(0.4, 50.0)], "quick": [(0.5, 1.0)]}
    records = read_records(search(tmp_path, cells, objectives))
    front = pareto_table(records)["cell"].tolist()
    figure = pareto_figure(cell_objectives(records), records.objectives, front)
    svg = figure.svg()
    ElementTree.fromstring(svg)
    assert ">slow$<" in svg
    assert ">worse<" not in svg
    assert "seconds, smaller is better" in svg
    assert "accuracy (val), larger is better" in svg
    assert svg == figure.svg()
    drawn = [row for rows in figure.spec()["datasets"].values() for row in rows]
    assert {row["cell"] for row in drawn if "cell" in row} == set(cells)
    assert any("place" in row for row in drawn) == (len(objectives) == 2)


def test_an_axis_is_logarithmic_beyond_a_decade_of_what_is_better_small(tmp_path):
    cells = {"slow": [(0.9, 90.0)], "quick": [(0.5, 1.0)]}
    records = read_records(search(tmp_path, cells))
    assert spans_decades(cell_objectives(records)["seconds"])
    spec = pareto_figure(cell_objectives(records), OBJECTIVES, ["slow", "quick"]).spec()
    for layer in spec["layer"]:
        assert layer["encoding"]["x"]["scale"]["type"] == "linear"
        assert layer["encoding"]["y"]["scale"]["type"] == "log"


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_the_line_of_the_front_separates_what_can_be_had_from_what_cannot(signs):
    """Every cell lies on the worse side of the line, and the line passes through the front."""
    across = {1: "val_error", -1: "val_accuracy"}[signs[0]]
    minimised = np.random.default_rng(0).normal(size=(60, 2))
    front = pd.DataFrame((minimised * signs)[non_dominated(minimised)], columns=["x", "y"]).sort_values(["x", "y"])
    line = outline(front, across)
    corners = set(line[["x", "y"]].itertuples(index=False, name=None))
    assert set(front.itertuples(index=False, name=None)) <= corners
    steps = list(zip(line.itertuples(index=False), line.iloc[1:].itertuples(index=False), strict=False))
    assert all(a.x == b.x or a.y == b.y for a, b in steps)
    for u in np.linspace(front["x"].min(), front["x"].max(), 200)[1:-1]:
        height = next(a.y for a, b in steps if a.x < u < b.x)
        attained = minimised[minimised[:, 0] <= u * signs[0], 1].min()
        assert height == pytest.approx(attained * signs[1])
