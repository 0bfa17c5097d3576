"""Whatever stops a trial, the next attempt ends with the bits of one that nothing stopped."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import ROOT
from tests.trainables.small_trials import EVERYTHING, Outcome, finish, run_epochs, small_spec
from trainables.training.learner import Learner
from trainables.trial import checkpoint_file
from trainables.trial.spec import TrialSpec
from trainables.trial.trial import Trial

EPOCHS = 4
SETTINGS = {**EVERYTHING, "training.epochs": EPOCHS}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    outcome = finish(small_spec(tmp_path_factory.mktemp("undisturbed"), SETTINGS))
    assert (outcome.status, outcome.verified) == ("finished", True)
    assert [row["epoch"] for row in outcome.rows] == list(range(1, EPOCHS + 1))
    return outcome


def checkpoints(spec: TrialSpec) -> Path:
    return Path(spec.directory) / "checkpoints" / spec.trial


def corrupt(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "nothing": lambda folder: None,
    "last deleted": lambda folder: (folder / "last.pt").unlink(),
    "last corrupted": lambda folder: corrupt(folder / "last.pt"),
    "last truncated": lambda folder: truncate(folder / "last.pt"),
    "best corrupted": lambda folder: corrupt(folder / "best.pt"),
    "best deleted": lambda folder: (folder / "best.pt").unlink(),
    "all but best": lambda folder: [file.unlink() for file in folder.glob("*s*.pt") if file.name != "best.pt"],
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("epoch", range(1, EPOCHS + 1))
def test_a_trial_dropped_after_an_epoch_ends_as_if_it_had_not_been(
    epoch: int, damage: str, tmp_path: Path, undisturbed: Outcome
) -> None:
    spec = small_spec(tmp_path, SETTINGS)
    run_epochs(spec, epoch)
    DAMAGE[damage](checkpoints(spec))
    assert finish(spec) == undisturbed


def test_a_trial_continues_from_its_last_epoch_and_from_the_one_before_if_that_is_damaged(tmp_path: Path) -> None:
    spec = small_spec(tmp_path, {**SETTINGS, "selection.rule": "last"})
    run_epochs(spec, 3)
    assert Trial(spec).learner.epoch == 3
    spec = small_spec(tmp_path / "second", SETTINGS)
    run_epochs(spec, 1)
    best = (checkpoints(spec) / "best.pt").read_bytes()
    run_epochs(spec, 1)
    corrupt(checkpoints(spec) / "last.pt")
    (checkpoints(spec) / "best.pt").write_bytes(best)
    assert Trial(spec).learner.epoch == 1


def test_a_finished_trial_that_is_run_again_reports_the_same_without_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Outcome
) -> None:
    spec = small_spec(tmp_path, SETTINGS)
    finish(spec)
    monkeypatch.setattr("trainables.training.learner.Learner.train_epoch", None)
    assert finish(spec) == undisturbed


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, and no clean-up that matters follows it."""


def killed_at_rename(spec: TrialSpec, number: int, after: bool, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Runs the trial until just before (or after) its rename `number`; False where it ended before that."""
    rename, count = Path.replace, 0

    def counted(self: Path, target: Path) -> Any:
        nonlocal count
        count += 1
        if count == number and not after:
            raise Killed
        renamed = rename(self, target)
        if count == number:
            raise Killed
        return renamed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", counted)
        try:
            finish(spec)
        except Killed:
            return True
    return False


@pytest.mark.parametrize(
    "after", [pytest.param(False, id="before"), pytest.param(True, id="after", marks=pytest.mark.matrix)]
)
def test_a_kill_at_any_rename_of_a_file_loses_nothing(
    after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Outcome
) -> None:
    trained, train_epoch, number = list[int](), Learner.train_epoch, 1
    monkeypatch.setattr(Learner, "train_epoch", lambda self: [trained.append(number), train_epoch(self)][1])
    while killed_at_rename(spec := small_spec(tmp_path / str(number), SETTINGS), number, after, monkeypatch):
        assert finish(spec) == undisturbed, f"rename {number}"
        assert trained.count(number) <= EPOCHS + 1, "more than the epoch since the last checkpoint was trained again"
        number += 1
    assert number > 3 * EPOCHS


def test_kills_at_every_rename_one_after_the_other_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Outcome
) -> None:
    spec = small_spec(tmp_path, SETTINGS)
    for number in (1, 2, 3, 4, 2, 5, 3, 6):
        killed_at_rename(spec, number, False, monkeypatch)
    assert finish(spec) == undisturbed


LONG = {**EVERYTHING, "training.epochs": 40}
# Forks each attempt from a process that has imported torch already, so that a kill can come within milliseconds.
KILLER = """
import json, os, random, signal, sys, time
from pathlib import Path
from tests.conftest import ROOT
from tests.trainables.small_trials import finish
from trainables.trial.spec import TrialSpec
spec, moments, kills = TrialSpec(**json.loads(sys.argv[1])), random.Random(0), 0
for attempt in range(12):
    child = os.fork()
    if child == 0:
        finish(spec)
        os._exit(0)
    time.sleep(moments.uniform(0.02, 0.3))
    os.kill(child, signal.SIGKILL)
    kills += os.WIFSIGNALED(os.waitpid(child, 0)[1])
print(kills)
"""


@pytest.mark.matrix
def test_sigkill_at_random_moments_loses_no_row_and_no_bit(tmp_path: Path) -> None:
    spec = small_spec(tmp_path / "killed", LONG)
    command = [sys.executable, "-c", KILLER, json.dumps(spec.to_dict())]
    kills = int(subprocess.check_output(command, cwd=ROOT, timeout=120))
    assert kills >= 3
    outcome = finish(spec)
    assert [row["epoch"] for row in outcome.rows] == list(range(1, 41))
    assert outcome == finish(small_spec(tmp_path / "undisturbed", LONG))


def test_checkpoints_wait_for_a_second_of_work_and_the_last_one_holds_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three epochs in less than it: one pair of files, at the end, with what checkpoints after each epoch end with."""
    saved: list[str] = []
    save = checkpoint_file.save

    def noted(state: dict[str, Any], path: Path) -> None:
        saved.append(path.name)
        save(state, path)

    monkeypatch.setattr(checkpoint_file, "save", noted)
    often, rarely = (small_spec(tmp_path / name, EVERYTHING) for name in ("often", "rarely"))
    expected = finish(often)
    assert saved.count("last.pt") == 3
    saved.clear()
    assert finish(replace(rarely, checkpoint_seconds=3600.0)) == expected
    assert saved == ["best.new.pt", "last.pt"]
    states = [
        checkpoint_file.load(tmp_path / name / "checkpoints" / often.trial / "best.pt") for name in ("often", "rarely")
    ]
    assert states[0] is not None
    assert states[1] is not None
    assert states[0]["epoch"] == states[1]["epoch"]
    for name, value in states[0]["model"].items():
        assert torch.equal(value, states[1]["model"][name])


def test_what_no_checkpoint_holds_is_trained_again(tmp_path: Path) -> None:
    spec = replace(small_spec(tmp_path / "run", EVERYTHING), checkpoint_seconds=3600.0)
    run_epochs(spec, 2)
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert finish(spec) == finish(small_spec(tmp_path / "whole", EVERYTHING))
