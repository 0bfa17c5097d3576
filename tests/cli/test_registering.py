"""A design, a table and a figure of one file each, outside of the tree: registered, they stand wherever ours do."""

import importlib.util
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from analysis.figures.theme import FIGURES
from analysis.records.store import read_records
from analysis.tables.spec import TABLES
from core.designs import DesignTraits
from run_search import _report, main
from search_spaces.designs import DESIGNS
from search_spaces.study import AblationStudy
from search_spaces.study_file import read_study
from tests.analysis import runs

DESIGN = '''
from core.designs import DesignTraits
from search_spaces.designs import Comparison, Design, Layout, OneAtATime, register


@register
class Pairs(Design):
    """Each cell against the one before it."""

    name = "pairs"
    traits = DesignTraits(rows="cells", against="previous")

    def layout(self, factors, chosen=()):
        cells = OneAtATime().layout(factors).cells
        rows = [Comparison("pairs", b.name, a.name, b.name, a.name) for a, b in zip(cells, cells[1:])]
        return Layout(cells, tuple(rows))
'''
TABLE = """
from analysis.tables.spec import Column, TableSpec, register


def slowest(data):
    rows = data.records.finished.nlargest(1, "seconds")
    return SLOWEST.frame({"cell": row.cell, "took": row.seconds} for row in rows.itertuples())


SLOWEST = register(
    TableSpec(
        "slowest",
        (Column("cell", "text", terminal="cell"), Column("took", head="seconds in all", terminal="seconds in all")),
        caption="The trial that took longest.",
        section="trials",
        heading="The slowest trial",
        make=slowest,
    )
)
"""
FIGURE = """
import altair as alt
from analysis.figures.theme import FIGURES, Figure, inline


def durations(data):
    chart = alt.Chart(inline(data.records.trials[["cell", "seconds"]])).mark_bar().encode(x="seconds:Q", y="cell:N")
    return [Figure("durations", "trials", "How long trials took", "A bar a cell.", chart)]


FIGURES.append(durations)
"""
STUDY = """
name: tiny
workload: digits
design: pairs
metric: test_accuracy
epochs: 1
seeds: 1
factors:
  - {name: optimizer, levels: [{name: sgd}, {name: adam, settings: {optimizer.name: adam}}]}
  - {name: hidden, levels: [{name: "64"}, {name: "32", settings: {model.hidden: 32}}]}
"""


@pytest.fixture
def registered(tmp_path: Path) -> Iterator[None]:
    """The three files imported as a user's own code would be; gone again afterwards."""
    designs, tables, figures = dict(DESIGNS), dict(TABLES), list(FIGURES)
    for name, text in (("pairs", DESIGN), ("slowest", TABLE), ("durations", FIGURE)):
        file = tmp_path / f"{name}.py"
        file.write_text(text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    yield
    for registry, before in ((DESIGNS, designs), (TABLES, tables)):
        registry.clear()
        registry.update(before)  # type: ignore[arg-type]
    FIGURES[:] = figures


def test_a_design_is_planned_and_its_rows_compare_as_it_says(registered: None, tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY, encoding="utf-8")
    done = CliRunner().invoke(main, ["plan", str(study), "--json", "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert [cell["name"] for cell in json.loads(done.stdout)["cells"]] == ["baseline", "optimizer=adam", "hidden=32"]
    made = read_study(study)
    assert isinstance(made, AblationStudy)
    assert [row.baseline_cell for row in made.layout().comparisons] == ["baseline", "optimizer=adam"]
    assert made.traits == DesignTraits("cells", "previous")


def test_rows_of_cells_say_what_each_is_against_on_the_page(registered: None, tmp_path: Path) -> None:
    outcomes = {"baseline": [0.8, 0.81, 0.79], "optimizer=adam": [0.9, 0.91, 0.92], "hidden=32": [0.7, 0.71, 0.72]}
    study = runs.study(outcomes, range(3), design="pairs")
    study["traits"] = {"rows": "cells", "against": "previous", "question": "factors"}
    names = list(outcomes)
    study["comparisons"] = [runs.comparison("pairs", b, a, b, a) for a, b in itertools.pairwise(names)]
    run = runs.write_outcomes(tmp_path / "run", study, outcomes)
    assert read_records(run).compares_cells
    _report(run)
    assert "hidden=32 against optimizer=adam" in (run / "report" / "index.html").read_text(encoding="utf-8")


def test_a_table_and_a_figure_stand_in_every_form(
    registered: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = {"baseline": [0.8, 0.81], "loss=a": [0.9, 0.91]}
    run = runs.write_outcomes(tmp_path / "run", runs.study(outcomes, range(2)), outcomes)
    _report(run)
    report = run / "report"
    assert (report / "slowest.csv").read_text().splitlines()[0] == "cell,took"
    assert (report / "slowest.parquet").exists()
    assert "| cell | took |" in (report / "slowest.md").read_text()
    latex = (report / "slowest.tex").read_text()
    assert "cell & seconds in all" in latex
    assert r"\caption{The trial that took longest.}" in latex
    page = (report / "index.html").read_text(encoding="utf-8")
    assert "The slowest trial" in page
    assert "seconds in all" in page
    assert "How long trials took" in page
    assert (report / "figures" / "durations.svg").exists()
    assert "seconds in all" in capsys.readouterr().out
    assert {"slowest.csv", "figures/durations.svg"} <= set(json.loads((report / "manifest.json").read_text())["files"])
