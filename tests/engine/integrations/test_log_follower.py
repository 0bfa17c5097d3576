"""The page that is rewritten while a run goes on: after ends, by another process, with a small share of the time."""

import time
from pathlib import Path
from typing import Any

import pytest

from analysis.records.run_directory import RunDirectory
from core.errors import PlanError
from engine.integrations import live_report, log_follower
from engine.integrations.live_report import LiveReport
from engine.integrations.log_follower import Follower, hand_over
from engine.runlog.study_file import hold
from tests.analysis.runs import study, write_outcomes


class Pretended:
    """A report that takes until it is told to be done."""

    def __init__(self) -> None:
        self.done = self.terminated = False

    def poll(self) -> int | None:
        return 0 if self.done else None

    def terminate(self) -> None:
        self.terminated = self.done = True

    def wait(self) -> int:
        return 0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    at = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: at[0])
    return at


def test_reports_follow_ends_and_take_a_small_share_of_the_time(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Pretended] = []
    monkeypatch.setattr(live_report, "written_aside", lambda run: begun.append(Pretended()) or begun[-1])
    pages = LiveReport(RunDirectory(tmp_path))
    pages.look(ended=True)
    assert not begun, "a run of seconds needs no page before its last"
    clock[0] += live_report.FIRST + 1
    pages.look(ended=False)
    assert len(begun) == 1, "the end that was seen before is on no page yet"
    clock[0] += 10
    pages.look(ended=True)
    assert len(begun) == 1, "one at a time"
    begun[0].done = True
    pages.look(ended=False)
    clock[0] += 10 / live_report.SHARE - 1
    pages.look(ended=False)
    assert len(begun) == 1
    clock[0] += 2
    pages.look(ended=False)
    assert len(begun) == 2
    pages.stop()
    assert begun[1].terminated
    clock[0] += 10_000
    begun[1].done = True
    pages.look(ended=False)
    pages.look(ended=False)
    assert len(begun) == 2, "nothing has ended since"


def test_the_end_of_a_run_does_not_wait_for_a_tracker_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hung:
        name = "mlflow"

        def event(self, event: Any) -> None:
            time.sleep(30)

        def close(self) -> None:
            raise AssertionError("nobody waits for it")

    monkeypatch.setattr(log_follower, "LOOK", 0.05)
    monkeypatch.setattr(log_follower, "PATIENCE", 0.2)
    run, said = RunDirectory(write_outcomes(tmp_path / "run", study(), {"baseline": [0.5]})), list[str]()
    began = time.monotonic()
    with Follower(run, [Hung()], said.append) as follower:
        while not follower.telling:
            time.sleep(0.01)
    assert time.monotonic() - began < 10
    assert "--mlflow: no more is sent there (no answer for" in said[0]


def test_a_driver_that_works_keeps_its_trackers_to_itself(tmp_path: Path) -> None:
    run = RunDirectory(write_outcomes(tmp_path / "run", study(), {"baseline": [0.5]}))
    with hold(run), pytest.raises(PlanError, match="another process"):
        hand_over(run, True, None, print)
    assert not (run.root / "tensorboard").exists()
    hand_over(run, True, None, print)
    assert list((run.root / "tensorboard").rglob("complete"))


def test_neither_a_log_that_cannot_be_read_nor_a_full_process_table_reaches_the_run(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(tmp_path)
    run.log.mkdir()
    assert Follower(run, [], print).look() is False

    def none_left(run: RunDirectory) -> Any:
        raise BlockingIOError("fork: no more processes")

    monkeypatch.setattr(live_report, "written_aside", none_left)
    pages = LiveReport(run)
    clock[0] += live_report.FIRST + 1
    pages.look(ended=True)
    assert pages.process is None


@pytest.mark.matrix
def test_a_report_that_is_ended_leaves_no_half_of_a_file(tmp_path: Path) -> None:
    run = RunDirectory(write_outcomes(tmp_path / "run", study(), {"baseline": [0.5, 0.6, 0.7]}))
    for patience in (1.0, 1.7, 2.4):
        process = live_report.written_aside(run)
        time.sleep(patience)
        process.terminate()
        process.wait()
        assert not list(run.root.rglob(".*.tmp"))


def test_the_page_is_there_while_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_report, "FIRST", 0.0)
    monkeypatch.setattr(log_follower, "LOOK", 0.05)
    run = RunDirectory(write_outcomes(tmp_path / "run", study(), {"baseline": [0.5, 0.6, 0.7]}))
    content = run.log.read_bytes()
    run.log.write_bytes(b"")
    page = run.report / "index.html"
    with Follower(run, [], print):
        run.log.write_bytes(content)
        until = time.monotonic() + 60
        while not page.exists() and time.monotonic() < until:
            time.sleep(0.1)
        assert page.exists()
