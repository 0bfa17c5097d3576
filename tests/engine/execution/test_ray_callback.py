"""What the driver writes: each (trial, epoch) once, whatever is reported how often."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from analysis.records.run_directory import RunDirectory
from core.errors import PlanError
from engine.execution.progress import Progress, duration
from engine.execution.ray_callback import RunLogCallback
from engine.runlog.run_log import RunLog
from engine.runlog.study_file import hold
from tests.records import events


def recorder(folder: Path) -> tuple[RunLogCallback, io.StringIO]:
    out = io.StringIO()
    progress = Progress(Console(file=out, width=200), total=2, total_epochs=6, metric="test_accuracy", maximise=True)
    return RunLogCallback(RunLog(RunDirectory(folder)), RunDirectory(folder), progress, threads=1), out


def trial(key: str) -> Any:
    return bundle(key)


def bundle(*keys: str, lanes: int = 1) -> Any:
    """One of Ray's trials with so many of ours, of which `lanes` are trained side by side."""
    items = [
        {"spec": {"trial": key, "cell": "c", "seed": 0, "config": {}, "segment": {"begins": 0, "continues": None}}}
        for key in keys
    ]
    return SimpleNamespace(trial_id="ray", config={"bundle": items, "lanes": lanes}, get_error=lambda: "lost")


def report(key: str, *rows: dict[str, Any], end: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"trial": key, "rows": list(rows), "end": end}


def row(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "train_loss": 1.0 / epoch, "train_accuracy": 0.75, "test_accuracy": 0.5, "seconds": 63.388}


KEY = "a" * 12
END = {"status": "finished", "selected_epoch": 2, "verified": True, "error": None, "seconds": 1.0, "selected": row(2)}


def test_rows_reported_again_after_a_restart_are_written_once(tmp_path: Path) -> None:
    ear, out = recorder(tmp_path)
    ear.on_trial_start(0, [], trial("a"))
    ear.on_trial_result(0, [], trial("a"), {"reports": [report("a", row(1))]})
    ear.on_trial_start(0, [], trial("a"))
    ear.on_trial_result(0, [], trial("a"), {"reports": [report("a", row(1), row(2), end=END)]})
    assert [e["epoch"] for e in events(tmp_path) if e["event"] == "epoch"] == [1, 2]
    lines = (tmp_path / "artifacts" / "a" / "epochs.log").read_text().splitlines()
    assert lines[0] == "epoch 1, loss 1.0000, train accuracy 0.750, test accuracy 0.500, use time 63.388"
    assert len(lines) == 2
    last = events(tmp_path)[-1]
    assert last["event"] == "end"
    assert last["execution"]["attempts"] == 2
    assert "selected" not in last
    assert "[1/2] c seed 0: finished, test_accuracy 0.5000 at epoch 2" in out.getvalue()


def test_a_new_driver_knows_the_rows_of_the_old_one(tmp_path: Path) -> None:
    first, _ = recorder(tmp_path)
    first.on_trial_start(0, [], trial(KEY))
    first.on_trial_result(0, [], trial(KEY), {"reports": [report(KEY, row(1))]})
    second, _ = recorder(tmp_path)
    second.on_trial_start(0, [], trial(KEY))
    second.on_trial_result(0, [], trial(KEY), {"reports": [report(KEY, row(1), row(2))]})
    assert [e["epoch"] for e in events(tmp_path) if e["event"] == "epoch"] == [1, 2]


def test_a_trial_whose_process_is_lost_for_good_is_recorded_as_failed(tmp_path: Path) -> None:
    ear, out = recorder(tmp_path)
    ear.on_trial_start(0, [], trial("a"))
    ear.on_trial_error(0, [], trial("a"))
    assert events(tmp_path)[-1]["status"] == "failed"
    assert events(tmp_path)[-1]["error"] == "lost"
    assert "failed" in out.getvalue()


def test_of_a_bundle_each_trial_starts_and_ends_for_itself_and_what_is_over_is_not_begun_again(tmp_path: Path) -> None:
    ear, _ = recorder(tmp_path)
    three = bundle("a", "b", "c")
    ear.on_trial_start(0, [], three)
    reports = [report("a", row(1)), report("a", row(2), end=END), report("b", row(1))]
    ear.on_trial_result(0, [], three, {"reports": reports, "done": False})
    told = [(event["event"], event["trial"]) for event in events(tmp_path)]
    assert told == [("start", "a"), ("epoch", "a"), ("epoch", "a"), ("end", "a"), ("start", "b"), ("epoch", "b")]
    ear.on_trial_start(0, [], three)  # the process was lost: Ray starts it anew with the config of now
    assert [item["spec"]["trial"] for item in three.config["bundle"]] == ["b", "c"]
    reports = [report("b", row(1), row(2), end=END), report("c", row(1)), report("c", row(2), end=END)]
    ear.on_trial_result(0, [], three, {"reports": reports, "done": True})
    ends = {event["trial"]: event for event in events(tmp_path) if event["event"] == "end"}
    assert {key: end["status"] for key, end in ends.items()} == dict.fromkeys("abc", "finished")
    assert [ends[key]["execution"]["attempts"] for key in "abc"] == [1, 2, 1]


def test_a_process_lost_for_good_fails_one_trial_of_its_bundle_and_gives_the_others_back(tmp_path: Path) -> None:
    ear, _ = recorder(tmp_path)
    three = bundle("a", "b", "c")
    ear.on_trial_start(0, [], three)
    ear.on_trial_result(0, [], three, {"reports": [report("a", row(1), row(2), end=END)], "done": False})
    ear.on_trial_start(0, [], three)
    ear.on_trial_error(0, [], three)
    assert {e["trial"]: e["status"] for e in events(tmp_path) if e["event"] == "end"} == {
        "a": "finished",
        "b": "failed",
    }
    assert [item["spec"]["trial"] for item in ear.queue.waiting] == ["c"]
    assert list(ear.queue.seconds) == [END["seconds"]], "a failed trial says nothing of how long others last"


def told(folder: Path, trial: str) -> list[Any]:
    """What the log says of a trial: the number of each attempt and of each row, and its status at last."""
    fields = {"start": "attempt", "epoch": "epoch", "end": "status"}
    return [event[fields[event["event"]]] for event in events(folder) if event["trial"] == trial]


def test_of_trials_side_by_side_each_has_a_start_its_rows_and_an_end(tmp_path: Path) -> None:
    """Three lanes, an epoch of each in turn; `d` takes the first lane that is free."""
    ear, _ = recorder(tmp_path)
    four = bundle("a", "b", "c", "d", lanes=3)
    ear.on_trial_start(0, [], four)
    epoch_1 = [report("a", row(1)), report("b", row(1)), report("c", row(1))]
    epoch_2 = [report("a", row(2)), report("b", row(2), end=END), report("c", row(2))]
    ear.on_trial_result(0, [], four, {"reports": [*epoch_1, *epoch_2], "done": False})
    epoch_3 = [report("a", row(3), end=END), report("d", row(1)), report("c", row(3), end=END)]
    ear.on_trial_result(0, [], four, {"reports": epoch_3, "done": False})
    ear.on_trial_result(0, [], four, {"reports": [report("d", row(2), end=END)], "done": True})
    for key, epochs in (("a", 3), ("b", 2), ("c", 3), ("d", 2)):
        assert told(tmp_path, key) == [1, *range(1, epochs + 1), "finished"]
    assert four.config["bundle"] == []
    assert not ear.begun["ray"]


def test_a_process_that_starts_anew_is_another_attempt_of_each_trial_that_it_was_at(tmp_path: Path) -> None:
    ear, _ = recorder(tmp_path)
    four = bundle("a", "b", "c", "d", lanes=3)
    ear.on_trial_start(0, [], four)
    begun = [report("a", row(1)), report("b", row(1), end=END), report("c", row(1))]
    ear.on_trial_result(0, [], four, {"reports": begun, "done": False})
    ear.on_trial_start(0, [], four)
    again = [report("a", row(1), row(2)), report("c", row(1)), report("d", row(1))]
    ear.on_trial_result(0, [], four, {"reports": again, "done": False})
    ear.on_trial_start(0, [], four)
    last = [report(key, row(1), row(2), end=END) for key in "acd"]
    ear.on_trial_result(0, [], four, {"reports": last, "done": True})
    assert told(tmp_path, "a") == [1, 1, 2, 2, 3, "finished"]
    assert told(tmp_path, "b") == [1, 1, "finished"]
    assert told(tmp_path, "c") == [1, 1, 2, 3, 2, "finished"]
    assert told(tmp_path, "d") == [1, 1, 2, 2, "finished"]
    ends = {event["trial"]: event for event in events(tmp_path) if event["event"] == "end"}
    assert {key: end["execution"]["attempts"] for key, end in ends.items()} == {"a": 3, "b": 1, "c": 3, "d": 2}


def test_a_process_lost_at_several_fails_none_and_gives_each_back_apart(tmp_path: Path) -> None:
    """Either of the two may be why; what was over stays so, and what was not begun may share a process as before."""
    ear, out = recorder(tmp_path)
    four = bundle("over", "a", "b", "later", lanes=2)
    ear.queue.running |= {"over", "a", "b", "later"}
    ear.queue.bundled |= {"over", "a", "b", "later"}
    ear.on_trial_start(0, [], four)
    reports = [report("over", row(1), end=END), report("a", row(1)), report("b", row(1)), report("a", row(2))]
    ear.on_trial_result(0, [], four, {"reports": reports, "done": False})
    ear.on_trial_error(0, [], four)
    assert {event["trial"] for event in events(tmp_path) if event["event"] == "end"} == {"over"}
    assert "failed" not in out.getvalue()
    given_back = {item["spec"]["trial"]: item.get("apart", False) for item in ear.queue.waiting}
    assert given_back == {"a": True, "b": True, "later": False}
    assert len(ear.queue.waiting) == 3
    assert ear.queue.running == ear.queue.bundled == set()

    alone = SimpleNamespace(trial_id="other", config={"bundle": [ear.queue.waiting[0]]}, get_error=lambda: "lost")
    ear.on_trial_start(0, [], alone)
    ear.on_trial_error(0, [], alone)
    assert told(tmp_path, "a") == [1, 1, 2, 2, "failed"], "alone, it is at fault"


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_process_lost_before_its_lanes_report_fails_none_either(tmp_path: Path, epochs: int) -> None:
    """In the first epoch of all, or in what a new process does first: the lanes are all begun before one reports."""
    ear, _ = recorder(tmp_path)
    three = bundle("a", "b", "c", lanes=2)
    ear.on_trial_start(0, [], three)
    if epochs:
        ear.on_trial_result(0, [], three, {"reports": [report("a", row(1)), report("b", row(1))], "done": False})
        ear.on_trial_start(0, [], three)
    ear.on_trial_error(0, [], three)
    assert [event for event in events(tmp_path) if event["event"] == "end"] == []
    apart = {item["spec"]["trial"]: item.get("apart", False) for item in ear.queue.waiting}
    assert apart == {"a": True, "b": True, "c": False}


def test_the_end_of_a_fused_trial_says_with_how_many_and_how(tmp_path: Path) -> None:
    ear, _ = recorder(tmp_path)
    two = bundle("a", "b", lanes=2)
    fused = {"lanes": 2, "lane": 1, "kernel": "grouped"}
    ear.on_trial_start(0, [], two)
    reports = [report("a", row(1), end=END), report("b", row(1), end={**END, "fused": fused})]
    ear.on_trial_result(0, [], two, {"reports": reports, "done": True})
    ends = {event["trial"]: event for event in events(tmp_path) if event["event"] == "end"}
    assert ends["b"]["execution"]["fused"] == fused
    assert "fused" not in ends["b"]
    assert "fused" not in ends["a"]["execution"]


def test_a_torn_last_line_is_cut_before_the_next_is_written(tmp_path: Path) -> None:
    with RunLog(RunDirectory(tmp_path)) as log:
        log.append(event="session", time="now")
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"event": "epo')
    RunLog(RunDirectory(tmp_path)).append(event="session", time="later")
    assert [e["time"] for e in events(tmp_path)] == ["now", "later"]


def test_only_one_driver_holds_a_run(tmp_path: Path) -> None:
    lock = hold(RunDirectory(tmp_path))
    with pytest.raises(PlanError, match="another process is running this study"):
        hold(RunDirectory(tmp_path))
    lock.release()
    hold(RunDirectory(tmp_path)).release()


@pytest.mark.parametrize(("seconds", "text"), [(4.4, "4 s"), (61, "1 min 01 s"), (7260, "2 h 01 min")])
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_terminal_shows_counts_best_and_what_runs() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    progress = Progress(console, total=3, total_epochs=6, metric="test_accuracy", maximise=True)
    progress.started("a", "baseline", 0)
    progress.epoch("a", row(1))
    progress.ended("a", END)
    progress.started("b", "momentum=0.9", 1)
    progress.ended("b", {**END, "status": "diverged", "selected": None})
    progress.started("c", "momentum=0.9", 2)
    console.print(progress.now(), progress.table(), highlight=False)
    text = out.getvalue()
    assert "2/3 trials done, 1 running" in text
    assert "1 failed or diverged" in text
    assert "test_accuracy 0.5000" in text
    assert "momentum=0.9 seed 2, epoch 0" in text
