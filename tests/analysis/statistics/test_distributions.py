"""Our t-tests, power and sign flips are, to the bit, those of scipy.stats and statsmodels, which import slowly."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import ttest_power

from analysis.statistics.distributions import (
    binomial_cdf,
    normal_quantile,
    one_sample_t_test,
    t_quantile,
    t_test_power,
    welch_t_test,
)
from analysis.statistics.hypothesis_tests import CONFIDENCE, sign_flip_p


def samples(n, count=60):
    rng = np.random.default_rng(n)
    scales = 10.0 ** rng.uniform(-9, 6, count)
    return [rng.normal(rng.normal() * scale, scale, n) for scale in scales]


def told(test):
    interval = test.confidence_interval(CONFIDENCE)
    return float(interval.low), float(interval.high), float(test.pvalue)


@pytest.mark.parametrize("n", [2, 3, 5, 8, 14, 50, 129, 1000])
def test_the_one_sample_t_test_is_scipys(n):
    for values in samples(n):
        assert one_sample_t_test(values, CONFIDENCE) == told(stats.ttest_1samp(values, 0.0))


@pytest.mark.parametrize(("n", "m"), [(2, 2), (2, 9), (5, 5), (30, 7)])
def test_welchs_t_test_is_scipys(n, m):
    for first, second in zip(samples(n), samples(m), strict=True):
        assert welch_t_test(first, second, CONFIDENCE) == told(stats.ttest_ind(first, second, equal_var=False))


def test_quantiles_are_scipys():
    degrees = np.array([1.0, 2.0, 3.0, 7.0, 4.5, 60.0, 1e6, np.nan])
    for q in (0.5, 0.8, 0.95, 0.975, 0.9999):
        np.testing.assert_array_equal(t_quantile(q, degrees), stats.t.ppf(q, degrees))
        assert normal_quantile(q) == stats.norm.ppf(q)


@pytest.mark.parametrize("n", [2, 3, 5, 8, 40, 1000, 100_000])
def test_power_is_statsmodels(n):
    for effect in (1e-3, 0.05, 0.2, 0.5, 0.8, 1.3, 4.0, 30.0):
        np.testing.assert_array_equal(t_test_power(effect, n, 0.05), ttest_power(effect, n, 0.05))


@pytest.mark.parametrize("n", [2, 3, 5, 8, 9, 14])
def test_as_many_sign_flips_reach_the_observed_mean_as_scipy_counts(n):
    """Flips of equal mean are added up in another order, so that the tolerance of `sign_flip_p` is put to the test."""
    whole = [np.round(values / np.abs(values).max() * 4) * 0.1 for values in samples(n, 8)]  # with many ties
    for values in [*samples(n, 3), *(values for values in whole if values.any())]:
        test = stats.permutation_test(
            (values,), lambda x, axis: np.abs(np.mean(x, axis=axis)), permutation_type="samples", n_resamples=2**n
        )
        observed = abs(values.mean()) - 1e-12 * abs(values).max()
        assert sign_flip_p(values) == (test.null_distribution >= observed).mean()


def test_the_binomial_is_scipy_s_to_the_bit():
    for n in (1, 2, 7, 40, 333, 2000):
        for k in range(0, n // 2 + 1, max(1, n // 50)):
            assert binomial_cdf(k, n) == float(stats.binom.cdf(k, n, 0.5))
