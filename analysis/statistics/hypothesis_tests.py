"""Tests of a difference: over paired seeds the t-test, its interval and the sign-flip permutation test; Welch's t-test
for two runs without common seeds.

Differences that are equal up to the rounding of their operands count as equal: a t-test on rounding noise would report
p = 1e-30 where nothing but a constant was seen.
"""

from dataclasses import dataclass, replace
from math import comb
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.records.run_records import Records
from analysis.statistics.distributions import (
    Interval,
    one_sample_t_test,
    sign_flipped_means,
    t_quantile,
    welch_t_test,
)

CONFIDENCE = 0.95
SIGNIFICANCE = 0.05
MINIMUM_PAIRS = 3  # with fewer, a comparison has no verdict
EXACT_PAIRS = 14
RANDOM_FLIPS = 10_000
FLIP_SEED = 0


@dataclass(frozen=True)
class Difference:
    """Statistics of a level's values minus its baseline's; None where there are too few values."""

    baseline_mean: float | None = None
    level_mean: float | None = None
    delta: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class Paired(Difference):
    """A difference over paired seeds: those that both cells finished."""

    n_pairs: int = 0
    p_permutation: float | None = None
    effect_size: float | None = None


def paired_by_seed(records: Records, baseline: str, cell: str, metric: str) -> Paired:
    """A cell against another over the seeds that both finished."""
    both = pd.concat([records.values(baseline, metric), records.values(cell, metric)], axis=1, join="inner")
    return paired(both.iloc[:, 0].to_numpy(), both.iloc[:, 1].to_numpy())


def paired(baseline: NDArray[np.float64], level: NDArray[np.float64]) -> Paired:
    """Statistics of `level - baseline`, two arrays of shape [n_pairs] in the same order of seeds."""
    n = len(level)
    if n == 0:
        return Paired()
    noise = rounding(baseline, level)
    differences = np.where(np.abs(level - baseline) <= noise, 0.0, level - baseline)
    equal = bool(np.ptp(differences) <= noise)
    differences = np.full_like(differences, differences[0]) if equal else differences
    delta = float(differences.mean())
    delta = 0.0 if abs(delta) <= noise else delta  # of differences that cancel
    seen = Paired(float(baseline.mean()), float(level.mean()), delta, n_pairs=n)
    if n < 2:
        return seen
    p_permutation = sign_flip_p(differences)
    if equal:
        p_value = 1.0 if delta == 0 else p_permutation
        return replace(seen, ci_low=delta, ci_high=delta, p_value=p_value, p_permutation=p_permutation)
    effect_size = delta / float(differences.std(ddof=1))
    tested = _named(one_sample_t_test(differences, CONFIDENCE))
    return replace(seen, **tested, p_permutation=p_permutation, effect_size=effect_size)


def _named(tested: Interval) -> dict[str, Any]:
    return dict(zip(("ci_low", "ci_high", "p_value"), tested, strict=True))


def rounding(*values: NDArray[np.float64]) -> float:
    """The largest difference that rounding can cause between equal values of this size."""
    return 16 * float(np.finfo(np.float64).eps) * max(float(np.abs(part).max()) for part in values)


def sign_flip_p(differences: NDArray[np.float64]) -> float:
    """Two-sided sign-flip permutation p: exact over all 2^n flips for n <= 14, else 10,000 seeded random ones.

    Flips whose |mean| equals the observed one up to rounding count as reaching it.
    """
    exact = len(differences) <= EXACT_PAIRS
    null = sign_flipped_means(differences) if exact else _random_flips(differences)
    reached = int((null >= float(np.abs(differences.mean())) - 1e-12 * float(np.abs(differences).max())).sum())
    return reached / len(null) if exact else (reached + 1) / (len(null) + 1)


def _random_flips(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy import stats  # slow to import

    result = stats.permutation_test(
        (differences,),
        lambda sample, axis: np.abs(np.mean(sample, axis=axis)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=RANDOM_FLIPS,
        vectorized=True,
        rng=np.random.default_rng(FLIP_SEED),
    )
    return np.asarray(result.null_distribution)


def unpaired(baseline: NDArray[np.float64], level: NDArray[np.float64]) -> Difference:
    """Welch's t-test and 95 % interval of `mean(level) - mean(baseline)`, two arrays of any lengths.

    If neither sample varies the test is undefined: both ends of the interval are then the difference, and the p-value
    is that of the exact permutation test (1 for equal samples).
    """
    seen = Difference(*(float(values.mean()) if len(values) else None for values in (baseline, level)))
    if not len(baseline) or not len(level):
        return seen
    noise = rounding(baseline, level)
    delta = float(level.mean() - baseline.mean())
    if min(len(baseline), len(level)) < 2:
        return replace(seen, delta=delta)
    if max(np.ptp(baseline), np.ptp(level)) <= noise:
        delta = 0.0 if abs(delta) <= noise else delta
        # Only the observed split of the pooled values is as extreme, and its mirror image where the sizes are equal.
        reached = 2 if len(baseline) == len(level) else 1
        p_value = reached / comb(len(baseline) + len(level), len(level)) if delta else 1.0
        return replace(seen, delta=delta, ci_low=delta, ci_high=delta, p_value=p_value)
    return replace(seen, delta=delta, **_named(welch_t_test(level, baseline, CONFIDENCE)))


def smallest_p(n_pairs: int) -> float:
    """The smallest p that a two-sided sign-flip test over n pairs can give."""
    return 2 / 2**n_pairs if n_pairs <= EXACT_PAIRS else 1 / (RANDOM_FLIPS + 1)


def half_width(std: pd.Series, n: pd.Series) -> pd.Series:
    """Half of the 95 % t interval of a mean, from the standard deviation (ddof 1) of n values; null for n < 2."""
    count = n.astype("float64").where(n >= 2)
    return t_quantile(0.5 + CONFIDENCE / 2, count - 1) * std / np.sqrt(count)
