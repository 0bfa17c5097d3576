"""Curves, forest plot, confusion and accuracy by class."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.figures.forest_plot import MAXIMUM_COMPARISONS, VERDICT_COLOURS, forest_plot
from analysis.figures.learning_curve_plots import MAXIMUM_CURVES, MAXIMUM_TIPS, curve_figures
from analysis.figures.steadiness_plot import MAXIMUM_CELLS, stability_figure
from analysis.figures.theme import MAXIMUM_MARKS
from analysis.records.run_directory import RunDirectory
from analysis.records.store import read_records
from analysis.report.build import write_report
from analysis.tables.ablation import ablation_table, comparison_label
from analysis.tables.confusion import confusion_and_per_class
from analysis.tables.learning_curves import curves_table, stability_table
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


def figures_of(run, cells):
    records = read_records(run)
    return {figure.name: figure for figure in curve_figures(records, curves_table(records, cells), cells)}


def rows_of_figure(figure):
    return [row for rows in figure.spec()["datasets"].values() for row in rows]


def panels(figure):
    return [panel["title"] for panel in figure.spec()["concat"]]


def encodings(spec):
    """Every encoding of a specification, however deep."""
    if isinstance(spec, list):
        return [found for part in spec for found in encodings(part)]
    if not isinstance(spec, dict):
        return []
    own = [spec["encoding"]] if "encoding" in spec else []
    return own + [found for name, part in spec.items() if name != "datasets" for found in encodings(part)]


def epochs_of(cell, seed, values, **names):
    """A finished trial whose named metrics take `values`, one an epoch."""
    rows = [
        runs.epoch(cell, seed, number, val_reference=1 / number, **{name: make(value) for name, make in names.items()})
        for number, value in enumerate(values, 1)
    ]
    return [runs.start(cell, seed), *rows, runs.end(cell, seed)]


def test_loss_accuracy_and_the_primary_metric_have_a_figure_with_a_panel_a_split(tmp_path):
    metrics = {f"{split}_{kind}": lambda value: value for split in ("train", "val", "test") for kind in ("accuracy",)}
    metrics |= {"test_balanced_accuracy": lambda value: value, "val_balanced_accuracy": lambda value: value}
    run = runs.write(tmp_path, runs.study(), epochs_of("baseline", 0, [0.2, 0.4, 0.5], **metrics))
    figures = figures_of(run, ["baseline"])
    assert list(figures) == [
        "curves_balanced_accuracy",
        "curves_accuracy",
        "curves_loss",
        "curves_reference",
        "curves_lr",
    ]
    assert panels(figures["curves_accuracy"]) == panels(figures["curves_loss"]) == ["training", "validation", "test"]
    assert panels(figures["curves_balanced_accuracy"]) == ["validation", "test"]
    assert all(figure.section == "curves" for figure in figures.values())


def test_a_reference_that_is_the_loss_is_not_drawn_twice(tmp_path):
    events = [
        event | {"val_loss": event["val_reference"]} if event["event"] == "epoch" else event
        for event in runs.trial("baseline", 0, 0.7)
    ]
    assert "curves_reference" not in figures_of(runs.write(tmp_path, runs.study(), events), ["baseline"])


@pytest.mark.parametrize("when", ["selected", "every_epoch"])
def test_test_metrics_of_selected_epochs_alone_are_points_and_no_line(tmp_path, when):
    """Neighbouring epochs have means of other seeds, which a line would join."""
    chosen, events = {0: 2, 1: 3, 2: 5}, []
    for seed, best in chosen.items():
        events.append(runs.start("baseline", seed, {"training": {"evaluate_test": when}}))
        for number in range(1, 6):
            test = seed / 10 if number == best or when == "every_epoch" else None
            metrics = {"test_accuracy": test, "val_accuracy": 0.5, "train_accuracy": 0.5, "val_reference": 1.0}
            events.append(runs.epoch("baseline", seed, number, **metrics))
        events.append(runs.end("baseline", seed))
    run = runs.write(tmp_path, runs.study(["baseline"], metric="test_accuracy"), events)
    figure = figures_of(run, ["baseline"])["curves_accuracy"]
    assert panels(figure) == ["training", "validation", "test"]
    drawn = [json.dumps(panel["layer"]) for panel in figure.spec()["concat"]]
    alone = {(row["epoch"], row["mean"], row["alone"]) for row in rows_of_figure(figure) if row["mean"] != 0.5}
    if when == "selected":
        assert alone == {(2, 0.0, True), (3, 0.1, True), (5, 0.2, True)}
        assert ["!datum.alone" in panel for panel in drawn] == [False, False, True]
        assert "evaluated at the selected epochs alone" in figure.caption
    else:
        assert {each[2] for each in alone} == {False}
        assert not any("!datum.alone" in panel for panel in drawn)
        assert "alone" not in figure.caption


def test_at_most_a_dozen_curves_are_drawn_the_best_first(tmp_path):
    outcomes = {f"cell {number}": [0.5] for number in range(15)}
    figure = figures_of(runs.write_outcomes(tmp_path, runs.study(outcomes), outcomes), list(outcomes))["curves_loss"]
    drawn = dict.fromkeys(row["cell"] for row in rows_of_figure(figure))
    assert list(drawn) == list(outcomes)[:MAXIMUM_CURVES]
    assert "3 more are in curves.csv, all in epochs.parquet." in figure.caption
    svg = figure.svg()
    assert [name for name in outcomes if f">{name}<" in svg] == list(drawn)


@pytest.mark.parametrize(("seeds", "banded"), [(1, False), (2, False), (3, True)])
def test_a_band_is_drawn_from_three_seeds_on(tmp_path, seeds, banded):
    run = runs.write_outcomes(tmp_path, runs.study(), {"baseline": [0.7, 0.8, 0.86][:seeds]})
    rows = rows_of_figure(figures_of(run, ["baseline"])["curves_balanced_accuracy"])
    assert any(row["ci_low"] is not None for row in rows) == banded


@pytest.mark.parametrize(("last", "scale"), [(0.11, "linear"), (0.09, "log")])
def test_a_scale_is_logarithmic_where_the_means_span_more_than_a_decade(tmp_path, last, scale):
    events = [
        event | {"train_loss": value, "val_loss": value, "test_loss": value}
        for event, value in zip(epochs_of("baseline", 0, [1.0, 0.5, last])[1:-1], [1.0, 0.5, last], strict=True)
    ]
    run = runs.write(tmp_path, runs.study(), [runs.start("baseline", 0), *events, runs.end("baseline", 0)])
    spec = figures_of(run, ["baseline"])["curves_loss"].spec()
    assert {encoding["y"]["scale"]["type"] for encoding in encodings(spec)} == {scale}


def test_a_band_that_reaches_below_zero_keeps_to_a_logarithmic_scale_and_its_figures_stay(tmp_path):
    def trial(seed, losses):
        epochs = [
            runs.epoch("baseline", seed, n, val_loss=loss, val_reference=1 / n) for n, loss in enumerate(losses, 1)
        ]
        return [runs.start("baseline", seed), *epochs, runs.end("baseline", seed)]

    losses = [[9.0, 0.1], [10.0, 0.2], [11.0, 1.5]]
    run = runs.write(tmp_path, runs.study(), [event for seed, each in enumerate(losses) for event in trial(seed, each)])
    figure = figures_of(run, ["baseline"])["curves_loss"]
    row = next(row for row in rows_of_figure(figure) if row["epoch"] == 2 and row["mean"] == pytest.approx(0.6))
    expected = stats.ttest_1samp([0.1, 0.2, 1.5], 0).confidence_interval().low
    assert row["ci_low"] == pytest.approx(expected, rel=1e-5)
    assert row["ci_low"] < 0 < row["low"]


def test_long_curves_are_thinned_and_keep_their_last_epoch(tmp_path):
    epochs = MAXIMUM_MARKS // 2
    run = runs.write(tmp_path, runs.study(), epochs_of("baseline", 0, [0.5] * epochs))
    figure = figures_of(run, ["baseline"])["curves_loss"]
    rows = rows_of_figure(figure)
    assert len(rows) <= MAXIMUM_MARKS + 3
    assert max(row["epoch"] for row in rows) == epochs
    assert "Every 2 epochs." in figure.caption
    assert all(sum(row["tip"] for row in part) <= MAXIMUM_TIPS + 1 for part in figure.spec()["datasets"].values())


def test_a_click_on_a_legend_brings_a_cell_out_and_points_tell_their_figures(tmp_path):
    run = runs.write_outcomes(tmp_path, runs.study(), {"baseline": [0.7, 0.8, 0.9]})
    spec = figures_of(run, ["baseline"])["curves_balanced_accuracy"].spec()
    assert [(each["name"], each["bind"], each["select"]["fields"]) for each in spec["params"]] == [
        ("pick", "legend", ["cell"])
    ]
    told = next(encoding["tooltip"] for encoding in encodings(spec) if "tooltip" in encoding)
    assert {"n", "mean", "ci_low", "ci_high"} <= {tip["field"] for tip in told}


def test_cells_of_one_learning_rate_share_a_line(tmp_path):
    def trial(cell, rate):
        return [
            event | {"lr": rate * event["epoch"]} if "epoch" in event else event for event in runs.trial(cell, 0, 0.5)
        ]

    cells = ["a", "b", "c"]
    study = runs.study(cells, [0])
    run = runs.write(tmp_path / "two", study, [*trial("a", 0.1), *trial("b", 0.1), *trial("c", 0.2)])
    rows = rows_of_figure(figures_of(run, cells)["curves_lr"])
    assert dict.fromkeys(row["cell"] for row in rows) == dict.fromkeys(["a and 1 more", "c"])
    assert [row["mean"] for row in rows if row["cell"] == "c"] == pytest.approx([0.2 * n for n in range(1, 11)])
    run = runs.write(tmp_path / "one", study, [event for cell in cells for event in trial(cell, 0.1)])
    rows = rows_of_figure(figures_of(run, cells)["curves_lr"])
    assert {row["cell"] for row in rows} == {"all 3 cells"}


def test_stability_is_the_mean_over_seeds_with_its_interval(tmp_path):
    def trial(cell, seed, references):
        epochs = [runs.epoch(cell, seed, n, val_reference=value) for n, value in enumerate(references, 1)]
        return [runs.start(cell, seed), *epochs, runs.end(cell, seed)]

    curves = [[1.0, 2.0, 1.0, 0.5], [1.0, 0.5, 0.9, 0.9], [3.0, 3.0, 3.0, 3.0]]
    events = [event for seed, curve in enumerate(curves) for event in trial("baseline", seed, curve)]
    table = stability_table(read_records(runs.write(tmp_path, runs.study(), events)), ["baseline", "absent"])
    assert list(table) == [
        *("cell", "n"),
        *(f"val_{name}_{figure}" for name in ("roughness", "jumps") for figure in ("mean", "std", "ci_low", "ci_high")),
    ]
    assert table["cell"].tolist() == ["baseline"]
    roughness = [np.abs(np.diff(np.log(curve))).mean() for curve in curves]
    jumps = [(np.diff(np.log(curve)) > np.log(1.5)).sum() for curve in curves]
    row = table.iloc[0]
    for name, values in (("val_roughness", roughness), ("val_jumps", jumps)):
        interval = stats.ttest_1samp(values, 0).confidence_interval()
        expected = [np.mean(values), np.std(values, ddof=1), interval.low, interval.high]
        assert [row[f"{name}_{figure}"] for figure in ("mean", "std", "ci_low", "ci_high")] == pytest.approx(expected)
    assert row["n"] == 3


def test_stability_leaves_out_trials_that_did_not_finish_and_draws_the_first_cells(tmp_path):
    outcomes = {f"cell {number}": [0.5] for number in range(MAXIMUM_CELLS + 2)} | {
        "lost": ["failed"],
        "cut": ["stopped"],
    }
    records = read_records(runs.write_outcomes(tmp_path, runs.study(outcomes), outcomes))
    table = stability_table(records, list(outcomes))
    assert len(table) == MAXIMUM_CELLS + 2
    figure = stability_figure(table)
    assert len({row["cell"] for row in rows_of_figure(figure)}) == MAXIMUM_CELLS
    assert "2 more are in stability.csv" in figure.caption
    assert stability_figure(table.iloc[:0]) is None


def test_figures_are_well_formed_repeatable_and_take_the_ink_of_the_page(tmp_path):
    outcomes = {"baseline": [0.7, 0.8, 0.9], "loss=<a> & $b$": [0.8, "failed", "diverged"]}
    records = read_records(runs.write_outcomes(tmp_path, runs.study(outcomes), outcomes))
    cells = list(outcomes)
    made = [
        forest_plot(ablation_table(records, runs.METRIC)),
        *curve_figures(records, curves_table(records, cells), cells),
        stability_figure(stability_table(records, cells)),
    ]
    for figure in made:
        svg = figure.svg()
        ElementTree.fromstring(svg)
        assert svg == figure.svg()
        assert "currentColor" in svg
        assert f"<title>{figure.title}</title>" in svg
        assert figure.spec()["description"] == f"{figure.title}. {figure.caption}"
        if figure.name != "curves_lr":
            assert "&lt;a&gt; &amp; $b$" in svg


def test_a_forest_plot_shows_the_differences_and_their_verdicts(tmp_path):
    outcomes = {"baseline": [0.70, 0.71, 0.72], "loss=up": [0.80, 0.812, 0.82], "loss=lost": ["failed"] * 3}
    records = read_records(runs.write_outcomes(tmp_path, runs.study(outcomes), outcomes))
    table = ablation_table(records, runs.METRIC)
    rows = {row["comparison"]: row for row in rows_of_figure(forest_plot(table)) if "comparison" in row}
    up = table.loc[table["level"] == "up"].iloc[0]
    shown = rows["loss = up"]
    assert [shown[name] for name in ("delta", "ci_low", "ci_high")] == pytest.approx(
        [up["delta"], up["ci_low"], up["ci_high"]], rel=1e-5
    )
    assert shown["verdict"] == "better" == up["verdict"]
    assert rows["loss = lost"]["delta"] is None
    colours = next(
        encoding["color"]["scale"] for encoding in encodings(forest_plot(table).spec()) if "color" in encoding
    )
    assert dict(zip(colours["domain"], colours["range"], strict=True))["better"] == VERDICT_COLOURS["better"]
    assert forest_plot(table.loc[table["level"] == "lost"]) is None
    assert forest_plot(table.iloc[:0]) is None


def test_a_forest_plot_keeps_to_its_maximum_and_says_so():
    row = {"factor": "a", "baseline_level": "0", "metric": runs.METRIC, "n_pairs": 3, "delta": 0.1, "ci_low": 0.0}
    row |= {"ci_high": 0.2, "p_holm": 0.01, "verdict": "better"}
    table = pd.DataFrame([row | {"level": str(place)} for place in range(MAXIMUM_COMPARISONS + 5)])
    figure = forest_plot(table)
    assert sum("comparison" in row for row in rows_of_figure(figure)) == MAXIMUM_COMPARISONS
    assert "5 more are in ablation.csv" in figure.caption


def test_a_comparison_is_named_by_its_factors_and_a_rung_by_its_baseline():
    row = {"factor": "a + b", "level": "1 + 2", "baseline_level": "0 + 0"}
    assert comparison_label(row, False) == "a = 1, b = 2"
    assert (
        comparison_label({"factor": "ladder", "level": "+ BN", "baseline_level": "Adam"}, True) == "+ BN against Adam"
    )
    assert comparison_label({"factor": "a", "level": "x + y", "baseline_level": "0"}, False) == "a = x + y"


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


@pytest.mark.usefixtures("undrawn")
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


def test_cells_whose_names_agree_where_they_are_cut_have_a_row_of_steadiness_each(tmp_path):
    cells = [f"loss={'a rather long name of a level ' * 2}{number}" for number in range(3)]
    outcomes = {"baseline": [0.5], **{cell: [0.6] for cell in cells}}
    records = read_records(runs.write_outcomes(tmp_path, runs.study(outcomes), outcomes))
    figure = stability_figure(stability_table(records, list(outcomes)))
    assert len({row["cell"] for row in rows_of_figure(figure)}) == 4
