"""A path's table of candidates, against differences taken by hand, and what is said of its steps."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.console import console_table, describe
from analysis.figures.cell_labels import featured_cells
from analysis.records.store import read_records
from analysis.report.build import write_report
from analysis.report.caveats import caveats
from analysis.report.contents import report_tables
from analysis.report.narrative import answers
from analysis.tables.formatting import progress_in_words
from analysis.tables.ladder_and_path import path_table
from analysis.tables.ranking import best_cell, ranking_table
from tests.analysis import runs

pytestmark = pytest.mark.usefixtures("undrawn")

FACTORS = {"lr": ("0.01", "0.2"), "bn": ("none", "conv1"), "decay": ("0", "0.001")}
OUTCOMES: dict[str, list[float | str]] = {
    "0 default": [0.50, 0.52, 0.51, 0.49],
    "1 + lr": [0.70, 0.71, 0.69, 0.72],
    "1 + bn": [0.60, 0.61, "diverged", 0.62],
    "1 + decay": [0.50, 0.53, 0.50, 0.50],
    "2 + bn": [0.80, 0.82, 0.81, 0.83],
    "2 + decay": [0.70, "failed", 0.70, 0.71],
    "3 + decay": [0.81, 0.81, 0.80, 0.84],
}
ON = {"0 default": [], "1 + lr": ["lr"], "1 + bn": ["bn"], "1 + decay": ["decay"]}
ON |= {"2 + bn": ["lr", "bn"], "2 + decay": ["lr", "decay"], "3 + decay": ["lr", "bn", "decay"]}
STEPS = ["0 default", "1 + lr", "2 + bn", "3 + decay"]


def study(steps: int = 3, **changes: Any) -> dict[str, Any]:
    cells = [name for name in ON if int(name[0]) <= min(steps + 1, 3)]
    made = runs.study(cells, range(4), design="path", path=["lr", "bn", "decay"][:steps], trials_ahead=0)
    made["factors"] = [
        {"name": name, "levels": [{"name": level, "settings": {}} for level in levels]}
        for name, levels in FACTORS.items()
    ]
    made["cells"] = [
        runs.cell(name, {factor: levels[factor in ON[name]] for factor, levels in FACTORS.items()}) for name in cells
    ]
    made["comparisons"] = [
        runs.comparison("path", STEPS[step], STEPS[before], STEPS[step], STEPS[before])
        for step in range(1, steps + 1)
        for before in sorted({step - 1, 0}, reverse=True)
    ]
    return made | changes


def write(path: Path, steps: int = 3, **changes: Any) -> Path:
    made = study(steps, **changes)
    return runs.write_outcomes(path, made, {cell["name"]: OUTCOMES[cell["name"]] for cell in made["cells"]})


def test_every_candidate_of_every_step_has_a_row_and_the_one_that_was_taken_is_marked(tmp_path: Path) -> None:
    table = path_table(read_records(write(tmp_path)))
    assert list(table) == [
        *("step", "factor", "from", "to", "cell", "against", "metric", "n_pairs", "n_failed", "n_diverged"),
        *("val_delta", "delta", "ci_low", "ci_high", "chosen"),
    ]
    assert list(zip(table["step"], table["factor"], table["from"], table["to"], strict=True)) == [
        (1, "lr", "0.01", "0.2"),
        (1, "bn", "none", "conv1"),
        (1, "decay", "0", "0.001"),
        (2, "bn", "none", "conv1"),
        (2, "decay", "0", "0.001"),
        (3, "decay", "0", "0.001"),
    ]
    assert table["against"].tolist() == ["0 default"] * 3 + ["1 + lr"] * 2 + ["2 + bn"]
    assert table["chosen"].tolist() == [True, False, False, True, False, True]
    assert table["n_diverged"].tolist() == [0, 1, 0, 0, 0, 0]
    assert table["n_failed"].tolist() == [0, 0, 0, 0, 1, 0]


def test_differences_are_paired_by_seed_against_the_step_before(tmp_path: Path) -> None:
    records = read_records(write(tmp_path))
    trials = records.trials.loc[records.trials["status"] == "finished"]
    for row in path_table(records).to_dict("records"):
        both = [
            trials.loc[trials["cell"] == row[name]].set_index("seed")[[runs.METRIC, "val_balanced_accuracy"]]
            for name in ("cell", "against")
        ]
        gaps = (both[0] - both[1]).dropna()
        assert row["n_pairs"] == len(gaps)
        assert row["delta"] == pytest.approx(gaps[runs.METRIC].mean(), abs=1e-12)
        assert row["val_delta"] == pytest.approx(gaps["val_balanced_accuracy"].mean(), abs=1e-12)
        low, high = stats.t.interval(0.95, len(gaps) - 1, gaps[runs.METRIC].mean(), stats.sem(gaps[runs.METRIC]))
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=1e-9)


def test_the_step_in_progress_has_rows_and_nothing_taken(tmp_path: Path) -> None:
    table = path_table(read_records(write(tmp_path, steps=1)))
    assert table["step"].tolist() == [1, 1, 1, 2, 2]
    assert table["chosen"].tolist() == [True, False, False, False, False]
    assert len(path_table(read_records(runs.write(tmp_path / "none", study(0), [])))) == 3


def test_a_candidate_that_could_not_run_has_a_row_of_nothing(tmp_path: Path) -> None:
    made = study()
    made["cells"][2]["invalid"] = "it needs what is off"
    outcomes = {name: values for name, values in OUTCOMES.items() if name != "1 + bn"}
    table = path_table(read_records(runs.write_outcomes(tmp_path, made, outcomes))).set_index("cell")
    assert table.loc["1 + bn", "n_pairs"] == 0
    assert pd.isna(table.loc["1 + bn", "delta"])


def test_each_step_is_said_with_what_it_changed_and_all_with_how_they_were_chosen(tmp_path: Path) -> None:
    records = read_records(write(tmp_path))
    said = answers(records, report_tables(records))
    assert [answer.subject for answer in said] == [
        "Step 1, lr 0.01 → 0.2",
        "Step 2, bn none → conv1",
        "Step 3, decay 0 → 0.001",
        "All 3 steps together",
        "How the steps were chosen",
    ]
    begun = read_records(write(tmp_path / "begun", steps=2))
    assert answers(begun, report_tables(begun))[2].subject == "The first 2 steps together"
    gain = np.mean([0.20, 0.19, 0.18, 0.23])
    assert f"balanced accuracy +{gain:.2f} [" in said[0].text
    assert "the one that most seeds finished, of equals the one with the best mean val_balanced_acc" in said[-1].text
    assert "by the seeds and epochs of the time of choosing" in said[-1].text


def test_the_report_holds_the_table_and_the_page_says_what_it_is(tmp_path: Path) -> None:
    text = write_report(write(tmp_path)).read_text()
    assert "Every candidate of every step" in text
    assert len(pd.read_csv(tmp_path / "report" / "path.csv")) == 6
    caption = (tmp_path / "report" / "path.tex").read_text()
    assert (
        "The factor that most seeds finished was chosen, of equals the one with the best mean in validation" in caption
    )
    drawn = console_table("ablation", report_tables(read_records(tmp_path))["ablation"])
    assert [column.header for column in drawn.columns][:2] == ["level", "against"]


def test_what_is_still_to_come_counts_as_at_most(tmp_path: Path) -> None:
    run = write(tmp_path, steps=1, trials_ahead=4)
    records = read_records(run)
    assert records.is_unfinished
    assert progress_in_words(records).endswith("of at most 28 planned trials")
    assert "at most 28 trials planned" in describe(run)[0]
    whole = write(tmp_path / "whole")
    assert not read_records(whole).is_unfinished
    assert " 28 trials planned" in describe(whole)[0]
    assert "at most" not in describe(whole)[0]


def test_before_the_first_step_the_report_says_that_none_is_chosen(tmp_path: Path) -> None:
    run = write(tmp_path, steps=0, trials_ahead=12)
    assert "No step of the path is chosen yet" in " ".join(caveats(read_records(run)))
    assert "No step of the path is chosen yet" in write_report(run).read_text()


def test_pictures_are_of_the_last_chosen_step_and_of_no_candidate_that_was_rejected(tmp_path: Path) -> None:
    made = study(2)
    outcomes = {cell["name"]: OUTCOMES[cell["name"]] for cell in made["cells"]} | {"2 + decay": [0.99] * 4}
    records = read_records(runs.write_outcomes(tmp_path, made, outcomes))
    ranking = ranking_table(records)
    assert ranking["cell"].iloc[0] == "2 + decay"
    assert best_cell(records, ranking) == "2 + bn"
    assert featured_cells(records, ranking) == {"0 default": "0 default", "2 + bn": "2 + bn (last step)"}
