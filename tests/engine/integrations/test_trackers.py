"""TensorBoard files and MLflow runs hold what the log holds, each figure once, whatever was killed in between."""

import json
import os
import struct
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from analysis.records.columns import flat
from analysis.records.run_directory import RunDirectory
from core.errors import PlanError
from engine.integrations.log_follower import Follower, trackers
from engine.integrations.mlflow import EVERY, LONGEST, MLflow
from engine.integrations.tensorboard import TensorBoard
from engine.integrations.tracker import Tracker, scalars
from engine.planning.run_options import Options

CONFIG = {"optimizer": {"name": "sgd", "lr": 0.1}, "diagnostics": False, "model": {"channels": [4, 8] * 200}}
AAA, BBB = "a" * 12, "b" * 12
TRIALS = {AAA: ("baseline", 0), BBB: ("loss=focal", 1)}


def row(trial: str, epoch: int) -> dict[str, Any]:
    accuracy = epoch / 10 + (trial == BBB) / 100
    figures = {"lr": 0.1, "train_loss": 1 / epoch, "val_accuracy": accuracy, "test_accuracy": None, "seconds": 0.5}
    return {"event": "epoch", "trial": trial, "epoch": epoch} | figures


def lines(epochs: int = 3) -> list[dict[str, Any]]:
    time = "2026-01-02T03:04:05.678+00:00"
    found: list[dict[str, Any]] = [{"event": "session", "time": time}]
    for trial, (cell, seed) in TRIALS.items():
        found.append(
            {"event": "start", "time": time, "trial": trial, "cell": cell, "seed": seed, "config": CONFIG, "attempt": 1}
        )
    found += [row(trial, epoch) for epoch in range(1, epochs + 1) for trial in TRIALS]
    end = {"event": "end", "time": time, "selected_epoch": 2, "verified": True, "error": None}
    found.append(end | {"trial": AAA, "status": "finished"})
    found.append(end | {"trial": BBB, "status": "diverged", "selected_epoch": None, "error": "diverged in epoch 3"})
    return found


def hand_over(run: RunDirectory, log: list[dict[str, Any]], tracker: Tracker) -> list[str]:
    """What a driver that dies after the log's last line has passed on; returns what it said."""
    run.log.write_text("".join(json.dumps(event) + "\n" for event in log))
    said: list[str] = []
    Follower(run, [tracker], said.append).look()
    return said


def event_files(folder: Path) -> dict[str, dict[tuple[str, int], float]]:
    """Scalars by trial, read from the files as TensorFlow's record format has them; a figure twice is an error."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, dict[tuple[str, int], float]] = defaultdict(dict)
    for file in sorted(folder.rglob("events.*")):
        content, at = file.read_bytes(), 0
        trial = file.parent.name.rpartition("-")[2]
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            event = Event.FromString(content[at + 12 : at + 12 + length])
            at += 16 + length
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    assert (value.tag, event.step) not in found[trial], "a figure stands twice"
                    found[trial][value.tag, event.step] = value.simple_value
    return found


def expected(trial: str, epochs: int = 3) -> dict[tuple[str, int], float]:
    by_hand = {}
    for epoch in range(1, epochs + 1):
        by_hand |= {("loss/train", epoch): 1 / epoch, ("accuracy/val", epoch): row(trial, epoch)["val_accuracy"]}
        by_hand |= {("lr", epoch): 0.1, ("seconds", epoch): 0.5}
    return by_hand


@pytest.mark.parametrize("killed_after", [0, 2, 4, 6, len(lines()) - 1, len(lines())])
def test_event_files_are_whole_after_a_kill_at_any_line(tmp_path: Path, killed_after: int) -> None:
    run = RunDirectory(tmp_path)
    hand_over(run, lines()[:killed_after], TensorBoard(run))
    last = TensorBoard(run)
    assert hand_over(run, lines(), last) == []
    last.close()
    found = event_files(tmp_path / "tensorboard")
    assert set(found) == set(TRIALS)
    for trial in TRIALS:
        scores = {key: value for key, value in found[trial].items() if not key[0].startswith("selected/")}
        assert scores == pytest.approx(expected(trial))
    assert found[AAA]["selected/accuracy/val", 2] == pytest.approx(0.2)
    assert not any(tag.startswith("selected/") for tag, _ in found[BBB])
    assert (tmp_path / "tensorboard" / "loss=focal" / f"seed1-{BBB}" / "complete").exists()


def test_cells_whose_names_make_one_folder_have_one_each_at_every_start(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    cells = ["lr=1/2", "lr=1 2", "..", "x" * 100 + "a", "x" * 100 + "b", "lr=1/2"]
    starts = [
        {**lines()[1], "trial": f"{i:012x}", "cell": cell, "seed": i, "time": lines()[0]["time"]}
        for i, cell in enumerate(cells)
    ]
    for _ in range(2):
        tracker = TensorBoard(run)
        hand_over(run, starts, tracker)
        tracker.close()
    folders = [next((tmp_path / "tensorboard").glob(f"*/seed{i}-{i:012x}")).parent.name for i in range(len(cells))]
    assert folders == ["lr=1_2", "lr=1_2_2", "_", "x" * 100, "x" * 100 + "_2", "lr=1_2"]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store of MLflow's own in a folder, for which it wants to be asked."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return (tmp_path / "mlruns").as_uri()


@pytest.mark.parametrize("killed_after", [0, 2, 4, 6, len(lines()) - 1, len(lines())])
def test_mlflow_has_every_figure_once_after_a_kill_at_any_line(tmp_path: Path, store: str, killed_after: int) -> None:
    run = RunDirectory(tmp_path / "run")
    run.root.mkdir()
    assert hand_over(run, lines()[:killed_after], MLflow(run, "digits/x", store)) == []
    last = MLflow(run, "digits/x", store)
    assert hand_over(run, lines(), last) == []
    last.close()
    client = last.client
    runs = {item.data.tags["trial"]: item for item in client.search_runs([last.experiment])}
    assert set(runs) == set(TRIALS)
    assert {trial: item.info.status for trial, item in runs.items()} == {AAA: "FINISHED", BBB: "FAILED"}
    assert runs[BBB].data.tags["error"] == "diverged in epoch 3"
    assert runs[AAA].data.metrics["selected_epoch"] == 2
    assert runs[AAA].data.params["optimizer.lr"] == "0.1"
    assert len(runs[AAA].data.params["model.channels"]) == LONGEST
    for trial, item in runs.items():
        got = {}
        for tag in {tag for tag, _ in expected(trial)}:
            for metric in client.get_metric_history(item.info.run_id, tag):
                assert (tag, metric.step) not in got, "a figure stands twice"
                got[tag, metric.step] = metric.value
        assert got == pytest.approx(expected(trial))


def counted(tracker: MLflow, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the client's requests from now on."""
    asked: list[str] = []
    for name in ("create_run", "log_batch", "log_metric", "log_param", "set_tag", "set_terminated", "update_run"):
        method = getattr(tracker.client, name)

        def call(*given: Any, name: str = name, method: Any = method, **more: Any) -> Any:
            asked.append(name)
            return method(*given, **more)

        monkeypatch.setattr(tracker.client, name, call)
    return asked


def with_a_later_test(trial: str = AAA) -> list[dict[str, Any]]:
    """The log of a trial whose selected epoch was evaluated on the test split at its end, in a second row of it."""
    log = lines()
    log.insert(len(log) - 2, {**row(trial, 2), "test_accuracy": 0.75, "seconds": 0.6})
    return log


@pytest.mark.parametrize("killed_after", [9, 10, 11])
def test_event_files_have_a_split_that_was_evaluated_later_once(tmp_path: Path, killed_after: int) -> None:
    run, log = RunDirectory(tmp_path), with_a_later_test()
    for told in (log[:killed_after], log):
        tensorboard = TensorBoard(run)
        hand_over(run, told, tensorboard)
        tensorboard.close()
    found = event_files(run.root / "tensorboard")[AAA]  # none stands twice
    assert found["accuracy/test", 2] == found["selected/accuracy/test", 2] == 0.75


@pytest.mark.parametrize("killed_after", [9, 10, 11])
def test_mlflow_has_a_split_that_was_evaluated_later(tmp_path: Path, store: str, killed_after: int) -> None:
    run, log = RunDirectory(tmp_path), with_a_later_test()
    for told in (log[:killed_after], log):
        hand_over(run, told, client := MLflow(run, "study", store))
    (found,) = client.client.search_runs([client.experiment], f"tags.trial = '{AAA}'")
    for name in ("accuracy/test", "selected/accuracy/test"):
        assert {(each.value, each.step) for each in client.client.get_metric_history(found.info.run_id, name)} == {
            (0.75, 2)
        }
    history = client.client.get_metric_history(found.info.run_id, "accuracy/val")
    assert [each.step for each in sorted(history, key=lambda each: each.step)] == [1, 2, 3]


def test_a_short_trial_takes_three_requests(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDirectory(tmp_path)
    tracker = MLflow(run, "digits/x", store)
    asked = counted(tracker, monkeypatch)
    assert hand_over(run, lines(100), tracker) == []
    assert sorted(asked) == sorted(2 * ["create_run", "log_batch", "set_terminated"])


def test_a_long_trial_and_many_settings_stay_within_what_a_request_may_hold(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, epochs = RunDirectory(tmp_path), 500  # of four figures each
    monkeypatch.setitem(CONFIG, "own", {f"setting{i}": i for i in range(230)})
    tracker = MLflow(run, "digits/x", store)
    asked = counted(tracker, monkeypatch)
    assert hand_over(run, lines(epochs), tracker) == []
    assert asked.count("log_batch") == 2 * 3
    item = tracker.client.get_run(tracker.runs[AAA])
    assert len(item.data.params) == 234
    history = tracker.client.get_metric_history(item.info.run_id, "accuracy/val")
    assert [one.step for one in history] == list(range(1, epochs + 1))


def test_the_epochs_of_a_trial_that_takes_long_are_sent_while_it_runs(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(tmp_path)
    tracker = MLflow(run, "digits/x", store)
    start = 1 + len(TRIALS)
    hand_over(run, lines()[: start + 2], tracker)
    runs = tracker.client.search_runs([tracker.experiment])
    assert not any(item.data.metrics for item in runs), "within seconds they wait for company"
    monkeypatch.setattr(tracker, "sent", time.monotonic() - EVERY - 1)
    tracker.event(lines()[start + 2])
    found = {item.data.tags["trial"]: item.data for item in tracker.client.search_runs([tracker.experiment])}
    assert {trial: data.tags["last_epoch"] for trial, data in found.items()} == {AAA: "2", BBB: "1"}
    assert found[AAA].metrics["accuracy/val"] == pytest.approx(0.2)


@pytest.mark.parametrize("killed_after", [0, 6, len(lines()) - 1])
def test_mlflow_has_the_selected_epoch_s_figures_beside_the_curves(
    tmp_path: Path, store: str, killed_after: int
) -> None:
    run = RunDirectory(tmp_path)
    hand_over(run, lines()[:killed_after], MLflow(run, "digits/x", store))
    tracker = MLflow(run, "digits/x", store)
    hand_over(run, lines(), tracker)
    runs = {item.data.tags["trial"]: item.data.metrics for item in tracker.client.search_runs([tracker.experiment])}
    assert runs[AAA]["selected/accuracy/val"] == pytest.approx(0.2)
    assert runs[AAA]["accuracy/val"] == pytest.approx(0.3), "the last epoch's"
    assert runs[AAA]["selected/loss/train"] == pytest.approx(1 / 2)
    assert not any(name.startswith("selected") for name in runs[BBB]), "it diverged"
    (once,) = tracker.client.get_metric_history(tracker.known.get(AAA, ("",))[0] or tracker.runs[AAA], "selected/lr")
    assert once.step == 2


def test_a_driver_that_died_before_the_last_request_leaves_no_run_as_running(tmp_path: Path, store: str) -> None:
    run = RunDirectory(tmp_path)
    tracker = MLflow(run, "digits/x", store)
    hand_over(run, lines(), tracker)
    tracker.client.update_run(tracker.runs[AAA], status="RUNNING")
    MLflow(run, "digits/x", store)
    assert tracker.client.get_run(tracker.runs[AAA]).info.status == "FINISHED"


def test_a_trial_that_was_interrupted_is_not_left_as_running(tmp_path: Path, store: str) -> None:
    run = RunDirectory(tmp_path / "run")
    run.root.mkdir()
    tracker = MLflow(run, "digits/x", store)
    hand_over(run, lines()[:5], tracker)
    tracker.close()
    assert {item.info.status for item in tracker.client.search_runs([tracker.experiment])} == {"KILLED"}


@pytest.mark.matrix
def test_no_server_is_a_refusal_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    with pytest.raises(PlanError, match=r"--mlflow http://127\.0\.0\.1:9: no tracking server that answers"):
        trackers(RunDirectory(tmp_path), "digits/x", False, "http://127.0.0.1:9")
    assert not list(tmp_path.iterdir())
    assert time.monotonic() - began < 60
    assert trackers(RunDirectory(tmp_path), "digits/x", False, "none") == []


def test_a_password_is_refused_as_the_records_would_show_it() -> None:
    assert Options(mlflow="http://user@host:5000").mlflow
    with pytest.raises(ValueError, match="MLFLOW_TRACKING_PASSWORD"):
        Options(mlflow="http://user:secret@host:5000")


@pytest.mark.parametrize(
    "cell", ["[/conv1]", "<b>", "漢字" * 99, "👩‍🔬" * 300, "../../x", "a/b\\c", "=1+1", "x" * 9000]
)
def test_a_cell_of_any_name_has_a_folder_of_its_own(cell: str, tmp_path: Path) -> None:
    run, board = RunDirectory(tmp_path), TensorBoard(RunDirectory(tmp_path))
    log = [{**event, "cell": cell} if event["event"] == "start" else event for event in lines()]
    assert hand_over(run, log, board) == []
    board.close()
    assert set(event_files(tmp_path / "tensorboard")) == set(TRIALS)
    assert {path.name for path in tmp_path.iterdir()} == {"log.jsonl", "tensorboard"}


def test_mlflow_takes_a_cell_of_any_name(tmp_path: Path, store: str) -> None:
    run = RunDirectory(tmp_path)
    names = iter(["[/conv1] <b>'\"`=1 👩‍🔬" * 9, "x" * 9000])
    log = [{**event, "cell": next(names)} if event["event"] == "start" else event for event in lines()]
    tracker = MLflow(run, "digits/x", store)
    assert hand_over(run, log, tracker) == []
    assert len(tracker.client.search_runs([tracker.experiment])) == 2


def test_a_tracker_that_fails_is_let_go_and_the_others_go_on(tmp_path: Path) -> None:
    class Broken:
        name = "broken"

        def event(self, event: Any) -> None:
            raise ConnectionError("the server is gone")

        def close(self) -> None:
            raise AssertionError("it was let go")

    run = RunDirectory(tmp_path)
    run.log.write_text("".join(json.dumps(event) + "\n" for event in lines()))
    said: list[str] = []
    follower = Follower(run, [Broken(), TensorBoard(run)], said.append)
    follower.hand_over()
    assert len(said) == 1
    assert "the server is gone" in said[0]
    assert set(event_files(tmp_path / "tensorboard")) == set(TRIALS)


def test_a_torn_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    text = "".join(json.dumps(event) + "\n" for event in lines()).encode()
    follower = Follower(run, [TensorBoard(run)], print)
    for cut in sorted({0, 10, len(text) // 3, len(text) - 5, len(text)}):
        run.log.write_bytes(text[:cut])
        follower.look()
    follower.hand_over()
    assert event_files(tmp_path / "tensorboard")[AAA].keys() >= expected(AAA).keys()


def test_names_of_figures_and_settings() -> None:
    row = {"val_balanced_accuracy": 0.5, "lr": 1, "verified": True, "train_loss": float("nan"), "lanes": 4}
    assert dict(scalars(row)) == {"balanced_accuracy/val": 0.5, "lr": 1.0}
    assert list(flat({"a": {"b": 1, "c": {"d": 2}}, "e": 3})) == [("a.b", 1), ("a.c.d", 2), ("e", 3)]


def test_the_extra_is_named_where_mlflow_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mlflow.tracking", None)
    with pytest.raises(PlanError, match="extra `mlflow`"):
        trackers(RunDirectory(tmp_path), "digits/x", False, os.fspath(tmp_path))
