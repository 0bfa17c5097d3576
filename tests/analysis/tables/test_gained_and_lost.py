"""Why a level differs: examples gained and lost, classes, calibration, landmarks; each by a route of its own."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.records.run_directory import RunDirectory
from analysis.records.store import read_records
from analysis.report.build import write_report
from analysis.statistics.prediction_errors import calibration_error, mcnemar_p
from analysis.tables import gained_and_lost
from analysis.tables.gained_and_lost import POINT_COLUMNS, why_and_changed
from tests.analysis import outputs, runs

pytestmark = pytest.mark.usefixtures("undrawn")

SEEDS = 3
EXAMPLES = 200


@pytest.fixture
def run(tmp_path):
    return outputs.compared(tmp_path, SEEDS)


@pytest.fixture
def predicted(run):
    """The run with predictions, and them by (cell, seed)."""
    return run, outputs.predict(run, SEEDS, EXAMPLES)


def table(run):
    return why_and_changed(read_records(run), RunDirectory(run))[0]


def ece(columns):
    """Guo et al. 2017, equation 3, as it is written."""
    total, n = 0.0, len(columns["target"])
    confidence = [max(columns[f"score_{i}"][k] for i in range(3)) for k in range(n)]
    right = [columns["target"][k] == columns["prediction"][k] for k in range(n)]
    for m in range(1, 16):
        inside = [k for k in range(n) if (m - 1) / 15 < confidence[k] <= m / 15]
        if inside:
            gap = np.mean([right[k] for k in inside]) - np.mean([confidence[k] for k in inside])
            total += len(inside) / n * abs(gap)
    return total


def test_gained_and_lost_examples_are_counted_pair_by_pair(predicted):
    run, made = predicted
    row = table(run).iloc[0]
    gained, lost, p = [], [], []
    for seed in range(SEEDS):
        a, b = (made[cell, seed]["prediction"] == made[cell, seed]["target"] for cell in ("baseline", "loss=a"))
        gained.append(sum(not x and y for x, y in zip(a, b, strict=True)))
        lost.append(sum(x and not y for x, y in zip(a, b, strict=True)))
        p.append(stats.binomtest(gained[-1], gained[-1] + lost[-1]).pvalue)
    assert row["gained"] == pytest.approx(np.mean(gained), abs=1e-12)
    assert row["lost"] == pytest.approx(np.mean(lost), abs=1e-12)
    assert row["p_mcnemar"] == pytest.approx(np.median(p), rel=1e-9)
    assert row[["n_pairs", "examples"]].tolist() == [SEEDS, EXAMPLES]
    assert list(table(run)) == [
        *("factor", "level", "baseline_level", "n_pairs", "examples", "gained", "lost", "p_mcnemar", "class_gain"),
        *("class_gain_delta", "class_loss", "class_loss_delta", "ece_baseline", "ece_level"),
    ]


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (3, 5), (40, 12), (300, 250)])
def test_mcnemars_exact_test_is_the_binomial_one(gained, lost):
    expected = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar_p(gained, lost) == pytest.approx(expected, rel=1e-9)


def test_calibration_errors_are_guos(predicted):
    run, made = predicted
    row = table(run).iloc[0]
    for name, cell in (("ece_baseline", "baseline"), ("ece_level", "loss=a")):
        assert row[name] == pytest.approx(np.mean([ece(made[cell, seed]) for seed in range(SEEDS)]), abs=1e-6)


def test_a_confidence_on_a_border_belongs_to_the_bin_below():
    confidence = np.array([3 / 15, 3 / 15 + 1e-9, 1.0])
    right = np.array([True, False, True])
    expected = (abs(1 - 3 / 15) + abs(0 - 3 / 15) + 0) / 3
    assert calibration_error(confidence, right) == pytest.approx(expected, abs=1e-8)


def test_what_is_no_probability_has_no_calibration_error():
    right = np.array([True])
    assert calibration_error(np.array([1.5]), right) is None
    assert calibration_error(np.array([np.nan]), right) is None
    assert calibration_error(np.array([]), np.array([], dtype=bool)) is None
    assert calibration_error(np.array([1.0]), right) == 0


def test_the_classes_that_rose_and_fell_most_are_named(run):
    target = np.repeat([0, 1, 2], 10)
    before, after = target.copy(), target.copy()
    before[:5] = 1  # half of the cats are taken for dogs before, none after
    after[20:22] = 0  # two of the eels are taken for cats after
    for seed in range(SEEDS):
        outputs.predictions(run, "baseline", seed, {"target": target, "prediction": before})
        outputs.predictions(run, "loss=a", seed, {"target": target, "prediction": after})
    row = table(run).iloc[0]
    assert (row["class_gain"], row["class_gain_delta"]) == ("cat", 0.5)
    assert (row["class_loss"], row["class_loss_delta"]) == ("eel", pytest.approx(-0.2))
    assert pd.isna(row["ece_level"])


def test_where_no_class_fell_none_is_named(run):
    target = np.repeat([0, 1], 5)
    for seed in range(SEEDS):
        outputs.predictions(run, "baseline", seed, {"target": target, "prediction": np.zeros(10, dtype=int)})
        outputs.predictions(run, "loss=a", seed, {"target": target, "prediction": target})
    row = table(run).iloc[0]
    assert (row["class_gain"], row["class_gain_delta"]) == ("dog", 1.0)
    assert pd.isna(row["class_loss"])
    assert pd.isna(row["class_loss_delta"])


def test_only_pairs_of_the_same_examples_count(predicted):
    run, made = predicted
    first = made["loss=a", 0]
    outputs.predictions(run, "loss=a", 0, {name: values[:-1] for name, values in first.items()})
    outputs.predictions(run, "loss=a", 1, made["loss=a", 1] | {"target": (made["loss=a", 1]["target"] + 1) % 3})
    assert table(run).iloc[0]["n_pairs"] == 1


def test_without_readable_predictions_there_is_no_table(run):
    assert table(run).empty
    (run / "predictions").mkdir()
    (run / "predictions" / f"{runs.trial_id('baseline', 0)}.parquet").write_bytes(b"torn")
    pd.DataFrame({"x": [1]}).to_parquet(run / "predictions" / f"{runs.trial_id('loss=a', 0)}.parquet")
    assert table(run).empty
    write_report(run)
    assert not (run / "report" / "why.csv").exists()


def test_landmarks_are_compared_by_the_error_of_each_example(run):
    rng = np.random.default_rng(1)
    changes = []
    true = rng.uniform(0, 112, (EXAMPLES, 4))
    for seed in range(SEEDS):
        errors = []
        for cell, spread in (("baseline", 5), ("loss=a", 3)):
            found = true + rng.normal(0, spread, true.shape)
            names = ("x0", "y0", "x1", "y1")
            columns = {f"true_{name}": true[:, i] for i, name in enumerate(names)}
            outputs.predictions(run, cell, seed, columns | {name: found[:, i] for i, name in enumerate(names)})
            away = (found - true).reshape(-1, 2, 2)
            errors.append(np.linalg.norm(away, axis=2).mean(axis=1))
        changes.append(errors[1] - errors[0])
    row = table(run).iloc[0]
    assert tuple(table(run)) == ("factor", "level", "baseline_level", "n_pairs", "examples", *POINT_COLUMNS)
    assert row["share_better"] == pytest.approx(np.mean([np.mean(change < 0) for change in changes]), abs=1e-12)
    assert row["share_worse"] == pytest.approx(1 - row["share_better"], abs=1e-12)
    assert row["delta_px"] == pytest.approx(np.mean([change.mean() for change in changes]), abs=1e-9)
    assert row["delta_px_median"] == pytest.approx(np.mean([np.median(change) for change in changes]), abs=1e-9)
    assert "landmarks came closer" in write_report(run).read_text()
    assert "of landmarks" in (run / "report" / "why.tex").read_text()


def test_the_page_says_why(predicted):
    run, _ = predicted
    text = write_report(run).read_text()
    assert '<section id="why"' in text
    assert "McNemar p" in text
    assert len(pd.read_csv(run / "report" / "why.csv")) == 1


def test_a_search_has_no_such_table(tmp_path):
    run = runs.write_outcomes(tmp_path, runs.search(), {"c0": [0.5], "c1": [0.7]})
    assert table(run).empty


def test_of_many_comparisons_the_first_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(gained_and_lost, "MAXIMUM_COMPARISONS", 2)
    outcomes = {"baseline": [0.5], **{f"loss={name}": [0.6] for name in "abc"}}
    run = runs.write_outcomes(tmp_path, runs.study(outcomes, range(1)), outcomes)
    for place, cell in enumerate(outcomes):
        outputs.predictions(run, cell, 0, {"target": [0, 0], "prediction": [0, place % 2]})
    made, turned = why_and_changed(read_records(run), RunDirectory(run))
    assert made["level"].tolist() == ["a", "b"]
    assert set(turned["level"]) == {"a"}
