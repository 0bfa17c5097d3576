"""The Ray Trainable that runs trials; every model/dataset pair is a subclass that names its data set and model."""

import time
from typing import Any, ClassVar

from ray import tune

from trainables.trial.runner import TrialRunner
from trainables.trial.spec import TrialSpec
from trainables.trial.trial import Trial

REPORT_SECONDS = 0.2  # of short trials' reports that are sent to the driver as one result


class VisionTrainable(tune.Trainable):
    """Runs the trials that `config["bundle"]` describes, one after the other or `config["lanes"]` side by side.

    A result holds `reports`, what `Trial.report` returned with the trial's key. A single trial reports each epoch, so
    that a trial scheduler can decide on it; several report what comes within REPORT_SECONDS.

    A subclass names its data set and its default model, and may change any default by dotted name. An exception ends
    the trial as failed, with its text in the record; a disk fault sets `stop`, which stops the run. Ray retries only
    lost processes, and the next attempt resumes from the trial's own checkpoint.
    """

    dataset: ClassVar[str]
    model: ClassVar[str]
    """of both: empty where the study names it"""
    settings: ClassVar[dict[str, Any]] = {}

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The pair's settings by dotted name, under which a study's baseline is laid."""
        named = {"dataset.name": cls.dataset, "model.name": cls.model}
        return {**{key: name for key, name in named.items() if name}, **cls.settings}

    def setup(self, config: dict[str, Any]) -> None:
        self.runner = TrialRunner(self.begin, config.get("lanes", 1))
        self.runner.put([item["spec"] for item in config["bundle"]])
        self.alone = len(config["bundle"]) == 1

    def step(self) -> dict[str, Any]:
        reports, began = self.runner.advance(), time.monotonic()
        while self.runner.busy and not self.alone and not any("stop" in report for report in reports):
            if time.monotonic() - began > REPORT_SECONDS:
                break
            reports += self.runner.advance()
        return {"reports": reports, "done": not self.runner.busy}

    def begin(self, spec: TrialSpec) -> Trial:
        return Trial(spec)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        self.runner.put([])
