"""Paired statistics over seeds: t-test, t interval, exact sign-flip permutation test, Holm's correction; and Welch's
t-test where two runs share no seeds.

Differences that are equal up to the rounding of their operands count as equal: a t-test on rounding noise would report
p = 1e-30 where nothing but a constant was seen.
"""

from dataclasses import dataclass
from math import comb

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
SIGNIFICANCE = 0.05
MINIMUM_PAIRS = 3  # below them no comparison has a verdict
EXACT_PAIRS = 14
RANDOM_FLIPS = 10_000
FLIP_SEED = 0


@dataclass(frozen=True)
class Paired:
    """A level against its baseline over the seeds that both finished; None where n_pairs allows no statement."""

    n_pairs: int
    baseline_mean: float | None = None
    level_mean: float | None = None
    delta: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    p_value: float | None = None
    p_permutation: float | None = None
    effect_size: float | None = None


def paired(baseline: NDArray[np.float64], level: NDArray[np.float64]) -> Paired:
    """Statistics of `level - baseline`, two arrays of shape [n_pairs] in the same order of seeds."""
    n = len(level)
    if n == 0:
        return Paired(0)
    scale = float(max(np.abs(level).max(), np.abs(baseline).max()))
    differences, equal = _denoised(level - baseline, scale)
    delta = float(differences.mean())
    delta = 0.0 if abs(delta) <= _rounding(scale) else delta  # of differences that cancel
    means = {"baseline_mean": float(baseline.mean()), "level_mean": float(level.mean()), "delta": delta}
    if n < 2:
        return Paired(n, **means)
    p_permutation = sign_flip_p(differences)
    if equal:
        p_value = 1.0 if delta == 0 else p_permutation
        return Paired(n, **means, ci_low=delta, ci_high=delta, p_value=p_value, p_permutation=p_permutation)
    test = stats.ttest_1samp(differences, 0.0)
    interval = test.confidence_interval(CONFIDENCE)
    return Paired(
        n,
        **means,
        ci_low=float(interval.low),
        ci_high=float(interval.high),
        p_value=float(test.pvalue),
        p_permutation=p_permutation,
        effect_size=delta / float(differences.std(ddof=1)),
    )


def _denoised(differences: NDArray[np.float64], scale: float) -> tuple[NDArray[np.float64], bool]:
    """Differences with mere rounding taken out, and whether all of them are equal."""
    noise = _rounding(scale)
    clean = np.where(np.abs(differences) <= noise, 0.0, differences)
    if np.ptp(clean) <= noise:
        return np.full_like(clean, clean[0]), True
    return clean, False


def _rounding(scale: float) -> float:
    """What values of this size may differ by although they are equal."""
    return 16 * float(np.finfo(np.float64).eps) * scale


def sign_flip_p(differences: NDArray[np.float64]) -> float:
    """Two-sided sign-flip permutation p: exact over all 2^n flips for n <= 14, else 10,000 seeded random ones.

    Flips whose |mean| equals the observed one up to rounding count as reaching it.
    """
    n = len(differences)
    exact = n <= EXACT_PAIRS
    result = stats.permutation_test(
        (differences,),
        lambda sample, axis: np.abs(np.mean(sample, axis=axis)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=2**EXACT_PAIRS if exact else RANDOM_FLIPS,
        vectorized=True,
        rng=np.random.default_rng(FLIP_SEED),
    )
    null = np.asarray(result.null_distribution)
    reached = int((null >= float(np.abs(differences.mean())) - 1e-12 * float(np.abs(differences).max())).sum())
    return reached / len(null) if exact else (reached + 1) / (len(null) + 1)


@dataclass(frozen=True)
class Unpaired:
    """One sample against an independent one; None where their sizes allow no statement."""

    baseline_mean: float | None = None
    level_mean: float | None = None
    delta: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    p_value: float | None = None


def unpaired(baseline: NDArray[np.float64], level: NDArray[np.float64]) -> Unpaired:
    """Welch's t-test and 95 % interval of `mean(level) - mean(baseline)`, two arrays of any lengths.

    Where neither sample varies the test is undefined: the interval is then the point and the p-value that of the exact
    permutation test (1 when the samples are equal).
    """
    means = {
        "baseline_mean": float(baseline.mean()) if len(baseline) else None,
        "level_mean": float(level.mean()) if len(level) else None,
    }
    if not len(baseline) or not len(level):
        return Unpaired(**means)
    noise = _rounding(float(max(np.abs(baseline).max(), np.abs(level).max())))
    delta = float(level.mean() - baseline.mean())
    if min(len(baseline), len(level)) < 2:
        return Unpaired(**means, delta=delta)
    if max(np.ptp(baseline), np.ptp(level)) <= noise:
        delta = 0.0 if abs(delta) <= noise else delta
        # Only the observed split of the pooled values is as extreme, and its mirror image where the sizes are equal.
        reached = 2 if len(baseline) == len(level) else 1
        p_value = reached / comb(len(baseline) + len(level), len(level)) if delta else 1.0
        return Unpaired(**means, delta=delta, ci_low=delta, ci_high=delta, p_value=p_value)
    test = stats.ttest_ind(level, baseline, equal_var=False)
    interval = test.confidence_interval(CONFIDENCE)
    return Unpaired(
        **means, delta=delta, ci_low=float(interval.low), ci_high=float(interval.high), p_value=float(test.pvalue)
    )


def smallest_p(n_pairs: int) -> float:
    """The smallest p that a two-sided sign-flip test over n pairs can give."""
    return 2 / 2**n_pairs if n_pairs <= EXACT_PAIRS else 1 / (RANDOM_FLIPS + 1)


def holm(p_values: pd.Series) -> pd.Series:
    """Holm's correction over the entries that are not null; the others stay null.

    statsmodels' gives the same bits and then collects all garbage, which takes 0.3 s beside torch.
    """
    corrected = pd.Series(np.nan, index=p_values.index, dtype="float64")
    known = p_values.dropna().astype("float64").sort_values()
    corrected[known.index] = np.maximum.accumulate(known * np.arange(len(known), 0, -1)).clip(upper=1.0)
    return corrected


def half_width(std: pd.Series, n: pd.Series) -> pd.Series:
    """Half of the 95 % t interval of a mean, from the standard deviation (ddof 1) of n values; null for n < 2."""
    count = n.astype("float64").where(n >= 2)
    quantile = stats.t.ppf(0.5 + CONFIDENCE / 2, count.to_numpy() - 1)
    return pd.Series(quantile, index=std.index) * std / np.sqrt(count)
