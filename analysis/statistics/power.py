"""Equivalence bound and power of a comparison: how large a difference it rules out, how many seeds it needs.

Both follow from the paired differences so far, so that the number of seeds is an estimate: if the difference is
underestimated, it is too large, and if it is overestimated, too small.
"""

from math import ceil, isnan

from analysis.statistics.distributions import normal_quantile, t_quantile, t_test_power
from analysis.statistics.hypothesis_tests import CONFIDENCE, MINIMUM_PAIRS, SIGNIFICANCE, Paired, smallest_p

POWER = 0.8
MOST_SEEDS = 1_000_000


def power_columns(statistics: Paired) -> dict[str, float | int | None]:
    """A comparison's columns on power and equivalence, by name; None if there are too few pairs."""
    n = statistics.n_pairs
    return {
        "seeds_needed": seeds_needed(statistics.effect_size) if n >= MINIMUM_PAIRS else None,
        "equivalent_within": equivalent_within(statistics),
        "p_smallest": smallest_p(n) if n >= 2 else None,
    }


def seeds_needed(effect_size: float | None) -> int | None:
    """Fewest seeds, in all, with which a two-sided paired t-test at 5 % finds a difference of `effect_size` standard
    deviations of the paired differences with a probability of 80 % (statsmodels' TTestPower).

    At least three, below which no comparison has a verdict; None without an effect, without spread, or above a million.
    """
    if not effect_size:
        return None
    size = abs(effect_size)
    critical, wanted = normal_quantile(1 - SIGNIFICANCE / 2), normal_quantile(POWER)
    # Guenther's approximation (1981), which the loops below correct by a step or two.
    guess = ((critical + wanted) / size) ** 2 + critical**2 / 2
    if guess > MOST_SEEDS:
        return None
    n = max(MINIMUM_PAIRS, ceil(guess))
    while _power(size, n) < POWER:
        n += 1
    while n > MINIMUM_PAIRS and _power(size, n - 1) >= POWER:
        n -= 1
    return n


def _power(effect_size: float, n: int) -> float:
    power = t_test_power(effect_size, n, SIGNIFICANCE)
    # scipy's noncentral t gives nan far out in the tail, where the power is 1.
    return 1.0 if isnan(power) else power


def equivalent_within(statistics: Paired) -> float | None:
    """Smallest x for which two one-sided t-tests at 5 % (TOST) show that the difference lies within ± x.

    That is the end of the paired 90 % interval that is farther from zero (Schuirmann 1987); None below two pairs.
    """
    if statistics.delta is None or statistics.ci_low is None or statistics.ci_high is None:
        return None
    half = (statistics.ci_high - statistics.ci_low) / 2
    degrees = statistics.n_pairs - 1
    narrower = t_quantile(1 - SIGNIFICANCE, degrees) / t_quantile(0.5 + CONFIDENCE / 2, degrees)
    return abs(statistics.delta) + half * float(narrower)
