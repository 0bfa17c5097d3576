"""The Ray side of trials, and nothing else: every model/dataset pair is a subclass that states its facts."""

import platform
import time
from collections import deque
from typing import Any, ClassVar

from ray import tune

from trainables.faults import disk_fault
from trainables.trial import Trial, TrialSpec, failure

REPORT_SECONDS = 0.2  # of work on short trials that one result tells the driver of


class VisionTrainable(tune.Trainable):
    """Runs the trials that `config["bundle"]` describes, one after the other.

    A result holds `reports`, what `Trial.advance` returned with the trial's key: one of a trial that has the process to
    itself, so that a trial scheduler can decide on each epoch; of several, as many as come within REPORT_SECONDS.

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
        self.left = deque(item["spec"] for item in config["bundle"])
        self.alone = len(self.left) == 1
        self.current: Trial | None = None

    def step(self) -> dict[str, Any]:
        reports, began = [self._advance()], time.monotonic()
        while self.left and not self.alone and "stop" not in reports[-1]:
            if time.monotonic() - began > REPORT_SECONDS:
                break
            reports.append(self._advance())
        return {"reports": reports, "done": not self.left}

    def _advance(self) -> dict[str, Any]:
        """An epoch of the trial in progress; its setting up too, so that what fails there is its own failure."""
        spec = self.left[0]
        try:
            if self.current is None:
                self.current = self.begin(TrialSpec(**spec))
            result = self.current.advance()
        except Exception as error:
            if fault := disk_fault(error):  # no fault of the trial: the run stops, and a resumed one goes on
                stop = f"{fault} (node {platform.node()})"
                return {"trial": spec["trial"], "rows": [], "end": None, "stop": stop}
            result = {"rows": [], "end": failure(error)}
        if result["end"] is not None:
            self.left.popleft()
            self.current = None
        return {"trial": spec["trial"], **result}

    def begin(self, spec: TrialSpec) -> Trial:
        return Trial(spec)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        self.current = None
