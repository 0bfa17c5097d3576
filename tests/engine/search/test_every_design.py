"""Every design that is registered: trained for real, without Ray, and its rows say what its traits promise."""

from pathlib import Path

import pytest

from analysis.records.store import read_records
from analysis.report.contents import report_tables
from search_spaces.designs import DESIGNS
from search_spaces.factors import Factor
from search_spaces.study import AblationStudy
from tests.engine.sequential import BASELINE, Drive
from tests.records import ends

LR = Factor.of("lr", {"0.01": {}, "0.2": {"optimizer.lr": 0.2}})
MOMENTUM = Factor.of("momentum", {"0": {}, "0.9": {"optimizer.momentum": 0.9}})
PRIMARY = {"effects": "effects", "rungs": "ladder", "steps": "path"}
"""the table that answers first, by a design's question; with `factors` it is a table a factor"""


@pytest.mark.parametrize("name", DESIGNS)
def test_a_design_is_trained_and_answers_by_its_first_table(name: str, tmp_path: Path, drive: Drive) -> None:
    study = AblationStudy(
        name=name,
        workload="digits",
        design=name,
        epochs=1,
        seeds=1,
        metric="test_ce",
        baseline=BASELINE,
        factors=(LR,) if name == "confirm" else (LR, MOMENTUM),
    )
    run = drive(study, tmp_path / "run")
    assert {end["status"] for end in ends(run).values()} == {"finished"}
    records = read_records(run)
    assert records.traits == DESIGNS[name].traits
    tables = report_tables(records)
    first = PRIMARY.get(records.traits.question) or next(table for table in tables if table.startswith("factor_"))
    assert len(tables[first])
    rows = tables["ablation"]
    assert len(rows) == len(records.comparisons) > 0
    assert (rows["n_pairs"] == 1).all()
    assert rows["level"].isin(list(records.cells)).all() == records.compares_cells
