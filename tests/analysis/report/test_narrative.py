"""What the page says first, where a plain reading of the tables would mislead."""

import numpy as np
import pandas as pd
import pytest

from analysis.records.store import read_records
from analysis.report.build import write_report
from analysis.report.contents import report_tables
from analysis.report.narrative import answers
from analysis.tables.ranking import ranking_table
from tests.analysis import runs

pytestmark = pytest.mark.usefixtures("undrawn")

NOISE = np.array([0.0, 0.004, -0.003, 0.002, -0.001])


def factorial(path, both):
    """Each factor alone adds 0.1; together they add `both`."""
    study = runs.factorial({"loss": ["ce", "cb"], "sampler": ["uniform", "weighted"]})
    gain = {0: 0.0, 1: 0.1, 2: both}
    outcomes = {}
    for i, cell in enumerate(study["cells"]):
        changed = sum(level in ("cb", "weighted") for level in cell["levels"].values())
        outcomes[cell["name"]] = (0.6 + gain[changed] + np.roll(NOISE, i)).tolist()
    return read_records(runs.write_outcomes(path, study, outcomes))


def test_main_effects_answer_a_factorial_whose_factors_do_not_interact(tmp_path):
    records = factorial(tmp_path, both=0.2)
    said = [str(answer) for answer in answers(records, report_tables(records))]
    assert len(said) == 3
    assert all("averaged over the other factors" in text for text in said[:2])
    assert "no clear interaction" in said[2]


def test_cells_answer_a_factorial_whose_factors_undo_each_other(tmp_path):
    records = factorial(tmp_path, both=0.0)
    said = [str(answer) for answer in answers(records, report_tables(records))]
    assert len(said) == 4
    assert not any("averaged" in text for text in said)
    assert sum("+0.10" in text and "better" in text for text in said) == 2
    assert "they interact" in said[3]


def test_a_cell_that_trained_on_validation_shows_no_validation_figure_and_says_why(tmp_path):
    study = runs.study(["baseline", "loss=all"], range(3), selection={"rule": "last"})
    seen = {"dataset": {"train_on_validation": True}}
    configs = {"baseline": {"dataset": {"train_on_validation": False}}, "loss=all": seen}
    outcomes = {"baseline": [0.60, 0.61, 0.62], "loss=all": [0.70, 0.72, 0.74]}
    path = runs.write_outcomes(tmp_path, study, outcomes, configs=configs)
    records = read_records(path)
    table = ranking_table(records).set_index("cell")
    assert pd.isna(table.loc["loss=all", "val_mean"])
    assert pd.notna(table.loc["baseline", "val_mean"])
    assert table["note"].to_dict() == {"loss=all": "validation was trained on", "baseline": ""}
    assert "trains on the validation pictures" in str(answers(records, report_tables(records))[-1])
    assert "trains on the validation pictures" in write_report(path).read_text()
