"""`--time-budget`: once it is spent, running trials stop, and `resume` continues from their checkpoints."""

import time
from typing import Any

from ray.tune import Stopper


class TimeBudget(Stopper):
    """Ray Tune stopper that ends the run after `seconds`; None: never."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds, self.began = seconds, time.monotonic()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.seconds is not None and time.monotonic() - self.began > self.seconds
