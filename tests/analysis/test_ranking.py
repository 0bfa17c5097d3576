"""Cells in order of merit."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.ranking import COLUMNS, ranked_metric, ranking_table
from analysis.store import read_records
from tests.analysis import runs


def ranking(path, study, outcomes, metric=runs.METRIC, **more):
    return ranking_table(read_records(runs.write_outcomes(path, study, outcomes, metric, **more)))


def test_an_ablation_is_ranked_by_its_test_metric_with_validation_beside(tmp_path):
    outcomes = {"baseline": [0.7, 0.8, 0.9], "loss=a": [0.8, 0.9, 0.91]}
    table = ranking(tmp_path, runs.study(outcomes), outcomes)
    assert list(table) == [*COLUMNS, "loss"]
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
    assert ranked_metric(records) == "val_balanced_accuracy"
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
    assert list(table)[len(COLUMNS) :] == ["optimizer.lr", "schedule.gamma", "schedule.name"]
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
    assert list(table) == list(COLUMNS)
