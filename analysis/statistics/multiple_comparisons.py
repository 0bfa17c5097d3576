"""Holm's correction over the comparisons of a table, and the resulting verdicts."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from analysis.statistics.hypothesis_tests import SIGNIFICANCE
from core.metrics import maximised

IDENTICAL, TOO_FEW, UNSTABLE = "identical", "too few runs", "unstable"
BETTER, WORSE, UNCLEAR = "better", "worse", "no clear difference"


def holm(p_values: "Iterable[float | None] | pd.Series[float]") -> "pd.Series[float]":
    """Holm's correction over the entries that are not null; the others stay null.

    Equal to statsmodels' multipletests, whose every call runs a garbage collection: 0.3 s each with torch imported.
    """
    corrected = pd.Series(p_values, dtype="float64")
    ascending = corrected.dropna().sort_values()
    steps = np.maximum.accumulate(ascending.to_numpy() * np.arange(len(ascending), 0, -1))
    corrected[ascending.index] = np.minimum(steps, 1)
    return corrected


def verdict_of(delta: float, p_holm: float, metric: str) -> str:
    """BETTER or WORSE where the corrected p-value is below 5 %, else UNCLEAR."""
    if p_holm >= SIGNIFICANCE or np.isnan(p_holm):
        return UNCLEAR
    return BETTER if (delta > 0) == maximised(metric) else WORSE


def always_diverged(n_finished: int, n_diverged: int) -> bool:
    """Whether every trial that came to an end by itself diverged, of one and more: UNSTABLE, however few they are."""
    return n_diverged > 0 and n_finished == 0
