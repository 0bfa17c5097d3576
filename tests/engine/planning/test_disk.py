"""How much disk a run needs and may use, and what happens to its log on a disk that takes nothing more."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from analysis.records.run_directory import RunDirectory
from core.errors import Interrupted
from engine.execution.checkpoint_budget import CheckpointBudget
from engine.planning.config_checks import meta_network
from engine.planning.disk_estimate import Footprint, footprint
from engine.planning.run_options import Options
from engine.runlog.history import History
from engine.runlog.run_log import RunLog
from tests.cli.runs import disk, fill, whole
from tests.records import events
from tests.trainables.small_trials import finish, run_epochs, small_config, small_dataset, small_spec

NETWORK = {"model.channels": [16, 32], "model.hidden": 64}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer.name": "sgd"},
    "momentum": {"optimizer.name": "sgd", "optimizer.momentum": 0.9},
    "adam": {"optimizer.name": "adam", "optimizer.lr": 0.001},
    "rmsprop": {"optimizer.name": "rmsprop", "optimizer.lr": 0.001},
    "adam, then sgd": {"optimizer.name": "adam_then_sgd", "optimizer.switch": 0.4, "optimizer.lr": 0.001},
    "average": {"training.ema": 0.9},
    "batch norm": {"model.bn_after": ["conv1", "fc1"], "optimizer.name": "adamw", "optimizer.lr": 0.001},
}


def estimated(settings: dict[str, Any]) -> Footprint:
    config, info = small_config(settings), small_dataset(settings).info
    network, faults = meta_network(config, info)
    assert network is not None, faults
    return footprint(config, network, info)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_estimate_is_within_a_tenth_of_the_real_files(name: str, tmp_path: Path) -> None:
    settings = {**NETWORK, **OPTIMIZERS[name]}
    spec = small_spec(tmp_path, settings)
    run_epochs(spec, 1)
    largest = (tmp_path / "checkpoints" / spec.trial / "last.pt").stat().st_size  # a later optimizer may remember less
    finish(spec)
    found = estimated(settings)
    assert found.last == pytest.approx(largest, rel=0.1)
    assert found.best == pytest.approx((tmp_path / "checkpoints" / spec.trial / "best.pt").stat().st_size, rel=0.1)
    outputs = [tmp_path / "predictions" / f"{spec.trial}.parquet", *(tmp_path / "artifacts").rglob("*.parquet")]
    written = sum(file.stat().st_size for file in outputs)
    assert written / 2 < found.outputs < written * 2


@pytest.mark.matrix
def test_predictions_and_features_are_estimated_for_every_network_of_the_digits(tmp_path: Path) -> None:
    spec = small_spec(tmp_path, {"model.name": "resnet18", "training.epochs": 1})
    finish(spec)
    found = estimated({"model.name": "resnet18", "training.epochs": 1})
    files = {name: (tmp_path / "checkpoints" / spec.trial / f"{name}.pt").stat().st_size for name in ("last", "best")}
    assert (found.last, found.best) == (pytest.approx(files["last"], rel=0.1), pytest.approx(files["best"], rel=0.1))
    features = (tmp_path / "artifacts" / spec.trial / "features.parquet").stat().st_size
    assert found.outputs == pytest.approx(features, rel=0.3)


@pytest.mark.parametrize(
    ("text", "amount"), [("20GB", 20e9), ("1.5GiB", 1.5 * 2**30), ("800 mb", 8e8), ("5TB", 5e12), ("77", 77)]
)
def test_amounts_are_read_as_people_write_them(text: str, amount: float) -> None:
    assert Options(disk_budget=text).disk_budget == amount  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["much", "-3GB", "3XB", "0"])
def test_other_amounts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="disk_budget"):
        Options(disk_budget=text)  # type: ignore[arg-type]


def budget_of(folder: Path, limit: int, *ended: str, continues: str | None = None) -> CheckpointBudget:
    for trial in ended:
        (folder / "checkpoints" / trial).mkdir(parents=True)
        for name in ("best.pt", "last.pt"):
            (folder / "checkpoints" / trial / name).write_bytes(bytes(100))
    history = History.read({"event": "end", "trial": trial, "status": "finished"} for trial in ended)
    plan: Any = SimpleNamespace(options=Options(disk_budget=limit), directory=folder)
    log: Any = SimpleNamespace(history=history)
    now: Any = SimpleNamespace(todo=[SimpleNamespace(segment=SimpleNamespace(continues=continues))])
    return CheckpointBudget(plan, now, log)


def left(folder: Path) -> list[str]:
    return sorted(file.parent.name for file in folder.glob("checkpoints/*/last.pt"))


def test_a_spent_budget_stops_the_run_once_nothing_more_may_go(tmp_path: Path) -> None:
    budget_of(tmp_path, 500, "a", "b", "c").ended("c")
    assert left(tmp_path) == ["b", "c"]
    with pytest.raises(
        Interrupted, match=r"hold 300 bytes, more than --disk-budget 250 bytes.*give `resume` a larger one"
    ):
        budget_of(tmp_path / "small", 250, "a", "b", "c").ended("c")
    assert left(tmp_path / "small") == []


def test_the_last_state_of_a_trial_that_is_continued_stays(tmp_path: Path) -> None:
    budget_of(tmp_path, 500, "a", "b", "c", continues="a").ended("c")
    assert left(tmp_path) == ["a", "c"]


def test_a_log_line_that_does_not_fit_is_not_there_at_all(tmp_path: Path) -> None:
    """On a full disk the file's last page still takes a part of the line."""
    with disk(tmp_path / "run", "1m") as run, RunLog(RunDirectory(run)) as log:
        log.append(event="session", time="before")
        ballast = fill(run)
        for _ in range(2):
            with pytest.raises(Interrupted, match="the disk is full"):
                log.append(event="epoch", trial="t", epoch=1, text="x" * 5000)
            assert whole(run)
        ballast.unlink()
        log.append(event="session", time="after")
        assert [event["time"] for event in events(run)] == ["before", "after"]
        assert not log.history.rows


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EROFS, "the disk is read-only"), (errno.EIO, "the disk fails"), (errno.EDQUOT, "quota")],
)
def test_a_disk_that_fails_in_the_middle_of_a_line_leaves_whole_lines(
    number: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, parts = os.write, iter([10])

    def broken(file: int, line: bytes) -> int:
        for size in parts:
            return write(file, line[:size])
        raise OSError(number, os.strerror(number))

    with RunLog(RunDirectory(tmp_path)) as log:
        log.append(event="session", time="before")
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", broken)
            with pytest.raises(Interrupted, match=words):
                log.append(event="session", time="lost")
        assert [event["time"] for event in events(tmp_path)] == ["before"]
