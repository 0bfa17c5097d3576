"""One table a question: the levels of a factor, and the way from each to its trials."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.records.store import read_records
from analysis.report.build import write_report
from analysis.report.contents import report_tables
from analysis.tables.ablation import ablation_table
from analysis.tables.factor_levels import factor_tables, slug
from tests.analysis import runs

pytestmark = pytest.mark.usefixtures("undrawn")

OUTCOMES = {
    "baseline": [0.80, 0.81, 0.79, 0.82, 0.80],
    "loss=a": [0.90, 0.92, 0.88, 0.93, 0.91],
    "loss=b": [0.70, 0.71, "failed", 0.72, "diverged"],
    "lr=0.1": [0.81, 0.80, 0.80, 0.83, 0.80],
}


def study(**changes):
    made = runs.study(OUTCOMES, range(5))
    made["comparisons"] = [
        runs.comparison("loss", "a", "ce", "loss=a", "baseline"),
        runs.comparison("loss", "b", "ce", "loss=b", "baseline"),
        runs.comparison("Learning rate (η)", "0.1", "0.01", "lr=0.1", "baseline"),
    ]
    made["cells"][1]["reference"] = "91 % in the paper"
    return made | changes


def tables_of(run):
    records = read_records(run)
    return factor_tables(records, ablation_table(records, records.study["metric"]))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = runs.write_outcomes(tmp_path_factory.mktemp("levels"), study(), OUTCOMES)
    write_report(run)
    return run


def test_there_is_a_table_a_factor_with_the_baselines_level_first(run):
    tables = tables_of(run)
    assert list(tables) == ["factor_loss", "factor_learning_rate"]
    assert tables["factor_loss"]["level"].tolist() == ["ce", "a", "b"]
    assert tables["factor_learning_rate"]["level"].tolist() == ["0.01", "0.1"]
    for table in tables.values():
        assert list(table) == [
            *("level", "is_baseline", "metric", "n", "n_failed", "n_diverged", "mean", "half_width", "std", "best"),
            *("delta", "ci_low", "ci_high", "p_holm", "verdict", "reference", "trials"),
        ]
        assert table["is_baseline"].tolist() == [True] + [False] * (len(table) - 1)


def test_a_level_has_its_mean_with_half_of_its_t_interval_and_its_broken_trials(run):
    table = tables_of(run)["factor_loss"].set_index("level")
    for level, cell in (("ce", "baseline"), ("a", "loss=a"), ("b", "loss=b")):
        values = [value for value in OUTCOMES[cell] if not isinstance(value, str)]
        low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        row = table.loc[level]
        assert row["mean"] == pytest.approx(np.mean(values), abs=1e-12)
        assert row["half_width"] == pytest.approx((high - low) / 2, abs=1e-9)
        assert row["n"] == len(values)
    assert table.loc["b", ["n_failed", "n_diverged"]].tolist() == [1, 1]
    assert table["best"].to_dict() == {"ce": False, "a": True, "b": False}


def test_differences_and_corrections_are_those_of_the_ablation_table(run):
    records = read_records(run)
    ablation = ablation_table(records, runs.METRIC).set_index("level")
    tables = tables_of(run)
    for name, levels in (("factor_loss", ["a", "b"]), ("factor_learning_rate", ["0.1"])):
        table = tables[name].set_index("level")
        assert table.iloc[0][["delta", "p_holm", "verdict"]].isna().all()
        for level in levels:
            for column in ("delta", "ci_low", "ci_high", "p_holm", "verdict", "reference"):
                ours, theirs = table.loc[level, column], ablation.loc[level, column]
                assert ours == theirs or (pd.isna(ours) and pd.isna(theirs))


def test_of_a_minimised_metric_the_smallest_mean_is_best(tmp_path):
    outcomes = {"baseline": [0.8, 0.9], "loss=a": [0.7, 0.6]}
    made = runs.study(outcomes, range(2), metric="test_error_px")
    run = runs.write_outcomes(tmp_path, made, outcomes, "test_error_px")
    assert tables_of(run)["factor_loss"]["best"].tolist() == [False, True]


def test_a_study_that_left_one_out_has_a_table_a_factor(tmp_path):
    cells = {"full": [0.9, 0.91], "without flip": [0.8, 0.81]}
    made = runs.study(cells, range(2), design="leave_one_out")
    made["comparisons"] = [runs.comparison("flip", "off", "on", "without flip", "full")]
    table = tables_of(runs.write_outcomes(tmp_path, made, cells))["factor_flip"]
    assert table["level"].tolist() == ["on", "off"]


@pytest.mark.parametrize("design", ["factorial", "ladder", "path"])
def test_other_designs_have_none(tmp_path, design):
    run = runs.write_outcomes(tmp_path, study(design=design), OUTCOMES)
    assert tables_of(run) == {}


def test_a_slug_is_a_part_of_a_files_name():
    assert slug("Learning rate (η)") == "learning_rate"
    assert slug("../a/b") == "a_b"
    assert slug("→") == "unnamed"
    assert len(slug("a" * 300)) == 60


def test_factors_whose_names_look_alike_keep_their_own_files(tmp_path):
    made = study()
    made["comparisons"][1] |= {"factor": "LOSS"}
    names = list(tables_of(runs.write_outcomes(tmp_path, made, OUTCOMES)))
    assert names == ["factor_loss", "factor_loss_2", "factor_learning_rate"]


def test_the_page_asks_each_question_and_leads_to_the_trials(run):
    text = (run / "report" / "index.html").read_text()
    assert "<h3>loss: ce, a or b?</h3>" in text
    targets = set(re.findall(r'href="#(trials-\d+)"', text))
    assert len(targets) == 4
    assert all(text.count(f'id="{target}"') == 1 for target in targets)
    for seed in range(5):
        assert runs.trial_id("loss=a", seed) in text
    assert "91 % in the paper" in text
    assert "measured there, not here" in text
    assert re.search(r'class="num best" data-v="[\d.]+">0\.9080 ± 0\.0\d+<', text)


def test_files_hold_the_mean_with_its_half_width_and_the_best_in_bold(run):
    lines = (run / "report" / "factor_loss.md").read_text().splitlines()
    assert re.search(r"\| a \|.*\| \*\*0\.9080 ± 0\.0\d+\*\* \|", lines[3])
    assert re.search(r"\\textbf\{0\.9080 \$\\pm\$ 0\.0\d+\}", (run / "report" / "factor_loss.tex").read_text())
    assert pd.read_csv(run / "report" / "factor_loss.csv")["trials"].str.split().map(len).tolist() == [5, 5, 5]


def test_many_trials_are_not_all_on_the_page(tmp_path):
    outcomes = {"baseline": [0.5] * 20} | {f"loss=l{i}": [0.5 + i / 100] * 20 for i in range(20)}
    run = runs.write_outcomes(tmp_path, runs.study(outcomes, range(20)), outcomes)
    text = write_report(run).read_text()
    assert "The trials of 6 more cells are in trials.parquet." in text
    assert set(re.findall(r'href="#(trials-\d+)"', text)) <= set(re.findall(r'id="(trials-\d+)"', text))


def test_a_study_that_never_started_has_its_questions(tmp_path):
    run = runs.write(tmp_path, study(), [])
    assert report_tables(read_records(run))["factor_loss"]["best"].tolist() == [False] * 3
    write_report(run)
