"""What a resumed run may not take back, what it says of threads, and a search whose space ends before its samples."""

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.console import describe
from analysis.records.run_directory import RunDirectory
from analysis.records.store import read_records
from analysis.tables.formatting import progress_in_words
from core.errors import PlanError
from engine.runlog.study_file import unfinished
from search_spaces.factors import Factor
from search_spaces.spaces import Choice, Number
from search_spaces.study import AblationStudy, SearchStudy
from tests.engine.sequential import BASELINE, Drive
from tests.records import ends

MOMENTUM = Factor.of("momentum", {"off": {}, "0.9": {"optimizer.momentum": 0.9}})
HIDDEN = Number(key="model.hidden", kind="int", low=14, high=16)


def ablation(**fields: Any) -> AblationStudy:
    known: dict[str, Any] = {"name": "a", "workload": "digits", "epochs": 1, "seeds": 2, "design": "one_at_a_time"}
    return AblationStudy(**{**known, "factors": (MOMENTUM,), "baseline": BASELINE, **fields})


def search(**fields: Any) -> SearchStudy:
    known: dict[str, Any] = {"name": "s", "workload": "digits", "epochs": 1, "samples": 10, "sampler": "random"}
    return SearchStudy(**{**known, "space": (HIDDEN,), "baseline": BASELINE, **fields})


def refusal(drive: Drive, study: Any, run: Path, **options: Any) -> str:
    before = (run / "study.json").read_bytes(), (run / "log.jsonl").read_bytes()
    with pytest.raises(PlanError) as caught:
        drive(study, run, **options)
    assert ((run / "study.json").read_bytes(), (run / "log.jsonl").read_bytes()) == before
    (fault,) = caught.value.faults
    return fault


@pytest.fixture(autouse=True)
def few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A space without steps is given up sooner: it has three values."""
    monkeypatch.setattr("engine.search.sampler.TRIES", 40)


@pytest.fixture
def run(drive: Drive, tmp_path: Path) -> Path:
    return drive(ablation(), tmp_path / "run")


def test_fewer_seeds_than_were_begun_are_refused_like_fewer_epochs(run: Path, drive: Drive) -> None:
    assert refusal(drive, ablation(), run, seeds=1) == (
        "--seeds 1: seeds 0 to 1 were begun; a smaller number is another run: give it another folder with --out"
    )
    drive(ablation(), run, seeds=2)


def test_a_seed_that_was_only_planned_may_be_left_out(drive: Drive, tmp_path: Path) -> None:
    run = drive(ablation(seeds=3), tmp_path / "run", lines=5)
    begun = {json.loads(line).get("seed") for line in (run / "log.jsonl").read_text().splitlines()} - {None}
    assert begun == {0} or begun == {0, 1}
    drive(ablation(seeds=3), run, seeds=2)
    assert len(ends(run)) == 4
    assert "4 trials planned: 4 finished" in describe(run, at_work=False)[0]


def test_a_resumed_run_says_that_it_trains_with_another_number_of_threads(
    run: Path, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.execution.launch.beyond_machine", lambda plan: [])
    drive(ablation(), run, cpus_per_trial=2.0)
    assert "thread" not in drive.printed, "nothing is left to train"
    drive(ablation(), run, seeds=3)  # with 2, as the run was last asked for
    assert "--cpus-per-trial: trials train with 2 torch threads from now on, those before" in drive.printed
    drive(ablation(), run, seeds=4, cpus_per_trial=1.0)
    assert "with 1 torch thread from now on, those before trained with 2; the last bits" in drive.printed


def test_a_run_that_keeps_its_threads_says_nothing_of_them(run: Path, drive: Drive) -> None:
    drive(ablation(), run, seeds=3)
    assert "thread" not in drive.printed


@pytest.mark.parametrize(
    ("space", "held"),
    [
        ((HIDDEN,), 3),  # a range of whole numbers
        ((Choice(key="model.hidden", choices=(14, 16)),), 2),
        ((Number(key="optimizer.momentum", low=0.0, high=0.2, step=0.1),), 3),
    ],
)
def test_a_space_that_is_exhausted_leaves_nothing_waiting(space: Any, held: int, drive: Drive, tmp_path: Path) -> None:
    study = search(space=space)
    run = drive(study, tmp_path / "run")
    assert len(ends(run)) == held
    said = f"{held} of the 10 configurations asked for: the space holds no more"
    first, second, *_ = describe(run, at_work=False)
    assert first == f"s: {held} trials planned: {held} finished"
    assert second == said
    assert describe(run, at_work=False)[-1] == "nothing left to do"
    records = read_records(run)
    assert said in progress_in_words(records)
    assert not records.is_unfinished
    record = json.loads((run / "study.json").read_text())
    assert (record["samples"], record["configurations"]) == (10, held)
    assert not unfinished(RunDirectory(run), record)
    assert f"The space holds {held} " in drive.printed


def test_an_exhausted_search_is_over_until_more_is_asked_for(
    drive: Drive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = drive(search(), tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("engine.execution.launch._train", None)  # nothing is left to train
        drive(search(), run)
    assert "3 trials planned: 3 finished" in describe(run, at_work=False)[0]
    drive(search(), run, samples=12)
    assert "3 of the 12 configurations asked for" in describe(run, at_work=False)[1]


def test_fewer_samples_than_were_begun_are_refused(drive: Drive, tmp_path: Path) -> None:
    run = drive(search(), tmp_path / "run")
    assert refusal(drive, search(), run, samples=2) == (
        "--samples 2: 3 configurations were begun; a smaller number is another run: give it another folder with --out"
    )
    drive(search(), run, samples=3)
    assert "3 trials planned: 3 finished" in describe(run, at_work=False)[0]
    assert "asked for" not in "".join(describe(run, at_work=False))
