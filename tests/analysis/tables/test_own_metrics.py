"""A metric that a run declares is read in its direction, without the user's code."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from analysis.records.store import read_records
from analysis.report.build import write_report
from analysis.tables.ablation import ablation_table
from analysis.tables.ranking import ranking_table
from core.metrics import BUILT_IN, METRICS, MetricError, declare, maximised
from run_search import main
from tests.analysis import runs

CELLS = ("baseline", "loss=focal")
OUTCOMES = {"baseline": (5.0, 5.5, 6.0, 5.2), "loss=focal": (2.0, 2.4, 3.1, 2.1)}


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    for name in set(METRICS) - BUILT_IN:
        del METRICS[name]


def made(path: Path, maximise: bool, name: str = "cost") -> Path:
    study = runs.study(CELLS, range(4), metric=f"test_{name}", metrics=[{"name": name, "maximise": maximise}, *FIELD])
    return runs.write_outcomes(path, study, OUTCOMES, f"test_{name}")


FIELD = [{"name": "kappa", "maximise": True}]


@pytest.mark.parametrize(("maximise", "verdict", "first"), [(False, "better", CELLS[1]), (True, "worse", CELLS[0])])
def test_its_direction_decides_verdict_and_rank(maximise: bool, verdict: str, first: str, tmp_path: Path) -> None:
    records = read_records(made(tmp_path, maximise))
    (row,) = ablation_table(records, records.metric).to_dict("records")
    assert (row["metric"], row["verdict"]) == ("test_cost", verdict)
    assert row["delta"] == pytest.approx(-3.025)
    assert ranking_table(records)["cell"].iloc[0] == first


def test_its_curves_stand_in_the_report(tmp_path: Path) -> None:
    run = made(tmp_path, maximise=False, name="gap")
    write_report(run)
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert "test_gap" in (run / "report" / "curves.csv").read_text(encoding="utf-8")
    assert "smaller is better" in page


def test_two_runs_of_which_one_has_the_other_direction_are_not_read_together(tmp_path: Path) -> None:
    read_records(made(tmp_path / "a", maximise=True))
    read_records(made(tmp_path / "again", maximise=True))
    other, said = (
        made(tmp_path / "b", maximise=False),
        "metrics: cost: maximise: false is not the direction that it has in another",
    )
    with pytest.raises(MetricError, match=said):
        read_records(other)
    assert maximised("test_cost")
    done = CliRunner().invoke(main, ["compare", str(tmp_path / "a"), str(other)])
    assert done.exit_code == 2
    assert said in done.output


def test_no_record_turns_a_metric_of_ours_around() -> None:
    with pytest.raises(MetricError, match="ece: maximise: true is not the direction of the metric of that name"):
        declare([{"name": "ece", "maximise": True}])
    assert not maximised("val_ece")
