"""Learning-rate schedules as pure functions of the epoch, so that a resumed trial needs no scheduler state.

Epochs count from 1. Lengths are shares of the trial's own epoch budget, at least one epoch each, so that a study
shortened by `--epochs` keeps the shape of its schedules. Closed forms are those of `torch.optim.lr_scheduler`.
"""

import math
from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from core.component import Component, Needs, Range

Share = Annotated[float, Field(gt=0, le=1)]
Gamma = Annotated[float, Field(gt=0, lt=1), Range(0.05, 0.7, log=True)]


def epochs_of(share: float, epochs: int) -> int:
    """A share of the budget in whole epochs, at least one."""
    return max(1, round(share * epochs))


class Schedule(Component):
    """A schedule, optionally after a linear warm-up over `warmup` (share of the budget)."""

    rates: ClassVar[int] = 2
    """how many different rates show that it works, warm-up left out"""
    name: str
    warmup: Annotated[float, Field(ge=0, lt=1), Range(0.0, 0.2)] = 0.0
    """share of the budget over which the rate rises linearly to `lr` first; 0 = none"""

    def lr(self, epoch: int, epochs: int, base_lr: float) -> float:
        """The rate used throughout `epoch` (1 … epochs)."""
        warm = self._warm(epochs)
        if epoch <= warm:
            return base_lr * epoch / (warm + 1)
        return self._lr(epoch - 1 - warm, epochs - warm, base_lr)

    @abstractmethod
    def _lr(self, t: int, epochs: int, base_lr: float) -> float:
        """The rate after `t` whole epochs of a budget of `epochs`, warm-up left out."""

    def not_reached(self, epochs: int) -> str | None:
        """Why the schedule has no effect in a budget of `epochs`, or None when it has."""
        after = epochs - self._warm(epochs)
        rates = {self._lr(t, after, 1.0) for t in range(after)}
        return f"schedule {self.name}: not reached in {epochs} epochs" if len(rates) < self.rates else None

    def _warm(self, epochs: int) -> int:
        return epochs_of(self.warmup, epochs) if self.warmup else 0


class Constant(Schedule):
    """The same rate in every epoch."""

    rates = 1
    name: Literal["constant"] = "constant"

    def _lr(self, t: int, epochs: int, base_lr: float) -> float:
        return base_lr


class Step(Schedule):
    """torch's StepLR."""

    name: Literal["step"] = "step"
    step_size: Share = 0.4
    """share of the budget after which the rate falls, each time anew"""
    gamma: Gamma = 0.5
    """what the rate is multiplied by at each step"""

    def _lr(self, t: int, epochs: int, base_lr: float) -> float:
        return base_lr * self.gamma ** (t // epochs_of(self.step_size, epochs))


class MultiStep(Schedule):
    """torch's MultiStepLR."""

    name: Literal["multistep"] = "multistep"
    milestones: tuple[Share, ...] = (0.5, 0.75)
    """shares of the budget at which the rate falls"""
    gamma: Annotated[Gamma, Needs("schedule.milestones")] = 0.1
    """what the rate is multiplied by at each milestone"""

    def _lr(self, t: int, epochs: int, base_lr: float) -> float:
        return base_lr * self.gamma ** sum(epochs_of(share, epochs) <= t for share in self.milestones)


class Cosine(Schedule):
    """torch's CosineAnnealingLR with T_max = `t_max` of the budget; `eta_min` is a rate, not a share."""

    name: Literal["cosine"] = "cosine"
    t_max: Share = 1.0
    """share of the budget over which the rate falls to `eta_min`"""
    eta_min: float = Field(0.0, ge=0)
    """the lowest rate"""

    def _lr(self, t: int, epochs: int, base_lr: float) -> float:
        phase = math.pi * t / epochs_of(self.t_max, epochs)
        return self.eta_min + (base_lr - self.eta_min) * (1 + math.cos(phase)) / 2
