"""Whole studies in this process, without Ray: what the engine decides, fast and in an order that the test chooses.

Everything but Ray's own loop is the program's: plan, queue, trial scheduler, recorder, log, trials.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from rich.console import Console

import engine.execution.launch
from engine.execution.time_budget import TimeBudget
from engine.execution.tuner import Tuning
from engine.planning.run_options import Options
from engine.runlog.run_log import RunLog
from search_spaces.study import AnyStudy
from trainables.trial.spec import TrialSpec
from trainables.trial.trial import Trial

BASELINE: dict[str, Any] = {
    "dataset.limit_train": 96,
    "dataset.limit_eval": 64,
    "model.channels": [4, 8],
    "model.hidden": 16,
    "training.batch_size": 32,
}
SHARE = {"cpu": 1.0, "gpu": 0.0}


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, and no clean-up that matters follows it."""


class Drive:
    """`drive(study, folder)` runs a study or resumes it; `lines` kills it after so many lines of the log."""

    def __init__(self) -> None:
        self.slots = 1
        self.printed = ""

    def __call__(self, study: AnyStudy, directory: Path, lines: int | None = None, **options: Any) -> Path:
        console = Console(file=io.StringIO(), width=300)
        try:
            with _killed_after(lines), pytest.MonkeyPatch.context() as patch:
                patch.setattr(engine.execution.launch, "ray_started", lambda *_: nullcontext())
                if (directory / "study.json").exists():
                    engine.execution.launch.go_on(directory, options, ["test"], console)
                else:
                    engine.execution.launch.start(study, Options(**options), directory, ["test"], console)
        except Killed:
            pass
        self.printed = console.file.getvalue()  # type: ignore[attr-defined]
        return directory

    def carry_out(self, plan: Any, run: Any, log: RunLog, standing: Any, progress: Any, ray_ends: bool = False) -> None:
        work = Tuning(plan, run, log, standing, progress, TimeBudget(None), ray_ends)
        self.fit(work, None)
        if left := log.history.enlarged - set(log.history.ends):
            self.fit(work, left)

    def fit(self, work: Tuning, only: set[str] | None) -> None:
        scheduler = work.scheduler()
        queue = work.queue(scheduler.pending if scheduler else {}, only)
        ear = work.callback(queue, SHARE, retries=only is None)
        running: list[Any] = []
        while True:
            while len(running) < self.slots and isinstance(config := queue.suggest("ray"), dict):
                (item,) = config["bundle"]
                key = item["spec"]["trial"]
                running.append(SimpleNamespace(config=config, trial_id=key, trial=Trial(TrialSpec(**item["spec"]))))
                ear.on_trial_start(0, [], running[-1])
            if not running:
                assert config == Searcher.FINISHED, "the queue waits for trials, and none runs"
                return
            one = running.pop(0)
            report = {"trial": one.trial_id, **one.trial.advance()}
            result = {"reports": [report], "done": report["end"] is not None}
            if scheduler and not result["done"]:
                result["done"] = scheduler.on_trial_result(None, one, result) == TrialScheduler.STOP
            ear.on_trial_result(0, [], one, result)
            if scheduler and report["end"] is not None:
                scheduler.on_trial_complete(None, one, result)
            if not result["done"]:
                running.append(one)


def driven(study: AnyStudy, directory: Path) -> Path:
    """A whole run, for tests that share it and only read it."""
    drive = Drive()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.execution.launch, "carry_out", drive.carry_out)
        return drive(study, directory)


@contextmanager
def _killed_after(lines: int | None) -> Iterator[None]:
    append, count = RunLog.append, 0

    def counted(self: RunLog, **event: Any) -> None:
        nonlocal count
        append(self, **event)
        count += 1
        if count == lines:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunLog, "append", counted)
        yield
