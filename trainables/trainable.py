"""The Ray side of a trial, and nothing else: every model/dataset pair is a subclass that states its facts."""

import platform
from pathlib import Path
from typing import Any, ClassVar

from ray import tune

from trainables import checkpoint
from trainables.faults import disk_fault
from trainables.trial import Trial, TrialSpec, failure


class VisionTrainable(tune.Trainable):
    """Runs the trial that `config["spec"]` describes, one epoch a step.

    A subclass names its data set and its default model, and may change any default by dotted name. Exceptions end the
    trial as failed, with their text in its record, but for a disk's, which `stop` the run; only a lost process is left
    to Ray's retries, and the next attempt continues from the trial's own checkpoint.
    """

    dataset: ClassVar[str]
    model: ClassVar[str]
    settings: ClassVar[dict[str, Any]] = {}

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The pair's settings by dotted name, under which a study's baseline is laid."""
        return {"dataset.name": cls.dataset, "model.name": cls.model, **cls.settings}

    def setup(self, config: dict[str, Any]) -> None:
        self.current: Trial | None = None
        self.error: Exception | None = None
        try:
            self.current = Trial(TrialSpec(**config["spec"]))
        except Exception as error:  # reported by the first step: an exception here would be retried in vain
            self.error = error

    def step(self) -> dict[str, Any]:
        try:
            if self.current is None:
                raise self.error or RuntimeError("the trial was not set up")
            result = self.current.advance()
        except Exception as error:
            if fault := disk_fault(error):  # no fault of the trial: the run stops, and a resumed one goes on
                return {"rows": [], "end": None, "stop": f"{fault} (node {platform.node()})", "done": False}
            result = {"rows": [], "end": failure(error)}
        return {**result, "done": result["end"] is not None}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        if self.current is not None:
            checkpoint.save(self.current.state_dict(), Path(checkpoint_dir) / "trial.pt")

    def load_checkpoint(self, checkpoint_dir: str | None) -> None:
        state = checkpoint.load(Path(checkpoint_dir or "") / "trial.pt")
        if state is None or self.current is None:
            raise RuntimeError(f"no whole checkpoint in {checkpoint_dir}")
        self.current.load_state_dict(state)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        self.current = None
