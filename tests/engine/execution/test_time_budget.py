"""A time budget counts from the first trial's start, and every session under one comes further, however small it is."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.execution import time_budget
from engine.execution.time_budget import TimeBudget
from engine.planning.run_options import Options
from tests.trainables.small_trials import small_spec
from trainables.trial.trial import Trial


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time_budget.time, "monotonic", lambda: self.now)


def result(end: str | None = None, saved: bool = False) -> dict[str, Any]:
    return {"reports": [{"trial": "t", "rows": [], "end": end and {"status": end}, "saved": saved}]}


def begin(budget: TimeBudget) -> None:
    budget.on_trial_start(0, [], SimpleNamespace())


def test_what_precedes_the_first_trial_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, budget = Clock(monkeypatch), TimeBudget(60)
    budget("ray", result(saved=True))
    clock.now += 600  # Ray starts, GPUs are measured
    assert not budget.stop_all()
    begin(budget)
    clock.now += 59
    begin(budget)  # another trial's start
    assert not budget.stop_all()
    clock.now += 2
    assert budget.stop_all()
    assert budget.spent


@pytest.mark.parametrize(
    ("told", "stops"),
    [
        (result(), False),
        (result("failed"), False),  # the next session would begin with it again
        ({"reports": [{"trial": "t", "stop": "the disk is full"}]}, False),
        (result(saved=True), True),
        (result("finished"), True),
        (result("diverged"), True),
        (result("paused"), True),
    ],
)
def test_it_waits_for_something_that_the_next_session_need_not_repeat(
    told: dict[str, Any], stops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, budget = Clock(monkeypatch), TimeBudget(1)
    begin(budget)
    clock.now += 100
    assert not budget.stop_all()
    assert not budget("ray", told)
    assert budget.stop_all() is stops


def test_without_a_budget_nothing_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, budget = Clock(monkeypatch), TimeBudget(None)
    begin(budget)
    budget("ray", result("finished"))
    clock.now += 1e9
    assert not budget.stop_all()


@pytest.mark.parametrize(
    ("given", "every"),
    [
        ({}, 1.0),
        ({"time_budget": "1s"}, 0.5),
        ({"time_budget": "8h"}, 1.0),
        ({"time_budget": "10m", "checkpoint_every": "1h"}, 300.0),
        ({"checkpoint_every": "1h"}, 3600.0),
    ],
)
def test_a_budget_does_not_pass_between_two_checkpoints(given: dict[str, Any], every: float) -> None:
    assert Options.model_validate(given).checkpoint_seconds == every


@pytest.mark.parametrize("text", ["0s", "-1s", "1", "h", "", "nan", "inf", "1e3s", "1 h", "9" * 400 + "d"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time_budget"):
        Options.model_validate({"time_budget": text})


def test_sessions_of_one_epoch_each_come_to_the_trial_s_end(tmp_path: Path) -> None:
    """Each session is killed as the budget ends it: after the first report that makes the budget stop the run."""
    spec = replace(small_spec(tmp_path, {"training.epochs": 3}), checkpoint_seconds=0.0)
    reached = list[int]()
    while not reached or reached[-1] < 3:
        budget, trial = TimeBudget(1e-9), Trial(spec)
        begin(budget)
        while not budget.stop_all():
            report = trial.advance()
            budget("ray", {"reports": [report]})
        reached.append(trial.learner.epoch)
        assert len(reached) < 5, reached
    assert reached == [1, 2, 3]
