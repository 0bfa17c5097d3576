"""`--time-budget`: when it is spent, running trials end where their checkpoints are, and `resume` goes on."""

import time
from typing import Any

from ray.tune import Stopper


class TimeBudget(Stopper):
    """Ray Tune stopper of a whole run after so many seconds; None for never."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds, self.began = seconds, time.monotonic()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.seconds is not None and time.monotonic() - self.began > self.seconds
