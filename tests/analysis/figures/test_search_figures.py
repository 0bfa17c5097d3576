"""The figures of a search: what they hold, that they stay small, and that vl-convert draws each of them."""

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.figures.search.axes import focus
from analysis.figures.search.parallel_coordinates import MAXIMUM_LINES, NOT_SET, parallel_figure
from analysis.figures.search.trial_history import MAXIMUM_TRACES, traces_figure
from analysis.figures.theme import MAXIMUM_MARKS
from analysis.records.search_space import Setting, observe
from analysis.records.store import read_records
from analysis.report.build import write_report
from analysis.report.contents import search_figures
from analysis.tables.search.results import SearchResults, rungs_table, search_tables
from tests.analysis import runs, searches

SPACE = [searches.LR, searches.MOMENTUM, searches.LAYERS, searches.SCHEDULE, searches.GAMMA]
EVERY = ["history", "importance", "optimism", "marginals", "pairs", "parallel"]


def made(path, n=30, length=None, **changes):
    """A search of `n` configurations; `length` gives the epochs and the status of each by its place."""
    rng = np.random.default_rng(0)
    trials = []
    for place in range(n):
        point = {"optimizer.lr": float(10 ** rng.uniform(-4, 0)), "optimizer.momentum": float(rng.uniform())}
        point |= {
            "model.bn_after": searches.LAYERS["choices"][rng.integers(3)],
            "schedule.name": ["constant", "step"][place % 2],
        }
        point |= {"schedule.gamma": float(rng.uniform(0.1, 0.9))} if place % 2 else {}
        epochs, status = length(place) if length else (1, "finished")
        value = 0.5 + point["optimizer.momentum"] / 4 + 0.02 * (1 + np.log10(point["optimizer.lr"]) / 4)
        events = searches.trial(f"c{place}", point, value, status=status, test=value - 0.02, epochs=epochs)
        events[-1]["time"] = f"2026-01-01T00:{place // 60:02}:{place % 60:02}+00:00"
        trials.append(events)
    return searches.write(path, SPACE, trials, **changes)


def drawn(run):
    search = SearchResults(read_records(run))
    return {figure.name: figure for figure in search_figures(search, search_tables(search))}


def datasets(figure):
    """Every table of a figure, which Altair gathers at the top."""
    return [rows for rows in figure.spec()["datasets"].values() if rows]


def with_column(figure, column):
    return next(rows for rows in datasets(figure) if column in rows[0])


@pytest.mark.matrix
def test_a_search_has_its_figures_in_one_section_and_each_can_be_drawn_twice_alike(tmp_path):
    figures = drawn(made(tmp_path))
    assert list(figures) == EVERY
    for figure in figures.values():
        assert figure.section == "search"
        assert figure.caption.endswith(".")
        svg = figure.svg()
        assert svg == figure.svg()
        assert ElementTree.fromstring(svg).tag.endswith("svg")
        assert "NaN" not in svg
        assert "null" not in svg.replace("not set", "")


def test_asha_adds_the_traces_with_its_rungs_named(tmp_path):
    def length(place):
        return (9, "finished") if place % 5 == 0 else (3, "stopped") if place % 2 else (1, "stopped")

    figures = drawn(made(tmp_path, length=length, epochs=9, trial_scheduler={"name": "asha"}))
    assert list(figures) == ["history", "traces", *EVERY[1:]]
    svg = figures["traces"].svg()
    assert ">12 of 30 stopped<" in svg
    assert ">12 of 18 stopped<" in svg
    assert "after 1 epoch" in figures["importance"].caption
    assert "Of a stopped trial" in figures["history"].caption


def test_the_history_goes_by_the_ends_and_its_line_never_falls(tmp_path):
    def length(place):
        return (1, {4: "diverged", 7: "failed", 9: "running"}.get(place, "finished"))

    run = made(tmp_path, length=length)
    figure = drawn(run)["history"]
    line, points = with_column(figure, "best"), with_column(figure, "status")
    assert [row["order"] for row in points] == list(range(1, 30))
    assert {row["status"] for row in points} == {"finished", "diverged", "failed"}
    low = figure.spec()["layer"][1]["encoding"]["y"]["scale"]["domain"][0]
    assert [row["drawn"] for row in points if row["status"] != "finished"] == pytest.approx([low, low], abs=1e-5)
    best = [row["best"] for row in line]
    assert best == sorted(best)
    values = read_records(run).trials.query("status == 'finished'")["val_accuracy"]
    assert best[-1] == pytest.approx(values.max(), abs=1e-6)
    assert best[:-1] == pytest.approx(list(dict.fromkeys(values.cummax())), abs=1e-6)
    assert "2 without a value, such as diverged ones, stand at the worse edge." in figure.caption


def test_one_bad_trial_does_not_squeeze_the_others():
    values = pd.Series([0.9, 0.91, 0.92, 0.93, 0.1])
    low, high = focus(values, "val_accuracy")
    assert (low, high) == pytest.approx((0.9 - 0.04 * 0.03, 0.93 + 0.04 * 0.03))
    low, high = focus(-values, "val_ce")
    assert (low, high) == pytest.approx((-0.93 - 0.04 * 0.03, -0.9 + 0.04 * 0.03))
    low, high = focus(pd.Series([5.0]), "val_ce")
    assert low < 5 < high
    assert focus(pd.Series([float("nan")]), "val_ce") == (0, 1)


def test_parallel_lines_stand_at_their_settings_and_beside_the_axis_where_there_is_none(tmp_path):
    observed = observe(read_records(made(tmp_path)))
    figure = parallel_figure(observed, ["optimizer.lr", "model.bn_after", "schedule.gamma"])
    rows = {row["cell"]: row for row in with_column(figure, "p00")}
    assert len(rows) == 30
    for row in observed.table.to_dict("records"):
        line = rows[row["cell"]]
        assert line["p01"] == pytest.approx((np.log10(row["optimizer.lr"]) + 4) / 4, abs=1e-5)
        assert line["p02"] == {"none": 0, "conv1": 0.5, "conv1+conv2": 1}[row["model.bn_after"]]
        gamma = row["schedule.gamma"]
        assert line["p03"] == (NOT_SET if np.isnan(gamma) else pytest.approx((gamma - 0.1) / 0.8, abs=1e-5))
        assert (line["tp03"] == "not set") == np.isnan(gamma)
    ahead = sorted(rows, key=lambda cell: -float(rows[cell]["metric"]))[:8]
    assert {cell for cell, row in rows.items() if row["is"] == "the best 8"} == set(ahead)


@pytest.mark.matrix
def test_a_large_search_is_drawn_in_part_and_says_so(tmp_path):
    def length(place):
        return (20, "finished") if place % 4 else (5, "stopped")

    run = made(tmp_path, n=700, length=length, epochs=20)
    figures = drawn(run)
    for figure in figures.values():
        assert sum(map(len, datasets(figure))) <= MAXIMUM_MARKS * 1.1
    lines = with_column(figures["parallel"], "p00")
    assert len(lines) == MAXIMUM_LINES
    assert len(lines) * sum(name.startswith("p") for name in lines[0]) <= MAXIMUM_MARKS
    assert f"Of 700 trials {MAXIMUM_TRACES} are drawn" in figures["traces"].caption
    assert "Of 525 configurations 500 are drawn" in figures["parallel"].caption


def test_settings_that_cannot_be_judged_leave_the_history_and_test(tmp_path):
    assert list(drawn(made(tmp_path / "few", n=5))) == ["history", "optimism"]
    assert list(drawn(made(tmp_path / "one", n=1))) == ["history"]
    assert drawn(made(tmp_path / "none", n=0)) == {}
    population = made(tmp_path / "population", trial_scheduler={"name": "pbt"})
    assert list(drawn(population)) == ["history", "optimism"]
    equals = made(tmp_path / "equals", objectives=["seconds", "val_accuracy"])  # all took as long
    assert list(drawn(equals)) == ["history", "optimism"]
    begun = made(tmp_path / "begun", n=3, length=lambda place: (2, "running"))
    assert drawn(begun) == {}


def test_an_ablation_has_none(tmp_path):
    ablation = SearchResults(read_records(runs.write_outcomes(tmp_path, runs.study(), {"baseline": [0.7]})))
    assert search_figures(ablation, search_tables(ablation)) == []


def test_a_setting_that_is_one_choice_and_a_metric_to_be_minimised_can_be_drawn(tmp_path):
    events = []
    lone = {**searches.SCHEDULE, "choices": ["step"]}
    for place in range(12):
        point = {"schedule.name": "step", "model.hidden": place + 1}
        metrics = {"val_ce": 1.0 + (place - 4) ** 2, "test_ce": 1.5 + place, "val_reference": 1.0}
        cell = f"c{place}"
        events += [runs.start(cell, 0, searches.nested(point)), runs.epoch(cell, 0, 1, **metrics), runs.end(cell, 0)]
    run = runs.write(tmp_path, runs.search(metric="test_ce", space=[lone, searches.WIDTH]), events)
    figures = drawn(run)
    for figure in figures.values():
        ElementTree.fromstring(figure.svg())
    panel = figures["marginals"].spec()["concat"][0]
    assert panel["title"]["text"] == "model.hidden"
    assert "smaller is better" in str(figures["history"].spec())


def test_a_stranger_in_the_data_is_only_text(tmp_path):
    """Names with dots, brackets and quotes are neither paths nor expressions to Vega-Lite."""
    space = [{**searches.SCHEDULE, "choices": ["it's", 'a "b"', "c.d[0]", "\\e"]}, searches.MOMENTUM]
    rng = np.random.default_rng(0)
    trials = [
        searches.trial(
            f"c.{i}['x']",
            {"schedule.name": space[0]["choices"][i % 4], "optimizer.momentum": float(rng.uniform())},
            0.5 + rng.uniform() / 4,
        )
        for i in range(16)
    ]
    figures = drawn(searches.write(tmp_path, space, trials))
    svg = ElementTree.fromstring(figures["marginals"].svg())
    texts = {"".join(node.itertext()) for node in svg.iter() if node.tag.endswith("text")}
    assert set(space[0]["choices"]) <= texts
    assert replace(figures["parallel"]).svg()


def test_a_report_of_an_unfinished_and_of_an_empty_search_says_why_there_is_no_importance(tmp_path):
    unfinished = made(tmp_path / "begun", n=4, length=lambda place: (2, "running" if place else "finished"))
    page = write_report(unfinished).read_text()
    assert "needs 10 configurations" in page
    assert not (unfinished / "report" / "importance.csv").exists()
    assert (unfinished / "report" / "figures" / "history.svg").exists()
    empty = made(tmp_path / "none", n=0)
    assert write_report(empty).exists()
    assert not list((empty / "report").glob("top.*"))


def test_of_many_lines_the_best_ten_are_the_best_ten_of_all(tmp_path):
    observed = observe(read_records(made(tmp_path, n=2 * MAXIMUM_LINES)))
    rows = with_column(parallel_figure(observed, ["optimizer.lr"]), "p00")
    best = set(observed.table.sort_values("value", ascending=False)["cell"].head(10))
    assert len(rows) == MAXIMUM_LINES
    assert {row["cell"] for row in rows if row["is"] == "the best 10"} == best


@pytest.mark.matrix
def test_values_compared_before_the_end_say_so_wherever_they_are_drawn(tmp_path):
    def length(place):
        return (9, "finished") if place % 5 == 0 else (3, "stopped")

    figures = drawn(made(tmp_path, n=60, length=length, epochs=9))
    for name in ("marginals", "pairs", "parallel"):
        assert "accuracy after 3 epochs" in figures[name].caption
        assert re.search(r'"title": ?"accuracy \(val\) after 3 epochs[",]', json.dumps(figures[name].spec()))
        assert " then" in figures[name].caption
    assert {row["is"] for row in with_column(figures["parallel"], "p00")} == {"the best 10 then", "others"}
    whole = drawn(made(tmp_path / "whole", n=30))
    assert not any(" then" in whole[name].caption or "epoch" in whole[name].caption for name in ("marginals", "pairs"))


def test_a_range_without_width_has_its_lines_and_its_value_in_the_middle(tmp_path):
    observed = observe(read_records(made(tmp_path)))
    fixed = Setting("optimizer.lr", 0.1, 0.1, True)
    table = observed.table.assign(**{"optimizer.lr": 0.1})
    figure = parallel_figure(replace(observed, settings=(fixed,), table=table), ["optimizer.lr"])
    assert {row["p01"] for row in with_column(figure, "p00")} == {0.5}
    assert [(row["words"], row["position"]) for row in with_column(figure, "side")] == [("0.1", 0.5)]


def test_traces_keep_to_the_maximum_where_nearly_every_epoch_is_a_rung(tmp_path):
    def length(place):
        return (40 + place % 100, "stopped") if place % 10 else (150, "finished")

    run = made(tmp_path, n=300, length=length, epochs=150)
    records = read_records(run)
    figure = traces_figure(records, rungs_table(records))
    assert sum(map(len, datasets(figure))) <= MAXIMUM_MARKS
