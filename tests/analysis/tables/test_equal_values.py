"""Equal values have no interval, and a column in which all tie has no best."""

import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from analysis.console import console_table
from analysis.figures.forest_plot import forest_plot
from analysis.records.store import read_records
from analysis.report.caveats import caveats
from analysis.report.contents import report_tables
from analysis.report.exports import write_table
from analysis.report.html_tables import html_table, per_class
from analysis.statistics.hypothesis_tests import paired
from analysis.tables.ablation import unclear
from analysis.tables.formatting import WITHOUT_INTERVAL, interval
from analysis.tables.spec import best_rows, spec_of
from tests.analysis import runs


def printed(table, name):
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(console_table(name, table))
    return console.export_text()


def of(path, outcomes):
    study = runs.study(outcomes, range(len(next(iter(outcomes.values())))))
    records = read_records(runs.write_outcomes(path, study, outcomes))
    return records, report_tables(records)


TWO = {"baseline": [0.8, 0.8], "loss=a": [0.9, 0.9]}
THREE = {"baseline": [0.7, 0.7, 0.7], "loss=a": [0.7, 0.7, 0.7]}


# Intervals


def test_files_keep_the_point_of_equal_seeds(tmp_path):
    same = paired(np.array([0.5, 0.25]), np.array([0.75, 0.5]))
    assert (same.delta, same.ci_low, same.ci_high) == (0.25, 0.25, 0.25)
    _, tables = of(tmp_path, TWO)
    assert (tables["ablation"]["ci_low"] == tables["ablation"]["delta"]).all()


@pytest.mark.parametrize("outcomes", [TWO, THREE], ids=["two", "three"])
def test_no_form_prints_an_interval_of_no_width(tmp_path, outcomes):
    _, tables = of(tmp_path / "run", outcomes)
    for name in ("ablation", "ranking", "factor_loss"):
        write_table(tables[name], tmp_path, name)
        page = [cell.text for row in html_table(spec_of(name), tables[name]).rows for cell in row]
        texts = {"md": (tmp_path / f"{name}.md").read_text(), "tex": (tmp_path / f"{name}.tex").read_text()}
        texts |= {"page": " ".join(page), "console": printed(tables[name], name)}
        for form, text in texts.items():
            assert "[0" not in text, (name, form)
            assert "[+0" not in text, (name, form)
            assert "±" not in text, (name, form)
    assert WITHOUT_INTERVAL in " ".join(printed(tables["ablation"], "ablation").split())


def test_rounding_alone_makes_no_interval_and_a_narrow_one_is_one():
    assert interval(0.1 + 0.2, 0.3) == ""
    assert interval(0.3, 0.3 + 1e-9, 3) == "[0.300, 0.300]"
    assert interval(0.0, 0.0) == ""


@pytest.mark.parametrize(("outcomes", "rows"), [(TWO, "1 of 1 comparison has"), (THREE, "1 of 1 comparison has")])
def test_the_page_says_why(tmp_path, outcomes, rows):
    records, tables = of(tmp_path, outcomes)
    assert f"{rows} no interval: all seeds agree there" in " ".join(caveats(records, tables))


def test_the_page_says_nothing_of_it_where_every_row_has_one(tmp_path):
    records, tables = of(tmp_path, {"baseline": [0.7, 0.71, 0.72], "loss=a": [0.8, 0.83, 0.82]})
    assert caveats(records, tables) == []


def test_equal_values_rule_nothing_out_and_are_drawn_as_a_point(tmp_path):
    _, tables = of(tmp_path, {**THREE, "loss=b": [0.8, 0.7, 0.75]})
    row = tables["ablation"].iloc[0]
    assert "no difference larger than" not in unclear(row)
    text = json.dumps(forest_plot(tables["ablation"]).spec())
    assert '"delta": 0, "ci_low": null' in text
    assert re.search(r'"delta": 0\.05, "ci_low": -?0', text)


# The best


def ranking(*means):
    return pd.DataFrame({"rank": range(1, len(means) + 1), "cell": list("abcd")[: len(means)], "mean": means})


@pytest.mark.parametrize(
    ("means", "best"),
    [
        ((0.9, 0.8), [True, False]),
        ((0.9, 0.9, 0.8), [True, True, False]),
        ((0.9, 0.9), [False, False]),
        ((0.3, 0.1 + 0.2, 0.3), [False, False, False]),
        ((0.9, None), [True, False]),
        ((0.9,), [True]),
        ((0.9, 0.9, None), [False, False, False]),
    ],
)
def test_all_equals_of_the_best_lead_and_none_where_all_tie(tmp_path, means, best):
    table = ranking(*means).astype({"mean": "float64"})
    assert best_rows(table) == best
    write_table(table, tmp_path, "ranking")
    for suffix, mark in (("md", "**"), ("tex", "textbf")):
        text = (tmp_path / f"ranking.{suffix}").read_text()
        lines = [line for line in text.splitlines() if re.match(r"(\| )?\d ", line)]
        assert [mark in line for line in lines] == best
    page = html_table(spec_of("ranking"), table)
    assert ["best" in row[2].kind for row in page.rows] == best


def test_a_factor_in_which_all_levels_tie_has_no_best(tmp_path):
    _, tables = of(tmp_path, THREE)
    assert best_rows(tables["factor_loss"]) == [False, False]


def test_a_class_in_which_all_cells_tie_has_no_best():
    table = pd.DataFrame(
        {"cell": ["a", "b"] * 2, "class": ["x", "x", "y", "y"], "examples": 5, "accuracy": [0.5, 0.5, 0.5, 0.6]}
    )
    assert [["best" in cell.kind for cell in row[2:]] for row in per_class(table).rows] == [
        [False, False],
        [False, True],
    ]


def test_cells_that_were_stopped_are_not_the_best_by_a_tie():
    table = ranking(0.9, 0.8, 0.9).assign(n_stopped=[0, 0, 1])
    assert best_rows(table) == [True, False, False]
