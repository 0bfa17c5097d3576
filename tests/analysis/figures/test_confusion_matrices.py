"""Confusion matrices and their changes, against scikit-learn's."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix

from analysis.figures.cell_labels import featured_cells
from analysis.figures.confusion_matrices import confusion_figures, counts_of, differences, most_confused, shares_of
from analysis.figures.theme import MAXIMUM_MARKS
from analysis.records.run_directory import RunDirectory
from analysis.records.store import read_records
from analysis.tables import confusion
from analysis.tables.ablation import ablation_table
from analysis.tables.confusion import confusion_and_per_class
from analysis.tables.ranking import ranking_table
from tests.analysis import outputs, runs

NAMES = ["cat", "dog", "eel"]
SEEDS = 3


def made(tmp_path, outcomes, study=None, classes=3, examples=300):
    """A run with predictions, its records and tables, and the predictions by (cell, seed)."""
    rng = np.random.default_rng(0)
    names = NAMES if classes == 3 else [f"class {i}" for i in range(classes)]
    study = study or runs.study(outcomes, range(SEEDS), data={"classes": names})
    run = runs.write_outcomes(tmp_path, study, outcomes)
    target = rng.integers(0, classes, examples)
    found = {}
    for place, (cell, values) in enumerate(outcomes.items()):
        for seed in range(len(values)):
            hit = rng.uniform(size=examples) < 0.4 + 0.3 * place
            prediction = np.where(hit, target, rng.integers(0, classes, examples))
            found[cell, seed] = (target, prediction)
            outputs.predictions(run, cell, seed, {"target": target, "prediction": prediction})
    return run, *tables_of(run), found


def tables_of(run):
    records = read_records(run)
    tables = {"ranking": ranking_table(records)}
    if not records.is_search:
        tables["ablation"] = ablation_table(records, runs.METRIC)
    confusion, _ = confusion_and_per_class(records, RunDirectory(run), list(tables["ranking"]["cell"]))
    return records, tables | {"confusion": confusion}


def figures(records, tables):
    return {made.name: made for made in confusion_figures(records, tables, featured_cells(records, tables["ranking"]))}


def panels(figure):
    """Rows of each panel's data, by the panel's title."""
    spec = figure.spec()
    return {" ".join(panel["title"]): pd.DataFrame(rows_in(spec, panel)) for panel in spec["concat"]}


def rows_in(spec, panel):
    # Altair moves data that all parts share to the whole.
    data = next(part["data"] for part in (panel, panel["layer"][0], spec) if "data" in part)
    return data["values"] if "values" in data else spec["datasets"][data["name"]]


OUTCOMES = {"baseline": [0.50, 0.51, 0.52], "loss=a": [0.80, 0.82, 0.81], "loss=b": [0.1, 0.12, 0.11]}


def test_a_matrix_counts_what_was_taken_for_what_over_all_seeds(tmp_path):
    _, _, tables, found = made(tmp_path, OUTCOMES)
    counts = counts_of(tables["confusion"], "loss=a", NAMES)
    expected = sum(confusion_matrix(*found["loss=a", seed], labels=range(3)) for seed in range(SEEDS))
    assert counts.to_numpy().tolist() == expected.tolist()
    shares = sum(confusion_matrix(*found["loss=a", seed], labels=range(3), normalize="true") for seed in range(SEEDS))
    assert shares_of(counts).to_numpy() == pytest.approx(shares / SEEDS, abs=1e-12)


def test_the_figure_shows_baseline_and_best_with_shares_of_rows(tmp_path):
    _, records, tables, found = made(tmp_path, OUTCOMES)
    drawn = panels(figures(records, tables)["confusion"])
    assert list(drawn) == ["baseline", "loss=a (best)"]
    rows = drawn["loss=a (best)"].set_index(["true", "predicted"])
    expected = sum(confusion_matrix(*found["loss=a", seed], labels=range(3)) for seed in range(SEEDS))
    for i, true in enumerate(NAMES):
        for j, predicted in enumerate(NAMES):
            assert rows.loc[(true, predicted), "count"] == expected[i, j]
            assert rows.loc[(true, predicted), "share"] == pytest.approx(expected[i, j] / expected[i].sum(), abs=1e-6)


def test_a_change_is_the_difference_of_shares_and_drawn_for_the_best_and_for_clear_verdicts(tmp_path):
    _, records, tables, found = made(tmp_path, OUTCOMES)
    assert differences(records, tables) == {
        "loss=a (best)": ("baseline", "loss=a"),
        "loss=b, worse": ("baseline", "loss=b"),
    }
    rows = panels(figures(records, tables)["confusion_change"])["loss=b, worse"].set_index(["true", "predicted"])
    before, after = (
        sum(confusion_matrix(*found[cell, seed], labels=range(3)) for seed in range(SEEDS))
        for cell in ("baseline", "loss=b")
    )
    change = after / after.sum(1, keepdims=True) - before / before.sum(1, keepdims=True)
    for i, true in enumerate(NAMES):
        for j, predicted in enumerate(NAMES):
            if abs(change[i, j]) > 0.001:
                assert rows.loc[(true, predicted), "share"] == pytest.approx(change[i, j], abs=1e-6)


def test_an_unclear_level_that_is_not_the_best_has_no_change_drawn(tmp_path):
    outcomes = {"baseline": [0.5, 0.6, 0.7], "loss=a": [0.8, 0.82, 0.81], "loss=b": [0.7, 0.5, 0.6]}
    _, records, tables, _ = made(tmp_path, outcomes)
    assert "loss=b" not in " ".join(differences(records, tables))


def test_a_search_shows_its_best_cell_alone(tmp_path):
    _, records, tables, _ = made(tmp_path, {"c0": [0.5], "c1": [0.7]}, runs.search(data={"classes": NAMES}))
    drawn = figures(records, tables)
    assert list(drawn) == ["confusion"]
    assert list(panels(drawn["confusion"])) == ["c1 (best)"]


@pytest.mark.parametrize("classes", [12, 13, 50, 300])
@pytest.mark.matrix
def test_many_classes_stay_within_what_a_figure_can_show(tmp_path, classes):
    outcomes = {"baseline": [0.50, 0.51, 0.52], "loss=a": [0.80, 0.82, 0.81]}
    _, records, tables, _ = made(tmp_path, outcomes, classes=classes, examples=3000)
    drawn = figures(records, tables)
    for name in ("confusion", "confusion_change"):
        rows = panels(drawn[name])
        assert sum(map(len, rows.values())) <= MAXIMUM_MARKS
        assert all(part["true"].nunique() <= 50 for part in rows.values())
        assert ("250 more are in confusion.csv" in drawn[name].caption) == (classes == 300)
        texts = [
            layer for panel in drawn[name].spec()["concat"] for layer in panel["layer"] if "text" in layer["encoding"]
        ]
        assert bool(texts) == (classes <= 12)
        assert drawn[name].svg().startswith("<svg")


def test_of_too_many_classes_those_with_the_most_errors_stay():
    rows = [{"cell": "c", "target": f"{i}", "prediction": f"{i}", "count": 100} for i in range(60)]
    rows += [{"cell": "c", "target": f"{i}", "prediction": "0", "count": i} for i in range(1, 60)]
    kept = most_confused(pd.DataFrame(rows), [f"{i}" for i in range(60)])
    assert kept == ["0", *(f"{i}" for i in range(11, 60))]


def test_with_one_class_or_without_predictions_there_is_nothing_to_confuse(tmp_path):
    run = runs.write_outcomes(tmp_path, runs.study(OUTCOMES, range(SEEDS)), OUTCOMES)
    assert figures(*tables_of(run)) == {}
    for seed in range(SEEDS):
        for cell in OUTCOMES:
            outputs.predictions(run, cell, seed, {"target": np.zeros(5, int), "prediction": np.zeros(5, int)})
    assert figures(*tables_of(run)) == {}


def test_an_unfinished_run_shows_what_has_finished(tmp_path):
    outcomes = {"baseline": [0.5, "running"], "loss=a": ["running", "failed"]}
    _, records, tables, _ = made(tmp_path, outcomes, runs.study(outcomes, range(2), data={"classes": NAMES}))
    drawn = figures(records, tables)
    assert list(drawn) == ["confusion"]
    assert list(panels(drawn["confusion"])) == ["baseline (best)"]


def test_a_class_that_only_predictions_name_has_a_column_and_an_empty_row(tmp_path):
    run = runs.write_outcomes(tmp_path, runs.study(OUTCOMES, range(SEEDS), data={"classes": NAMES}), OUTCOMES)
    for seed in range(SEEDS):
        for cell in OUTCOMES:
            outputs.predictions(run, cell, seed, {"target": [0, 0, 1, 1], "prediction": [0, 2, 1, 1]})
    records, tables = tables_of(run)
    counts = counts_of(tables["confusion"], "baseline", NAMES)
    assert counts.loc["eel"].sum() == 0
    assert shares_of(counts).loc["eel"].isna().all()
    assert figures(records, tables)["confusion"].svg() == figures(records, tables)["confusion"].svg()


def test_cells_whose_names_agree_where_they_are_cut_have_a_change_each(tmp_path):
    long = f"loss={'a rather long name of a level ' * 2}"
    outcomes = {"baseline": [0.5, 0.51, 0.52], f"{long}1": [0.1, 0.12, 0.11], f"{long}2": [0.2, 0.22, 0.21]}
    _, records, tables, _ = made(tmp_path, outcomes)
    found = differences(records, tables)
    assert sorted(found.values()) == [("baseline", f"{long}1"), ("baseline", f"{long}2")]
    drawn = panels(figures(records, tables)["confusion_change"])
    assert len(drawn) == 2
    assert all(title.endswith(", worse") for title in drawn)


def ladder(steps):
    """A study of these rungs, each against the one before and the first."""
    pairs = [(cell, steps[before]) for at, cell in enumerate(steps) for before in sorted({at - 1, 0}, reverse=True)]
    compared = [runs.comparison("ladder", cell, other, cell, other) for cell, other in pairs if cell != steps[0]]
    return runs.study(steps, range(SEEDS), design="ladder", data={"classes": NAMES}, comparisons=compared)


def test_a_ladders_changes_are_of_rungs_with_the_one_before_and_name_it(tmp_path):
    rungs = {"0 default": [0.50, 0.51, 0.52], "1 + bn": [0.70, 0.72, 0.71], "2 + dropout": [0.600, 0.625, 0.605]}
    rungs["3 + decay"] = [0.80, 0.82, 0.81]
    _, records, tables, _ = made(tmp_path, rungs, ladder(list(rungs)))
    assert differences(records, tables) == {
        "3 + decay (best) against 0 default": ("0 default", "3 + decay"),
        "1 + bn against 0 default, better": ("0 default", "1 + bn"),
        "2 + dropout against 1 + bn, worse": ("1 + bn", "2 + dropout"),
        "3 + decay against 2 + dropout, better": ("2 + dropout", "3 + decay"),
    }


def test_of_many_cells_the_first_and_the_baseline_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(confusion, "MAXIMUM_CELLS", 2)
    outcomes = {"baseline": [0.1], "loss=a": [0.7], "loss=b": [0.6], "loss=c": [0.5]}
    _, _, tables, _ = made(tmp_path, outcomes)
    assert list(dict.fromkeys(tables["confusion"]["cell"])) == ["loss=a", "loss=b", "baseline"]
