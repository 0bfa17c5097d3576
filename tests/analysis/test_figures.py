"""Curves, forest plot, confusion and accuracy by class."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.figures import MAXIMUM_CURVES, ablation_svg, comparison_label, curve_panels, curves_svg, curves_table
from analysis.predictions import confusion_and_per_class
from analysis.report import report_tables, write_report
from analysis.schema import RunDirectory
from analysis.store import read_records
from tests.analysis import runs


def test_a_curve_is_the_mean_over_seeds_with_its_interval(tmp_path):
    run = runs.write_outcomes(tmp_path, runs.study(), {"baseline": [0.7, 0.8, 0.86]})
    curves = curves_table(read_records(run), ["baseline"])
    row = curves.loc[(curves["metric"] == runs.METRIC) & (curves["epoch"] == runs.BEST_EPOCH)].iloc[0]
    values = np.array([0.7, 0.8, 0.86])
    assert (row["n"], row["mean"]) == (3, pytest.approx(values.mean(), abs=1e-9))
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(expected), abs=1e-9)
    assert "lr" not in set(curves["metric"])
    assert curves["epoch"].tolist()[: runs.EPOCHS] == list(range(1, runs.EPOCHS + 1))


def test_broken_trials_do_not_bend_a_curve(tmp_path):
    run = runs.write_outcomes(tmp_path, runs.study(), {"baseline": [0.7, "diverged", "failed"]})
    assert curves_table(read_records(run), ["baseline"])["n"].unique().tolist() == [1]


def test_curves_stand_in_the_order_of_the_cells_asked_for(tmp_path):
    outcomes = {"baseline": [0.7], "loss=a": [0.8]}
    records = read_records(runs.write_outcomes(tmp_path, runs.study(outcomes), outcomes))
    assert curves_table(records, ["loss=a", "baseline"])["cell"].unique().tolist() == ["loss=a", "baseline"]


def test_the_figure_shows_the_reference_and_the_primary_metric_of_a_search_in_validation(tmp_path):
    ablation = read_records(runs.write_outcomes(tmp_path / "a", runs.study(), {"baseline": [0.7]}))
    search = read_records(runs.write_outcomes(tmp_path / "s", runs.search(), {"c0": [0.7]}))
    assert curve_panels(ablation) == ["val_reference", "test_balanced_accuracy"]
    assert curve_panels(search) == ["val_reference", "val_balanced_accuracy"]


def test_at_most_a_dozen_curves_are_drawn_the_best_first(tmp_path):
    outcomes = {f"cell {number}": [0.5] for number in range(15)}
    records = read_records(runs.write_outcomes(tmp_path, runs.study(outcomes), outcomes))
    svg = curves_svg(curves_table(records, list(outcomes)), list(outcomes), curve_panels(records))
    drawn = [name for name in outcomes if f">{name}<" in svg]
    assert drawn == list(outcomes)[:MAXIMUM_CURVES]


def test_figures_are_well_formed_repeatable_and_take_the_ink_of_the_page(tmp_path):
    outcomes = {"baseline": [0.7, 0.8, 0.9], "loss=<a> & $b$": [0.8, "failed", "diverged"]}
    records = read_records(runs.write_outcomes(tmp_path, runs.study(outcomes), outcomes))
    table = report_tables(records)["ablation"]
    assert ablation_svg(table) == ablation_svg(table)
    for svg in (
        ablation_svg(table),
        curves_svg(curves_table(records, list(outcomes)), list(outcomes), curve_panels(records)),
    ):
        ElementTree.fromstring(svg)
        assert "currentColor" in svg
        assert "&lt;a&gt; &amp; $b$" in svg


def test_a_comparison_is_named_by_its_factors_and_a_rung_by_its_baseline():
    row = {"factor": "a + b", "level": "1 + 2", "baseline_level": "0 + 0"}
    assert comparison_label(row) == "a = 1, b = 2"
    assert comparison_label({"factor": "ladder", "level": "+ BN", "baseline_level": "Adam"}) == "+ BN against Adam"
    assert comparison_label({"factor": "a", "level": "x + y", "baseline_level": "0"}) == "a = x + y"


def predict(run, cell, seed, target, prediction):
    folder = run / "predictions"
    folder.mkdir(exist_ok=True)
    table = pd.DataFrame({"index": range(len(target)), "target": target, "prediction": prediction, "score_0": 0.5})
    table.to_parquet(folder / f"{runs.trial_id(cell, seed)}.parquet")


def test_confusion_sums_over_seeds_and_accuracy_averages_over_them(tmp_path):
    run = runs.write_outcomes(tmp_path, runs.study(), {"baseline": [0.7, 0.8, "failed"]})
    predict(run, "baseline", 0, [0, 0, 1, 1], [0, 1, 1, 1])
    predict(run, "baseline", 1, [0, 0, 1, 1], [0, 0, 0, 1])
    predict(run, "baseline", 2, [0, 0, 1, 1], [1, 1, 0, 0])
    confusion, per_class = confusion_and_per_class(read_records(run), RunDirectory(run), ["baseline"])
    assert confusion.values.tolist() == [
        ["baseline", "zero", "zero", 3],
        ["baseline", "zero", "one", 1],
        ["baseline", "one", "zero", 1],
        ["baseline", "one", "one", 3],
    ]
    assert per_class["class"].tolist() == ["zero", "one"]
    assert per_class["accuracy"].tolist() == [0.75, 0.75]
    assert per_class["std"].tolist() == pytest.approx([np.std([0.5, 1.0], ddof=1)] * 2, abs=1e-12)
    assert per_class[["n", "examples"]].values.tolist() == [[2, 2], [2, 2]]


def test_a_class_that_is_never_hit_has_accuracy_zero(tmp_path):
    run = runs.write_outcomes(tmp_path, runs.study(), {"baseline": [0.7]})
    predict(run, "baseline", 0, [0, 1, 2], [0, 0, 2])
    _, per_class = confusion_and_per_class(read_records(run), RunDirectory(run), ["baseline"])
    assert dict(zip(per_class["class"], per_class["accuracy"], strict=True)) == {"zero": 1.0, "one": 0.0, "2": 1.0}


def test_unreadable_and_classless_predictions_are_left_out(tmp_path):
    run = runs.write_outcomes(tmp_path, runs.study(), {"baseline": [0.7, 0.8, 0.9]})
    predict(run, "baseline", 0, [0.5, 0.25], [0.5, 0.5])
    (run / "predictions" / f"{runs.trial_id('baseline', 1)}.parquet").write_bytes(b"torn")
    pd.DataFrame({"index": [0], "x0": [0.1]}).to_parquet(
        run / "predictions" / f"{runs.trial_id('baseline', 2)}.parquet"
    )
    confusion, per_class = confusion_and_per_class(read_records(run), RunDirectory(run), ["baseline"])
    assert confusion.empty
    assert per_class.empty
    write_report(run)
    assert not (run / "report" / "confusion.csv").exists()
