"""The page that is rewritten while a run goes on: after ends, by another process, with a small share of the time."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from analysis.records.run_directory import RunDirectory
from core.errors import PlanError
from engine.integrations import live_report, log_follower
from engine.integrations.live_report import COST, SHARE, LiveReport
from engine.integrations.log_follower import Follower, hand_over
from engine.runlog.study_file import hold
from tests.analysis.runs import lines, study, trial_id, write_outcomes


class Pretended:
    """A report that takes until it is told to be done."""

    pid = 0

    def __init__(self) -> None:
        self.cost: float | None = None
        self.killed = False

    def kill(self) -> None:
        self.killed = True

    def wait(self) -> int:
        return 0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    at = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: at[0])
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    return at


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Pretended]:
    begun: list[Pretended] = []
    monkeypatch.setattr(live_report, "written_aside", lambda run: begun.append(Pretended()) or begun[-1])
    monkeypatch.setattr(live_report, "processor_seconds", lambda process: process.cost)
    return begun


def test_reports_follow_ends_one_at_a_time(tmp_path: Path, clock: list[float], begun: list[Pretended]) -> None:
    pages = LiveReport(RunDirectory(tmp_path))
    pages.look(ended=True, running=1)
    assert not begun, "a run of seconds needs no page before its last"
    clock[0] += COST / SHARE + 1
    pages.look(ended=False, running=1)
    assert len(begun) == 1, "the end that was seen before is on no page yet"
    clock[0] += 100_000
    pages.look(ended=True, running=1)
    assert len(begun) == 1, "one at a time"
    begun[0].cost = 1.0
    pages.look(ended=False, running=1)
    assert len(begun) == 2
    begun[1].cost = 1.0
    clock[0] += 100_000
    pages.look(ended=False, running=1)
    assert len(begun) == 2, "nothing has ended since"
    pages.look(ended=True, running=1)
    pages.stop()
    assert begun[2].killed


@pytest.mark.parametrize(("running", "cores"), [(1, 1), (3, 3), (64, 4)])
def test_reports_take_at_most_a_fiftieth_of_the_trials_processor_time(
    tmp_path: Path, clock: list[float], begun: list[Pretended], running: int, cores: int
) -> None:
    pages, costs, trials, begins = LiveReport(RunDirectory(tmp_path)), [0.5, 4.0, 2.0, 3.0, 1.0], 0.0, list[float]()
    for _ in range(20_000):
        clock[0] += 1
        trials += cores
        pages.look(ended=True, running=running)
        if len(begun) > len(begins):
            begins.append(trials)
            begun[-1].cost = costs[len(begins) % len(costs)]
            assert sum(report.cost for report in begun) <= SHARE * trials, "also once this one is through"
    assert begins[0] == pytest.approx(COST / SHARE, abs=cores)
    assert sum(report.cost for report in begun) > 0.9 * SHARE * trials, "what may be taken is"
    count = len(begun)
    clock[0] += 1_000_000
    for _ in range(3):
        pages.look(ended=True, running=0)
    assert len(begun) == count, "where no trial runs, none uses the time"


def test_a_log_tells_how_many_trials_of_this_session_run(tmp_path: Path) -> None:
    run = RunDirectory(write_outcomes(tmp_path / "run", study(), {"baseline": [0.5, 0.6, "running"]}))
    follower = Follower(run, [], print)
    assert follower.look() is True
    assert follower.running == {trial_id("baseline", 2)}
    with run.log.open("ab") as log:
        log.write(lines([{"event": "session", "pid": 1}, {"event": "start", "trial": "a"}]))
    assert follower.look() is False
    assert follower.running == {"a"}, "what an earlier session left is not running"


def test_what_a_process_took_is_measured_when_it_has_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", "while __import__('time').process_time() < 0.5: pass"])
    assert live_report.processor_seconds(process) is None
    while (cost := live_report.processor_seconds(process)) is None:
        time.sleep(0.05)
    assert 0.5 <= cost < 5
    assert process.returncode == 0


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
    clock[0] += COST / SHARE + 1
    pages.look(ended=True, running=1)
    assert pages.process is None


@pytest.mark.matrix
def test_a_report_that_is_ended_leaves_no_half_of_a_file(tmp_path: Path) -> None:
    run = RunDirectory(write_outcomes(tmp_path / "run", study(), {"baseline": [0.5, 0.6, 0.7]}))
    for patience in (1.0, 1.7, 2.4):
        pages = LiveReport(run)
        pages.process = live_report.written_aside(run)
        time.sleep(patience)
        pages.stop()
        assert not list(run.root.rglob(".*"))


def test_the_file_that_an_ended_report_was_writing_is_deleted(
    tmp_path: Path, clock: list[float], begun: list[Pretended]
) -> None:
    pages = LiveReport(RunDirectory(tmp_path))
    clock[0] += COST / SHARE + 1
    pages.look(ended=True, running=1)
    begun[0].pid = 4321
    (tmp_path / "report").mkdir()
    torn = [tmp_path / ".trials.parquet.4321", tmp_path / "report" / ".index.html.4321"]
    foreign = tmp_path / "report" / ".index.html.432"
    for file in (*torn, foreign):
        file.touch()
    pages.stop()
    assert not any(file.exists() for file in torn)
    assert foreign.exists()


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="a policy of Linux")
def test_the_page_is_written_by_a_process_that_gets_idle_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_report, "WRITE", "import time; time.sleep(60)")
    process = live_report.written_aside(RunDirectory(tmp_path))
    until = time.monotonic() + 60
    while os.sched_getscheduler(process.pid) != os.SCHED_IDLE and time.monotonic() < until:
        time.sleep(0.02)
    assert os.sched_getscheduler(process.pid) == os.SCHED_IDLE
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == 19
    process.kill()
    process.wait()


def test_the_page_is_there_while_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has tables alone."""
    monkeypatch.setattr(live_report, "COST", 0.0)
    monkeypatch.setattr(live_report, "IDLE", "")  # on a machine at work the test would wait
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
    assert (run.report / "ranking.csv").exists()
    assert not (run.report / "figures").exists()
    assert "vegaEmbed" not in page.read_text(encoding="utf-8").partition("<script>")[0]
