"""Trials that take no time, to measure the overhead of running trials."""

from typing import Any

import torch

from benchmarks.plain import FIGURES
from trainables.trial.spec import TrialSpec
from trainables.trial.trial import Trial
from trainables.workloads.digits import DigitsSmallCNN


class InstantTrial:
    """Stands in for `Trial`: no epoch is due, and its first report holds one epoch and the end."""

    due, device, learner = False, torch.device("cpu"), None

    def __init__(self, spec: TrialSpec) -> None:
        self.spec = spec

    def report(self) -> dict[str, Any]:
        """What `Trial.report` returns of a trial of one epoch."""
        row = {"epoch": 1, "lr": 0.01, **FIGURES}
        end = {"status": "finished", "selected_epoch": 1, "selected": row, "verified": True, "error": None}
        return {"rows": [row | {"seconds": 0.0}], "end": end | {"seconds": 0.0, "notes": []}, "end_if_stopped": None}


class Instant(DigitsSmallCNN):
    """Our side: the program's own trainable with instant trials."""

    def begin(self, spec: TrialSpec) -> Trial:
        return InstantTrial(spec)  # type: ignore[return-value]
