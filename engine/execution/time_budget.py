"""`--time-budget`: once it is spent, running trials stop, and `resume` continues from their checkpoints."""

import time
from typing import Any

from ray.tune import Callback, Stopper

from analysis.records.schema import FAILED


class TimeBudget(Stopper, Callback):
    """Ray Tune stopper that ends the run `seconds` after its first trial's start; None: never.

    It waits for the first checkpoint or end of a trial, so that every session comes further than the one before it,
    however small the budget is. A failed trial does not count: the next session tries it again.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds, self.began = seconds, 0.0
        self.further = self.spent = False
        """whether anything is saved that was not before; whether the run was ended"""

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.began = self.began or time.monotonic()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        for report in result["reports"]:
            end = report.get("end")
            self.further |= report.get("saved", False) or (end is not None and end["status"] != FAILED)
        return False

    def stop_all(self) -> bool:
        if self.seconds is not None and self.further and self.began:
            self.spent |= time.monotonic() - self.began > self.seconds
        return self.spent
