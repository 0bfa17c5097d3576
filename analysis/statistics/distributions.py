"""Student's t, its tests and power, from scipy's special functions: to the bit the numbers of scipy.stats and
statsmodels, whose import takes longer than a whole report (`tests/analysis/statistics/test_distributions.py`)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

Interval = tuple[float, float, float]
"""both ends of a mean's or difference's interval, and the two-sided p of the test against zero"""


def t_quantile(q: float, degrees: Any) -> NDArray[np.float64]:
    """Quantile of Student's t distribution (`scipy.stats.t.ppf`)."""
    return np.asarray(special.stdtrit(degrees, q), dtype=np.float64)


def normal_quantile(q: float) -> float:
    return float(special.ndtri(q))


def one_sample_t_test(values: NDArray[np.float64], confidence: float) -> Interval:
    """`scipy.stats.ttest_1samp` against zero, of at least two values that differ."""
    n = len(values)
    error = np.sqrt(_variance(values) / n)
    return _t_test(values.mean(), error, n - 1.0, confidence)


def welch_t_test(first: NDArray[np.float64], second: NDArray[np.float64], confidence: float) -> Interval:
    """`scipy.stats.ttest_ind` with unequal variances, of the difference `first - second`."""
    one, two = (_variance(values) / len(values) for values in (first, second))
    degrees = (one + two) ** 2 / (one**2 / (len(first) - 1) + two**2 / (len(second) - 1))
    return _t_test(first.mean() - second.mean(), np.sqrt(one + two), degrees, confidence)


def _variance(values: NDArray[np.float64]) -> np.float64:
    """In scipy's order: numpy's own differs in the last bit."""
    n = float(len(values))
    return np.mean((values - values.mean()) ** 2) * (n / (n - 1))


def _t_test(estimate: np.float64, error: np.float64, degrees: float, confidence: float) -> Interval:
    tail = (1 - confidence) / 2
    low, high = special.stdtrit(degrees, np.array([tail, 1 - tail])) * error + estimate
    p = 2 * special.stdtr(degrees, -abs(float(estimate / error)))
    return float(low), float(high), float(p)


def t_test_power(effect_size: float, n: int, significance: float) -> float:
    """Power of a two-sided one-sample t-test (statsmodels' `ttest_power`), of Johnson and Welch's noncentral t."""
    critical, shift = special.stdtrit(n - 1, significance / 2), effect_size * np.sqrt(n)
    above, below = 1 - special.nctdtr(n - 1, shift, -critical), special.nctdtr(n - 1, shift, critical)
    return float(above + below)


def sign_flipped_means(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """|mean| of the differences (n,) under each of the 2^n choices of signs."""
    n = len(differences)
    flips = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    return np.abs(np.mean(np.where(flips == 1, -differences, differences), axis=-1))


def binomial_cdf(k: int, n: int) -> float:
    """Probability of at most k heads of n fair coins (`scipy.stats.binom.cdf`, by the function that it calls)."""
    try:
        from scipy.special._ufuncs import _binom_cdf
    except ImportError:  # of another scipy
        from scipy.stats import binom

        return float(binom.cdf(k, n, 0.5))
    return float(_binom_cdf(k, n, 0.5))
