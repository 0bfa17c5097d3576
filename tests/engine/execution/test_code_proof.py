"""A run that other code began goes on under its own keys, once this code has come to the same numbers."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import engine.execution.code_proof
import engine.execution.replay
import engine.planning.trial_factory
import trainables.trial_key
from analysis.records.log import read_log
from analysis.records.run_directory import RunDirectory
from analysis.records.store import read_records
from core.errors import PlanError
from engine.execution.code_proof import assumed_to_go_on
from engine.planning.plan import make_plan
from engine.planning.remaining_work import remaining_work
from engine.planning.run_options import Options
from engine.runlog.history import History
from search_spaces.factors import Factor
from search_spaces.study import AblationStudy
from tests.engine.planning.test_extensions import ablation, assert_equal_tables
from tests.engine.search.test_search_runs import search
from tests.engine.sequential import Drive

LOSS = Factor.of("loss", {"ce": {}, "focal": {"loss.name": "focal"}})


def losses(**fields: Any) -> AblationStudy:
    return ablation(factors=(LOSS,), epochs=2, seeds=2, **fields)


@contextmanager
def other_code() -> Iterator[None]:
    """As if another version of the code trained the trials of this block."""
    real = trainables.trial_key.code_version
    with pytest.MonkeyPatch.context() as patch:
        for place in (engine.planning.trial_factory, engine.execution.code_proof, trainables.trial_key):
            patch.setattr(place, "code_version", lambda config: f"other {real(config)}")
        yield


def begun(drive: Drive, study: Any, run: Path, lines: int | None = None, **options: Any) -> Path:
    with other_code():
        return drive(study, run, lines, **options)


def edited(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """The log with every event changed."""
    events = list(read_log(run / "log.jsonl"))
    for event in events:
        change(event)
    (run / "log.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")


def scaled(metric: str, factor: float) -> Callable[[dict[str, Any]], None]:
    def change(event: dict[str, Any]) -> None:
        if event["event"] == "epoch":
            event[metric] *= factor

    return change


def of_an_older_kind(event: dict[str, Any]) -> None:
    """As logs were before they named versions, data and processors."""
    for name in ("code", "fingerprint"):
        event.pop(name, None)
    for name in ("processor", "torch"):
        event.get("execution", {}).pop(name, None)


def proofs(run: Path) -> list[dict[str, Any]]:
    return [event for event in read_log(run / "log.jsonl") if event["event"] == "proof"]


@pytest.mark.parametrize("older", [False, True], ids=["with versions", "a log without versions"])
def test_a_finished_run_is_resumed_with_no_trial_but_the_proving_ones(
    tmp_path: Path, drive: Drive, trained: list[int], older: bool
) -> None:
    run = begun(drive, losses(), tmp_path / "run")
    if older:
        edited(run, of_an_older_kind)
    keys = list(read_records(run).trials["trial"])
    trained.clear()
    drive(losses(), run)
    assert trained == [1, 2, 1, 2]  # one trial of each loss, whose code is its own
    assert list(read_records(run).trials["trial"]) == keys
    assert [event["kind"] for event in proofs(run)] == ["bit for bit"] * 2
    trained.clear()
    drive(losses(), run, seeds=3)  # which this code has proven already
    assert trained == [1, 2, 1, 2]
    assert len(proofs(run)) == 2
    assert len(read_records(run).trials) == 6


@pytest.mark.parametrize("lines", [5, 8, 11])
@pytest.mark.matrix
def test_an_unfinished_run_goes_on_under_its_keys_to_the_same_tables(tmp_path: Path, drive: Drive, lines: int) -> None:
    with other_code():
        whole = drive(losses(), tmp_path / "whole")
        run = drive(losses(), tmp_path / "run", lines)
    keys = [event["trial"] for event in read_log(run / "log.jsonl") if event["event"] == "start"]
    drive(losses(), run)
    assert set(keys) <= set(read_records(run).trials["trial"])
    proven = proofs(run)
    drive(losses(), run)  # what this code finished needs no proof, under whichever key
    assert proofs(run) == proven
    columns = ["cell", "seed", "test_accuracy", "val_reference"]
    assert read_records(run).trials[columns].equals(read_records(whole).trials[columns])


def test_other_numbers_are_refused_with_the_first_row_that_differs(tmp_path: Path, drive: Drive) -> None:
    run = begun(drive, losses(), tmp_path / "run")
    edited(run, scaled("val_loss", 1.01))
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file() and file.name != ".lock"}
    with pytest.raises(PlanError, match=r"version other \w{12}, .*epoch 1: val_loss 2\.\d+, recorded"):
        drive(losses(), run)
    assert {file: file.read_bytes() for file in before} == before


@pytest.mark.parametrize(("factor", "epoch", "fits"), [(1.00005, 1, True), (1.01, 1, False), (1.01, 2, True)])
@pytest.mark.matrix
def test_on_another_processor_the_first_epoch_has_to_agree_nearly(
    tmp_path: Path, drive: Drive, trained: list[int], factor: float, epoch: int, fits: bool
) -> None:
    run = begun(drive, losses(), tmp_path / "run")

    def change(event: dict[str, Any]) -> None:
        if event["event"] == "end":
            event["execution"]["processor"] = "another"
        if event.get("epoch") == epoch:
            scaled("train_loss", factor)(event)

    edited(run, change)
    trained.clear()
    if not fits:
        with pytest.raises(PlanError, match="epoch 1: train_loss"):
            drive(losses(), run)
        return
    drive(losses(), run)
    assert trained == [1, 1]
    assert {event["kind"] for event in proofs(run)} == {engine.execution.replay.NEARLY}


def test_a_trial_with_more_epochs_goes_on_from_its_checkpoint(tmp_path: Path, drive: Drive, trained: list[int]) -> None:
    run = begun(drive, losses(), tmp_path / "run")
    trained.clear()
    drive(losses(), run, epochs=3)
    assert trained == [1, 2, 1, 2, 3, 3, 3, 3]


@pytest.mark.matrix
def test_trials_of_another_run_are_taken_over_under_their_keys(
    tmp_path: Path, drive: Drive, trained: list[int], tables_only: None
) -> None:
    source = begun(drive, losses(), tmp_path / "source")
    trained.clear()
    run = drive(losses(), tmp_path / "run", reuse_from=str(source))
    assert trained == [1, 2, 1, 2]
    assert list(read_records(run).trials["trial"]) == list(read_records(source).trials["trial"])
    assert_equal_tables(run, source)


@pytest.mark.matrix
def test_a_search_goes_on_with_what_other_code_proposed(tmp_path: Path, drive: Drive, trained: list[int]) -> None:
    study = search()
    run = begun(drive, study, tmp_path / "run", 12)
    keys = {event["trial"] for event in read_log(run / "log.jsonl") if event["event"] == "start"}
    drive(study, run)
    assert keys <= set(read_records(run).trials["trial"])
    assert len(read_records(run).trials) == study.samples * study.seeds


def test_a_plan_counts_what_other_code_finished_and_trains_nothing(
    tmp_path: Path, drive: Drive, trained: list[int]
) -> None:
    run = begun(drive, losses(), tmp_path / "run")
    trained.clear()
    plan = assumed_to_go_on(make_plan(losses(), Options(), run))
    assert remaining_work(plan, History.of(RunDirectory(run))).done == 4
    assert len(plan.factory.known) == 4
    assert not trained


def test_other_data_are_no_other_code(tmp_path: Path, drive: Drive) -> None:
    run = begun(drive, losses(), tmp_path / "run")
    edited(run, lambda event: event.update({"fingerprint": "f00d"} if event["event"] == "start" else {}))
    record = json.loads((run / "study.json").read_text())
    record["data"]["fingerprint"] = "f00d"
    (run / "study.json").write_text(json.dumps(record))
    with pytest.raises(PlanError, match="on other data"):
        drive(losses(), run)
