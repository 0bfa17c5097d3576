"""The winners of a search, run again with fresh seeds against the default and each other."""

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.records.store import read_records
from analysis.report.build import write_report
from analysis.report.contents import report_tables
from analysis.report.narrative import answers
from analysis.tables.ranking import ranking_table
from core.errors import PlanError
from engine.planning.run_options import Options
from engine.search.confirm import confirmation
from search_spaces.spaces import Choice
from search_spaces.trial_schedulers import ASHA
from tests.engine.search.test_winner import FIRST, search
from tests.engine.sequential import Drive
from tests.records import ends, epoch_rows, events

pytestmark = pytest.mark.usefixtures("undrawn")


def confirmed(drive: Drive, source: Path, directory: Path, top: int = 2, **options: Any) -> Path:
    study, taken = confirmation(source, top, Options(**options))
    return drive(study, directory, **taken.model_dump(exclude_defaults=True))


def test_the_best_of_the_ranking_face_the_default_and_each_other_on_fresh_seeds(tmp_path: Path, drive: Drive) -> None:
    source = drive(search(samples=4, seeds=2), tmp_path / "search")
    best = list(ranking_table(read_records(source))["cell"][:3])
    run = confirmed(drive, source, tmp_path / "run", top=3, seeds=3)
    study = json.loads((run / "study.json").read_text())
    one, two, three = names = [f"#{rank} {cell}" for rank, cell in enumerate(best, 1)]
    assert [cell["name"] for cell in study["cells"]] == ["default", *names]
    assert study["seeds"] == [2, 3, 4]
    assert study["question"] == "Do the 3 best of the 4 configurations of s hold with fresh seeds?"
    pairs = [(row["level"], row["baseline_level"]) for row in study["comparisons"]]
    assert pairs == [(one, "default"), (two, "default"), (three, "default"), (one, two), (one, three)]
    configs = {e["cell"]: e["config"] for e in events(source) if e["event"] == "start"}
    for event in events(run):
        if event["event"] == "start" and event["cell"] != "default":
            assert event["config"] == configs[event["cell"].split()[1]]
    assert len(ends(run)) == 4 * 3


@pytest.mark.matrix
def test_its_tables_say_what_each_winner_gains_and_whether_the_first_is_better(tmp_path: Path, drive: Drive) -> None:
    source = drive(search(samples=3), tmp_path / "search")
    run = confirmed(drive, source, tmp_path / "run", seeds=3)
    records = read_records(run)
    tables = report_tables(records)
    one, two = (cell["name"] for cell in records.study["cells"][1:])
    table = tables["factor_configuration"]
    assert table["level"].tolist() == ["default", one, two]
    gaps = records.values(one, "test_ce") - records.values(two, "test_ce")
    assert tables["ablation"]["delta"].iloc[2] == pytest.approx(gaps.mean(), abs=1e-12)
    said = [answer.subject for answer in answers(records, tables)]
    assert said == [f"{one} against default", f"{two} against default", f"{one} against {two}"]
    text = write_report(run).read_text()
    assert f"configuration: default, {one} or {two}?" in text


@pytest.mark.matrix
def test_a_killed_confirmation_goes_on_as_any_ablation(tmp_path: Path, drive: Drive) -> None:
    source = drive(search(samples=3), tmp_path / "search")
    whole = confirmed(drive, source, tmp_path / "whole", seeds=2)
    study, options = confirmation(source, 2, Options(seeds=2))
    part = drive(study, tmp_path / "part", lines=7, **options.model_dump(exclude_defaults=True))
    drive(study, part)
    assert (epoch_rows(part), ends(part)) == (epoch_rows(whole), ends(whole))


def test_a_winner_that_is_the_default_is_identical_to_it(tmp_path: Path, drive: Drive) -> None:
    space = (Choice(key="schedule.name", choices=("constant", "cosine")),)
    source = drive(search(space=space, samples=2), tmp_path / "search")
    run = confirmed(drive, source, tmp_path / "run", seeds=2)
    study = json.loads((run / "study.json").read_text())
    same = [cell["identical_to"] for cell in study["cells"]]
    assert sorted(map(str, same)) == ["None", "None", "default"]
    assert "identical" in set(report_tables(read_records(run))["ablation"]["verdict"])


def test_searches_of_several_objectives_and_under_a_scheduler_have_winners_too(tmp_path: Path, drive: Drive) -> None:
    several = search(samples=3, objectives=("val_ce", "seconds"))
    study, _ = confirmation(drive(several, tmp_path / "several"), 1, Options())
    assert study.question == "Does the best of the 3 configurations of s hold with fresh seeds?"
    halved = drive(search(samples=6, epochs=4, trial_scheduler=ASHA(reduction_factor=2)), tmp_path / "halved")
    stopped = {e["cell"] for e in _ended(halved) if e["status"] == "stopped"}
    study, _ = confirmation(halved, 1, Options())
    assert stopped
    assert study.factors[0].levels[1].name.split()[1] not in stopped
    finished = len({e["cell"] for e in _ended(halved)} - stopped)
    with pytest.raises(PlanError, match=f"--top 6: .* has {finished} configurations that finished; allowed: 1 … "):
        confirmation(halved, 6, Options())


def _ended(run: Path) -> list[dict[str, Any]]:
    cells = {event["trial"]: event["cell"] for event in events(run) if event["event"] == "start"}
    return [{**event, "cell": cells[event["trial"]]} for event in events(run) if event["event"] == "end"]


def test_settings_and_epochs_are_the_search_s(tmp_path: Path, drive: Drive) -> None:
    source = drive(search(samples=2, enqueue=(FIRST,)), tmp_path, settings={"training.batch_size": 16}, epochs=1)
    study, options = confirmation(source, 2, Options(cpus_per_trial=2.0))
    assert study.baseline["training.batch_size"] == 16
    assert (study.epochs, study.metric, options.cpus_per_trial) == (1, "test_ce", 2.0)
