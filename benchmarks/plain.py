"""The peer of `overhead`: instant trials in plain Ray Tune, whose processes import none of our packages."""

import time
from typing import Any

from ray import tune

METRICS = ("loss", "ce", "reference", "accuracy", "balanced_accuracy")
FIGURES = {f"{split}_{name}": 0.5 for split in ("train", "val", "test") for name in METRICS}


class Plain(tune.Trainable):
    """The peer: a class Trainable with `reset_config`, as Ray's guide to reusing actors has it."""

    def setup(self, config: dict[str, Any]) -> None:
        self.seed = config["seed"]

    def step(self) -> dict[str, Any]:
        """Constant metrics, with `done`."""
        return FIGURES | {"done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to keep."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing was kept."""


class Ends(tune.Callback):
    """Records the `time.perf_counter` at which each of the peer's trials completed."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __getstate__(self) -> dict[str, Any]:
        """Empty, because Ray pickles its callbacks with the state of the experiment."""
        return {}

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.seconds.append(time.perf_counter())
