"""Cells in order of merit."""

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats

from analysis.console import console_table, describe
from analysis.records.schema import COSTS
from analysis.records.store import read_records
from analysis.report.build import write_report
from analysis.tables.ranking import COLUMNS, STOPPED_COLUMNS, ranking_table
from tests.analysis import runs, searches
from tests.analysis.page_text import words

pytestmark = pytest.mark.usefixtures("undrawn")


def ranking(path, study, outcomes, metric=runs.METRIC, **more):
    return ranking_table(read_records(runs.write_outcomes(path, study, outcomes, metric, **more)))


def test_an_ablation_is_ranked_by_its_test_metric_with_validation_beside(tmp_path):
    outcomes = {"baseline": [0.7, 0.8, 0.9], "loss=a": [0.8, 0.9, 0.91]}
    table = ranking(tmp_path, runs.study(outcomes), outcomes)
    assert list(table) == [*COLUMNS, "loss", *COSTS]
    assert table["cell"].tolist() == ["loss=a", "baseline"]
    assert table["rank"].tolist() == [1, 2]
    assert table["loss"].tolist() == ["a", "ce"]
    values = np.array(outcomes["loss=a"])
    row = table.iloc[0]
    assert row["metric"] == "test_balanced_accuracy"
    assert (row["n"], row["min"], row["max"]) == (3, 0.8, 0.91)
    assert (row["mean"], row["std"]) == pytest.approx((values.mean(), values.std(ddof=1)), abs=1e-9)
    interval = stats.ttest_1samp(values, 0).confidence_interval()
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(interval), abs=1e-9)
    assert (row["test_mean"], row["test_std"]) == (row["mean"], row["std"])
    assert (row["val_mean"], row["val_std"]) == pytest.approx((values.mean() + 0.01, values.std(ddof=1)), abs=1e-9)


def test_a_minimised_metric_is_ranked_from_below(tmp_path):
    outcomes = {"baseline": [3.0], "loss=a": [2.0]}
    study = runs.study(outcomes, [0], metric="test_error_px")
    assert ranking(tmp_path, study, outcomes, "test_error_px")["cell"].tolist() == ["loss=a", "baseline"]


def test_a_search_is_ranked_by_validation_though_test_says_otherwise(tmp_path):
    events = []
    for name, val, test in (("c0", 0.9, 0.5), ("c1", 0.8, 0.99)):
        metrics = {"val_balanced_accuracy": val, "test_balanced_accuracy": test, "val_reference": 1.0}
        events += [runs.start(name, 0), runs.epoch(name, 0, 1, **metrics), runs.end(name, 0)]
    records = read_records(runs.write(tmp_path, runs.search(), events))
    table = ranking_table(records)
    assert records.ranked_metric == "val_balanced_accuracy"
    assert table["metric"].unique().tolist() == ["val_balanced_accuracy"]
    assert table["cell"].tolist() == ["c0", "c1"]
    assert table["test_mean"].tolist() == [0.5, 0.99]
    assert table["mean"].tolist() == table["val_mean"].tolist() == [0.9, 0.8]


def test_cells_without_a_finished_trial_come_last_with_nulls_but_counted(tmp_path):
    outcomes = {"c0": ["diverged"], "c1": [0.1], "c2": ["stopped"], "c3": ["failed"], "c4": [0.2], "c5": ["running"]}
    table = ranking(tmp_path, runs.search(), outcomes)
    assert table["cell"].tolist() == ["c4", "c1", "c2", "c0", "c3", "c5"]
    assert table["rank"].tolist() == [1, 2, 3, 4, 5, 6]
    last = table.set_index("cell").loc[["c2", "c0", "c3", "c5"]]
    assert last[["mean", "std", "ci_low", "ci_high", "min", "max", "val_mean", "test_mean"]].isna().all(axis=None)
    assert last["n"].tolist() == [0] * 4
    assert last["n_diverged"].tolist() == [0, 1, 0, 0]
    assert last["n_failed"].tolist() == [0, 0, 1, 0]


def test_one_run_has_a_mean_and_no_spread(tmp_path):
    row = ranking(tmp_path, runs.study(["baseline"], [0]), {"baseline": [0.8]}).iloc[0]
    assert row["mean"] == 0.8
    assert row[["std", "ci_low", "ci_high"]].isna().all()


def test_equal_means_keep_the_studys_order(tmp_path):
    outcomes = {"baseline": [0.5], "loss=b": [0.5], "loss=a": [0.5]}
    table = ranking(tmp_path, runs.study(outcomes, [0]), outcomes)
    assert table["cell"].tolist() == ["baseline", "loss=b", "loss=a"]


def test_a_search_ends_in_its_varied_settings_conditional_ones_included(tmp_path):
    configs = {
        "c0": {"optimizer": {"lr": 0.1}, "schedule": {"name": "step", "gamma": 0.5}, "other": 1},
        "c1": {"optimizer": {"lr": 0.2}, "schedule": {"name": "constant"}, "other": 1},
    }
    study = runs.search(["optimizer.lr", "schedule", "schedule.gamma"])
    table = ranking(tmp_path, study, {"c0": [0.5], "c1": [0.6]}, configs=configs)
    assert list(table)[len(COLUMNS) :] == ["optimizer.lr", "schedule.gamma", "schedule.name", *COSTS]
    assert table["optimizer.lr"].tolist() == [0.2, 0.1]
    assert pd.isna(table["schedule.gamma"][0])


def test_an_identical_cell_shows_the_trials_that_stand_for_it(tmp_path):
    study = runs.study(["baseline", "loss=same"])
    study["cells"][1]["identical_to"] = "baseline"
    table = ranking(tmp_path, study, {"baseline": [0.7, "failed", 0.9]})
    assert table["cell"].tolist() == ["baseline", "loss=same"]
    assert table["mean"].tolist() == pytest.approx([0.8, 0.8])
    assert table["n_failed"].tolist() == [1, 1]


def test_the_sources_figure_is_text(tmp_path):
    study = runs.study(["baseline"], [0])
    study["cells"][0]["reference"] = "0.82 (table 3)"
    assert ranking(tmp_path, study, {"baseline": [0.8]})["reference"].tolist() == ["0.82 (table 3)"]


def test_an_empty_search_has_an_empty_ranking_with_its_columns(tmp_path):
    table = ranking(tmp_path, runs.search(), {})
    assert table.empty
    assert list(table) == [*COLUMNS, *COSTS]


def stopping(path, cells, **changes):
    """A search of some seeds whose outcomes are (value, epochs) of stopped trials, values of finished ones or words."""
    events = []
    for name, outcomes in cells.items():
        for seed, outcome in enumerate(outcomes):
            if isinstance(outcome, tuple):
                value, epochs = outcome
                metrics = {"val_balanced_accuracy": value, "test_balanced_accuracy": value, "val_reference": 1.0}
                events.append(runs.start(name, seed))
                events += [runs.epoch(name, seed, number, **metrics) for number in range(1, epochs + 1)]
                events.append(runs.end(name, seed, "stopped"))
            else:
                events += runs.trial(name, seed, outcome)
    return runs.write(path, runs.search(seeds=range(3), **changes), events)


def test_a_stopped_cell_is_never_ranked_before_a_finished_one_and_keeps_its_own_numbers(tmp_path):
    cells = {
        "early": [(0.99, 3)] * 2,
        "earlier": [(0.4, 1), (0.6, 2)],
        "done": [0.5],
        "bad": [0.1],
        "broken": ["failed"],
    }
    table = ranking_table(read_records(stopping(tmp_path, cells)))
    assert list(table)[-5:] == [*STOPPED_COLUMNS, *COSTS]
    assert table["cell"].tolist() == ["done", "bad", "early", "earlier", "broken"]
    rows = table.set_index("cell")
    assert rows["n_stopped"].tolist() == [0, 0, 2, 2, 0]
    assert rows.loc["earlier", ["stopped_mean", "stopped_epochs"]].tolist() == pytest.approx([0.5, 1.5])
    assert rows.loc[["early", "earlier"], ["mean", "val_mean", "test_mean"]].isna().all(axis=None)
    assert rows.loc["done", ["stopped_mean", "stopped_epochs"]].isna().all()


def test_seeds_that_a_scheduler_let_go_on_do_not_put_their_cell_first(tmp_path):
    """Only the lucky seed of `half` reached the end; its mean says less than one over all seeds."""
    cells = {"half": [0.9, (0.3, 2), (0.2, 1)], "whole": [0.6, 0.6, 0.6], "none": [(0.5, 2)] * 3}
    table = ranking_table(read_records(stopping(tmp_path, cells)))
    assert table["cell"].tolist() == ["whole", "half", "none"]
    assert table["n"].tolist() == [3, 1, 0]


def test_a_run_without_stopped_trials_has_no_column_for_them(tmp_path):
    table = ranking_table(read_records(stopping(tmp_path, {"done": [0.5], "broken": ["diverged"]})))
    assert not set(STOPPED_COLUMNS) & set(table)


def test_the_page_and_the_terminal_say_how_many_trials_were_stopped_and_how_far_they_came(tmp_path):
    cells = {"early": [(0.9, 3)] * 2, "done": [0.5], "half": [0.4, (0.3, 1)]}
    run = stopping(tmp_path, cells)
    page = words(write_report(run))
    assert "3 trials of 2 cells were stopped early by the trial scheduler" in page
    assert "0.9000 after 3 epochs" in page
    assert "done: best balanced accuracy in validation, 0.510" in page
    assert "of 3 configurations, 2 of them stopped early" in page
    assert "n_stopped =" not in page
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(console_table("ranking", ranking_table(read_records(run))))
    text = console.export_text()
    assert "3 trials were stopped early by the trial scheduler" in text
    assert "0.9000 after 3 epochs" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_search_whose_trials_were_all_stopped_names_no_winner(tmp_path):
    run = stopping(tmp_path, {"early": [(0.9, 3)], "earlier": [(0.8, 1)]})
    page = words(write_report(run))
    assert "best balanced accuracy in validation" not in page
    assert "0.9000 after 3 epochs" in page
    assert "0.8000 after 1 epoch " in page
    assert "**" not in (run / "report" / "ranking.md").read_text()


def test_status_counts_stopped_trials_and_calls_none_of_them_the_best(tmp_path):
    lines = describe(stopping(tmp_path, {"early": [(0.99, 3)], "done": [0.5]}))
    assert lines[0] == "digits/search: 12 trials planned: 1 finished, 1 stopped, 10 waiting"
    assert any("best so far: val_balanced_accuracy 0.5100  done" in line for line in lines)


@pytest.mark.parametrize("name", ["mean", "n", "cell", "metric", "rank", "reference", "n_stopped", "note"])
def test_a_factor_may_have_the_name_of_a_column(tmp_path, name):
    study = runs.factorial({name: ["a", "b"], "loss": ["x", "y"]}, range(2))
    outcomes = {cell["name"]: [0.5, 0.6] for cell in study["cells"]}
    table = ranking_table(read_records(runs.write_outcomes(tmp_path, study, outcomes)))
    assert set(table[f"factor {name}"]) == {"a", "b"}
    assert table["rank"].tolist() == [1, 2, 3, 4]
    assert table.columns.is_unique


@pytest.mark.parametrize("names", [("mean", "factor mean"), ("factor mean", "mean")])
def test_no_factor_takes_the_column_of_another(tmp_path, names):
    study = runs.factorial({names[0]: ["a", "b"], names[1]: ["x", "y"]}, range(2))
    outcomes = {cell["name"]: [0.5, 0.6] for cell in study["cells"]}
    table = ranking_table(read_records(runs.write_outcomes(tmp_path, study, outcomes)))
    own = {name: set(table[name]) for name in ("factor mean", "factor factor mean")}
    assert {"ab", "xy"} == {"".join(sorted(levels)) for levels in own.values()}
    assert table.columns.is_unique


def test_a_setting_whose_condition_does_not_hold_is_no_setting_of_its_cell(tmp_path):
    trials = [
        searches.trial("c0", {"schedule.name": "step", "schedule.gamma": 0.3}, 0.9),
        searches.trial("c1", {"schedule.name": "constant", "schedule.gamma": 0.1}, 0.8),
    ]
    records = read_records(searches.write(tmp_path, [searches.SCHEDULE, searches.GAMMA], trials))
    table = ranking_table(records)
    assert table["cell"].tolist() == ["c0", "c1"]
    assert table["schedule.gamma"].iloc[0] == 0.3
    assert pd.isna(table["schedule.gamma"].iloc[1])


def test_what_a_network_costs_stands_at_the_end_and_is_null_where_no_trial_says(tmp_path):
    outcomes = {"baseline": [0.7, 0.8], "loss=small": [0.6, 0.7], "loss=old": [0.65, 0.66]}
    run = runs.write_outcomes(tmp_path, runs.study(outcomes), outcomes)
    runs.with_costs(run, {"baseline": (1000, 50_000), "loss=small": (10, 500)})
    table = ranking_table(read_records(run)).set_index("cell")
    assert table["parameters"].to_dict() == {"baseline": 1000, "loss=small": 10, "loss=old": None}
    assert table["multiply_adds"].tolist()[0] == 50_000
    assert str(table["multiply_adds"].dtype) == "Int64"


def test_a_factor_called_parameters_keeps_its_column(tmp_path):
    study = runs.factorial({"parameters": ["few", "many"]}, range(2))
    table = ranking(tmp_path, study, {cell["name"]: [0.5, 0.6] for cell in study["cells"]})
    assert set(table["factor parameters"]) == {"few", "many"}
    assert table["parameters"].isna().all()
