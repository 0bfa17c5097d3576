"""Ray's trial schedulers, keyed by our trial keys, so that their state can be rebuilt from the log after a kill.

Ray never saves a scheduler's state. Ours is rebuilt by replaying the log's epoch rows in order: the rows before a kill
lead to the same decisions, and a decision that was not carried out is carried out first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from core.metrics import metric_of
from core.seeds import derive_seed
from engine.runlog.history import History
from search_spaces.trial_schedulers import ASHA, AnyTrialScheduler, Median
from trainables.schedules import epochs_of

WORST = 1e9  # value of a diverged trial if smaller is better; if larger is, its metric's lower bound or minus this


@dataclass(frozen=True)
class Known:
    """A trial as Ray's schedulers see it; equal for equal keys."""

    trial_id: str


class Decisions:
    """Which trials a scheduler stops, row by row in the order of arrival."""

    def __init__(self, settings: AnyTrialScheduler, epochs: int, metric: str, maximise: bool) -> None:
        low = metric_of(metric).low
        self.metric, self.worst = metric, WORST if not maximise else -WORST if low is None else low
        self._scheduler = _build(settings, epochs, "max" if maximise else "min")
        self._known: set[str] = set()
        self._stopped: set[str] = set()

    def stops(self, trial: str, row: dict[str, Any]) -> bool:
        """Whether the trial ends with this epoch."""
        if trial in self._stopped:  # its checkpoint was ahead of the log; Ray's schedulers take no more rows of it
            return False
        known = Known(trial)
        if trial not in self._known:
            self._known.add(trial)
            with _seeded(trial):  # brackets are drawn from numpy's global generator
                self._scheduler.on_trial_add(None, known)  # type: ignore[arg-type]
        value = row.get(self.metric)
        result = {"epoch": row["epoch"], "value": self.worst if value is None else value}
        stop = self._scheduler.on_trial_result(None, known, result) == TrialScheduler.STOP  # type: ignore[arg-type]
        if stop:
            self._stopped.add(trial)
        return stop


class LoggedScheduler(FIFOScheduler):
    """Passes each new epoch row to `decisions` once, and stops the trials that these stop.

    `pending`: epoch by trial whose stop was decided before a kill but whose end was not logged.
    """

    def __init__(self, decisions: Decisions, history: History) -> None:
        super().__init__()
        self.decisions = decisions
        self._heard: set[tuple[str, int]] = set()
        self.pending: dict[str, int] = {}
        for trial, epoch in history.order:
            if self._stops(trial, history.rows[trial][epoch]) and trial not in history.ends:
                self.pending.setdefault(trial, epoch)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        (report,) = result["reports"]  # with a trial scheduler, each Ray trial runs one of ours
        stops = [self._stops(report["trial"], row) for row in report["rows"]]
        return TrialScheduler.STOP if any(stops) else TrialScheduler.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """The last rows of a trial that ended by itself count in the comparison of the others."""
        (report,) = result["reports"]
        for row in report["rows"]:
            self._stops(report["trial"], row)

    def _stops(self, trial: str, row: dict[str, Any]) -> bool:
        if (trial, row["epoch"]) in self._heard:
            return False
        self._heard.add((trial, row["epoch"]))
        return self.decisions.stops(trial, row)

    def __getstate__(self) -> dict[str, Any]:
        """Empty: Ray pickles its scheduler into an experiment state that nothing reads."""
        return {}


def _build(settings: AnyTrialScheduler, epochs: int, mode: str) -> Any:
    common: dict[str, Any] = {"time_attr": "epoch", "metric": "value", "mode": mode}
    if isinstance(settings, ASHA):
        return AsyncHyperBandScheduler(
            **common,
            max_t=epochs,
            grace_period=epochs_of(settings.grace, epochs),
            reduction_factor=settings.reduction_factor,
            brackets=settings.brackets,
            stop_last_trials=False,
        )
    assert isinstance(settings, Median)
    # With an infinite time slice a trial is never paused, only stopped: a pause would need Ray's checkpoints.
    return MedianStoppingRule(
        **common,
        grace_period=epochs_of(settings.grace, epochs),
        min_samples_required=settings.minimum,
        min_time_slice=float("inf"),  # type: ignore[arg-type]
    )


@contextmanager
def _seeded(trial: str) -> Iterator[None]:
    state = np.random.get_state()
    np.random.seed(derive_seed(0, "brackets", trial) % 2**32)
    try:
        yield
    finally:
        np.random.set_state(state)
