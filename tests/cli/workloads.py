"""The digits workload with a fault of its own: put into the registry by tests, imported by the trials' processes."""

from pathlib import Path

from trainables.training.batch_draws import EpochDraws
from trainables.trial.spec import TrialSpec
from trainables.trial.trial import Trial
from trainables.workloads.digits import DigitsSmallCNN

MENDED = "mended"
"""a file in the run directory, with which nothing fails any more"""
SEED = 1
"""of the trials that fail"""


class Faulty(DigitsSmallCNN):
    """Fails in the second epoch of every trial with seed 1."""

    def begin(self, spec: TrialSpec) -> Trial:
        trial = super().begin(spec)
        begin = trial.learner.begin_epoch

        def begin_epoch(most: int | None = None) -> EpochDraws:
            mended = (Path(trial.spec.directory) / MENDED).exists()
            if trial.learner.epoch == 1 and trial.spec.seed == SEED and not mended:
                self.fail()
            return begin(most)

        trial.learner.begin_epoch = begin_epoch  # type: ignore[method-assign]
        return trial

    def fail(self) -> None:
        raise ValueError("of our making")


class Hungry(Faulty):
    """Runs out of memory with less than two CPUs' share of the machine."""

    def fail(self) -> None:
        assert self.trial_resources is not None
        if self.trial_resources.required_resources["CPU"] < 2:
            raise MemoryError


class Insatiable(Faulty):
    def fail(self) -> None:
        raise MemoryError("more than any share")
