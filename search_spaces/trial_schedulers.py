"""Settings of trial schedulers, which stop or perturb a search's trials early; an ablation never stops a trial.

A trial scheduler compares trials epoch by epoch on the validation metric that the search ranks by. Lengths are shares
of the budget, at least one epoch each. The engine builds Ray's schedulers from these settings.
"""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from core.component import Component

MOST_BRACKETS = 100
MOST_RUNGS = 1000
Share = Annotated[float, Field(gt=0, le=1)]


class TrialScheduler(Component):
    name: str


class NoScheduler(TrialScheduler):
    """Every trial gets its whole budget."""

    name: Literal["none"] = "none"


class ASHA(TrialScheduler):
    """Asynchronous successive halving (Li et al., 2020): at each rung, only the best 1/`reduction_factor` go on."""

    name: Literal["asha"] = "asha"
    grace: Share = 0.1
    """the first rung, as a share of the budget"""
    reduction_factor: float = Field(3.0, gt=1)
    brackets: int = Field(1, ge=1, le=MOST_BRACKETS)
    """number of rung ladders that trials are spread over; later ones begin later, which spares slow starters"""

    @model_validator(mode="after")
    def _few_rungs(self) -> Self:
        if (rungs := math.log(1 / self.grace) / math.log(self.reduction_factor)) > MOST_RUNGS:
            what = f"grace {self.grace:g} and reduction_factor {self.reduction_factor:g} make {rungs:,.0f} rungs"
            raise ValueError(f"{what}; allowed: up to {MOST_RUNGS:,}")
        return self


class HyperBand(ASHA):
    """HyperBand (Li et al., 2018) in its asynchronous form: ASHA over three brackets."""

    name: Literal["hyperband"] = "hyperband"  # type: ignore[assignment]
    brackets: int = Field(3, ge=2, le=MOST_BRACKETS)


class Median(TrialScheduler):
    """Median stopping rule (Golovin et al., 2017): a trial ends when its best is below the median of running means."""

    name: Literal["median"] = "median"
    grace: Share = 0.1
    minimum: int = Field(3, ge=1)
    """other trials that must have come as far before one is stopped"""


class PBT(TrialScheduler):
    """Population based training (Jaderberg et al., 2017), in generations.

    After every `interval` of the budget the worst `quantile` of the population takes over weights and settings of
    members drawn from the best `quantile`, and perturbs the settings that are ranges of numbers.
    """

    name: Literal["pbt"] = "pbt"
    interval: Share = 0.2
    quantile: float = Field(0.25, gt=0, le=0.5)
    resample: float = Field(0.25, ge=0, le=1)
    """probability that a setting is drawn anew from its range instead of being perturbed"""
    factors: tuple[float, float] = (0.8, 1.2)


TRIAL_SCHEDULERS: dict[str, type[TrialScheduler]] = {
    "none": NoScheduler,
    "asha": ASHA,
    "hyperband": HyperBand,
    "median": Median,
    "pbt": PBT,
}

AnyTrialScheduler = Annotated[NoScheduler | ASHA | HyperBand | Median | PBT, Field(discriminator="name")]
