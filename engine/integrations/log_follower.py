"""Follows a run's log in a thread: passes events to trackers, and triggers the live report.

It cannot harm the run. A tracker that fails is dropped, with a message; the report is written by another process, of
idle time only, in a small share of the trials' processor time.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from analysis.records.log_lines import read_line
from analysis.records.run_directory import RunDirectory
from analysis.records.schema import END, SESSION, START
from analysis.records.study_json import read_study
from core.errors import FaultError, first_line
from engine.integrations.live_report import LiveReport
from engine.integrations.mlflow import NONE, MLflow
from engine.integrations.tensorboard import TensorBoard
from engine.integrations.tracker import Tracker
from engine.runlog.study_file import hold

LOOK = 1.0  # seconds between two reads of the log
PATIENCE = 20.0  # seconds for which a run waits for a tracker at its end
BEGUN, ENDED, ANEW = (f'{{"event": "{kind}"'.encode() for kind in (START, END, SESSION))


class Follower(threading.Thread):
    """Passes every event of the log to the trackers `told`, and updates the live report; a context manager."""

    def __init__(self, run: RunDirectory, told: Sequence[Tracker], say: Callable[[str], None]) -> None:
        super().__init__(name="follower", daemon=True)
        self.run_directory, self.trackers, self.say = run, list(told), say
        self.over, self.read, self.pages, self.telling = threading.Event(), 0, LiveReport(run), ""
        self.running: set[str] = set()
        """trials that this session of the run has begun and not ended"""

    def __enter__(self) -> Self:
        self.start()
        return self

    def hand_over(self) -> None:
        """Pass on all events that the log holds, and close the trackers."""
        self.look()
        for tracker in list(self.trackers):
            self._try(tracker, tracker.close)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.over.set()
        self.pages.stop()
        self.join(PATIENCE)
        if self.is_alive():  # in a tracker's call, which may take long
            self._let_go(self.telling, f"no answer for {PATIENCE:.0f} s")
            return
        self.hand_over()

    def run(self) -> None:
        while not self.over.wait(LOOK):
            self.pages.look(ended=self.look(), running=len(self.running))

    def look(self) -> bool:
        """Pass on new events; returns whether a trial has ended."""
        ended = False
        for line in self._lines():
            kind = line[: line.find(b",")]
            ended |= kind == ENDED
            if kind in (BEGUN, ENDED):
                (self.running.add if kind == BEGUN else self.running.discard)(
                    read_line(line[:-1]).event.get("trial", "")
                )
            elif kind == ANEW:
                self.running.clear()
            if self.trackers and not (read := read_line(line[:-1])).fault:
                event = read.event
                for tracker in list(self.trackers):
                    self._try(tracker, lambda tracker=tracker, event=event: tracker.event(event))  # type: ignore[misc]
        return ended

    def _lines(self) -> Iterator[bytes]:
        """New lines of the log, one at a time, as an old log may be large; a torn last line is read later."""
        with (
            suppress(OSError, FaultError),
            self.run_directory.log.open("rb") as file,
        ):  # absent yet, or not readable now
            end = file.seek(0, os.SEEK_END)
            file.seek(self.read)
            while self.read < end and (line := file.readline()).endswith(b"\n"):
                self.read += len(line)
                yield line

    def _try(self, tracker: Tracker, call: Callable[[], Any]) -> None:
        self.telling = tracker.name
        try:
            call()
        except Exception as error:
            if tracker in self.trackers:
                self.trackers.remove(tracker)
            self._let_go(tracker.name, first_line(error))

    def _let_go(self, name: str, why: str) -> None:
        self.say(
            f"--{name}: no more is sent there ({why}); the run goes on, and "
            f"`report {self.run_directory.address} --{name}` sends the rest"
        )


def trackers(run: RunDirectory, study: str, tensorboard: bool, mlflow: str | None) -> list[Tracker]:
    """The trackers that are asked for; PlanError if one is not available."""
    chosen: list[Tracker] = [TensorBoard(run)] if tensorboard else []
    return [*chosen, MLflow(run, study, mlflow)] if mlflow not in (None, NONE) else chosen


def hand_over(run: RunDirectory, tensorboard: bool, mlflow: str | None, say: Callable[[str], None]) -> None:
    """Pass a run's whole log to trackers; PlanError while a driver runs it, whose own trackers do this."""
    name = str(read_study(run)["name"])
    with hold(run):
        Follower(run, trackers(run, name, tensorboard, mlflow), say).hand_over()
