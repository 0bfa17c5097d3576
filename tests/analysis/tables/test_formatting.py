"""Tables as files and in a terminal."""

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from analysis.console import console_table
from analysis.records.store import read_records
from analysis.report.contents import report_tables
from analysis.report.exports import write_table
from analysis.tables.formatting import interval, number
from core.metrics import metric_label
from tests.analysis import runs


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.85, "0.8500"),
        (0.041234, "0.04123"),
        (12.3, "12.30"),
        (1234.5, "1234"),
        (0, "0"),
        (-0.5, "-0.5000"),
        (3e-7, "3.000e-07"),
        (np.nan, ""),
        (None, ""),
    ],
)
def test_numbers_have_four_significant_digits(value, text):
    assert number(value) == text


def test_an_interval_needs_both_ends():
    assert interval(0.02, 0.06, 2) == "[0.020, 0.060]"
    assert interval(0.02, np.nan) == ""


def test_a_metric_in_words_has_no_split():
    assert metric_label("test_balanced_accuracy") == "balanced accuracy"
    assert metric_label("seconds") == "seconds"


def test_csv_keeps_every_digit(tmp_path):
    values = np.random.default_rng(0).normal(size=100)
    write_table(pd.DataFrame({"x": values}), tmp_path, "t")
    assert [float(line) for line in (tmp_path / "t.csv").read_text().splitlines()[1:]] == values.tolist()


def test_markdown_joins_the_interval_and_stresses_the_best_mean(tmp_path):
    table = pd.DataFrame(
        {"rank": [1, 2], "cell": ["a|b", "c"], "mean": [0.9, 0.8], "ci_low": [0.85, np.nan], "ci_high": [0.95, np.nan]}
    )
    write_table(table, tmp_path, "ranking")
    assert (tmp_path / "ranking.md").read_text() == (
        "| rank | cell | mean | interval |\n"
        "| --- | --- | --- | --- |\n"
        "| 1 | a\\|b | **0.9000** | [0.8500, 0.9500] |\n"
        "| 2 | c | 0.8000 |  |\n"
    )


def test_latex_escapes_what_latex_would_read(tmp_path):
    table = pd.DataFrame({"rank": [1], "cell": ["a_b & 50%"], "mean": [0.5]})
    write_table(table, tmp_path, "ranking")
    assert r"1 & a\_b \& 50\% & \textbf{0.5000} \\" in (tmp_path / "ranking.tex").read_text()


def printed(tables, name="ablation"):
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(console_table(name, tables[name]))
    return console.export_text()


@pytest.fixture
def tables(tmp_path):
    long = "loss=a_level_with_a_rather_long_name,sampler=another_long_name"
    outcomes = {"baseline": [0.8, 0.81, 0.82], "loss=a": [0.7, 0.72, 0.71], long: [0.9, "failed", 0.95]}
    return report_tables(read_records(runs.write_outcomes(tmp_path, runs.study(outcomes), outcomes)))


@pytest.mark.parametrize("name", ["ablation", "ranking"])
def test_a_table_fits_a_hundred_columns_and_cuts_nothing(tables, name):
    text = printed(tables, name)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text


def test_the_terminal_shows_difference_interval_and_verdict(tables):
    line = next(line for line in printed(tables).splitlines() if " a " in line)
    assert "-0.100 [-0.12, -0.075]" in line
    assert "worse" in line


def test_the_terminal_shows_a_rankings_means_with_four_digits_and_their_intervals_with_three(tables):
    line = next(line for line in printed(tables, "ranking").splitlines() if " baseline " in line)
    assert "0.8100 [0.785, 0.835]" in line


def test_a_ladder_says_what_each_rung_is_against(tmp_path):
    study = runs.study(["0", "1"])
    study["design"] = "ladder"
    study["comparisons"] = [runs.comparison("ladder", "rung one", "rung zero", "1", "0")]
    records = read_records(runs.write_outcomes(tmp_path, study, {"0": [0.5], "1": [0.6]}))
    assert "rung zero" in printed(report_tables(records))


def test_an_empty_table_prints(tmp_path):
    records = read_records(runs.write(tmp_path, runs.study(), []))
    assert "nothing to compare" in printed(report_tables(records))
