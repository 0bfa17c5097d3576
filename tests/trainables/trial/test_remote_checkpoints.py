"""A trial whose folder lies at a URL: on any machine it goes on from what was sent, and nothing there misleads it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.core.storage import failing, lost, url_of
from tests.trainables.small_trials import EVERYTHING, Outcome, finish, run_epochs, small_spec
from trainables.training.learner import Learner
from trainables.trial.spec import Segment, TrialSpec
from trainables.trial.trial import Trial
from trainables.workloads.digits import DigitsSmallCNN

EPOCHS = 4
SETTINGS = {**EVERYTHING, "training.epochs": EPOCHS}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return finish(small_spec(tmp_path_factory.mktemp("undisturbed"), SETTINGS))


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    return tmp_path / "storage"


def on(machine: Path, storage: Path, settings: dict[str, Any] | None = None) -> TrialSpec:
    return replace(small_spec(machine, settings or SETTINGS), remote=url_of(storage))


def files(folder: Path) -> dict[str, bytes]:
    found = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    return {name: content for name, content in found.items() if "previous.pt" not in name}


@pytest.mark.parametrize("epoch", range(1, EPOCHS + 1))
def test_another_machine_goes_on_from_the_last_epoch(
    epoch: int, tmp_path: Path, storage: Path, undisturbed: Outcome
) -> None:
    run_epochs(on(tmp_path / "a", storage), epoch)
    assert Trial(on(tmp_path / "b", storage)).learner.epoch == epoch
    assert finish(on(tmp_path / "c", storage)) == undisturbed
    assert files(storage) == files(tmp_path / "c"), "the URL's copy is a run directory"


def test_after_every_epoch_on_another_machine(tmp_path: Path, storage: Path, undisturbed: Outcome) -> None:
    for epoch in range(EPOCHS):
        machine = tmp_path / "ab"[epoch % 2]  # which each time finds its own older files
        run_epochs(on(machine, storage), 1)
    assert finish(on(tmp_path / "a", storage)) == undisturbed


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("machines", [pytest.param("one machine", marks=pytest.mark.matrix), "another machine"])
@pytest.mark.matrix
def test_a_kill_before_any_request_loses_no_more_than_an_epoch(
    machines: str, tmp_path: Path, storage: Path, undisturbed: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, train_epoch = list[int](), Learner.train_epoch
    monkeypatch.setattr(Learner, "train_epoch", lambda self: [trained.append(number), train_epoch(self)][1])
    number = 0
    while True:
        number, requests = number + 1, 0

        def kill(verb: str, path: str) -> None:
            nonlocal requests
            requests += 1
            if requests == number:  # noqa: B023
                raise Killed

        here, there = tmp_path / f"a{number}", storage / str(number)
        try:
            with failing(kill):
                finish(on(here, there))
            break
        except Killed:
            pass
        second = here if machines == "one machine" else tmp_path / f"b{number}"
        assert finish(on(second, there)) == undisturbed, f"request {number}"
        assert trained.count(number) <= EPOCHS + 1, f"request {number}"
    assert number > 2 * EPOCHS


def test_kills_one_after_the_other_each_on_another_machine(tmp_path: Path, storage: Path, undisturbed: Outcome) -> None:
    for turn, number in enumerate((5, 3, 4, 6, 2, 5, 3)):
        left = [number]

        def kill(verb: str, path: str, left: list[int] = left) -> None:
            left[0] -= 1
            if not left[0]:
                raise Killed

        with failing(kill):
            try:
                finish(on(tmp_path / str(turn), storage))
            except Killed:
                assert list(storage.rglob("*"))
    assert finish(on(tmp_path / "last", storage)) == undisturbed


def test_a_damaged_copy_is_not_taken_for_the_file_that_is_here(tmp_path: Path, storage: Path) -> None:
    run_epochs(on(tmp_path / "a", storage), 2)
    (damaged,) = storage.rglob("last.pt")
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 0xFF
    content[-1] ^= 0xFF
    damaged.write_bytes(content)
    assert Trial(on(tmp_path / "a", storage)).learner.epoch == 2
    assert Trial(on(tmp_path / "b", storage)).learner.epoch == 0


def test_files_that_were_never_sent_are_sent(tmp_path: Path, storage: Path) -> None:
    spec = on(tmp_path / "a", storage)
    run_epochs(replace(spec, remote=None), EPOCHS)
    finish(spec)
    assert files(storage) == files(tmp_path / "a")


def test_a_larger_budget_goes_on_from_the_smaller_one_s_files_at_the_url(tmp_path: Path, storage: Path) -> None:
    settings = {"training.epochs": 4}
    run_epochs(on(tmp_path / "a", storage, {"training.epochs": 2}), 2)
    larger = replace(on(tmp_path / "b", storage, settings), trial="larger", segment=Segment(continues="0123456789ab"))
    assert Trial(larger).learner.epoch == 2
    assert finish(larger) == finish(small_spec(tmp_path / "plain", settings))


def test_failures_that_pass_are_not_noticed(tmp_path: Path, storage: Path, undisturbed: Outcome) -> None:
    count = 0

    def now_and_then(verb: str, path: str) -> None:
        nonlocal count
        count += 1
        if count % 3 == 0:
            lost(verb, path)

    with failing(now_and_then):
        assert finish(on(tmp_path / "a", storage)) == undisturbed
    assert files(storage) == files(tmp_path / "a")


def test_failures_that_last_stop_the_run_and_not_the_trial(
    tmp_path: Path, storage: Path, undisturbed: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.tune.trainable.trainable.DEFAULT_STORAGE_PATH", str(tmp_path))
    spec = on(tmp_path / "a", storage)
    trainable = DigitsSmallCNN({"bundle": [{"spec": spec.to_dict()}]})
    trainable.train()
    with failing(lost):
        (result,) = trainable.train()["reports"]
    assert (result["end"], result["rows"]) == (None, [])
    for part in (url_of(storage), "checkpoints/0123456789ab/", "the line is dead"):
        assert part in result["stop"]
    assert finish(spec) == undisturbed
