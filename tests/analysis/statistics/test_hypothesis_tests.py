"""Paired statistics, recomputed from their formulas."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.statistics.hypothesis_tests import half_width, paired, sign_flip_p, smallest_p
from analysis.statistics.multiple_comparisons import holm


def flips(differences):
    """Two-sided sign-flip p by enumeration."""
    means = [
        abs(np.mean(np.multiply(signs, differences))) for signs in itertools.product([1, -1], repeat=len(differences))
    ]
    return np.mean(np.array(means) >= abs(np.mean(differences)) - 1e-12)


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_paired_statistics_follow_their_formulas(n):
    rng = np.random.default_rng(n)
    baseline, level = rng.normal(0.8, 0.02, n), rng.normal(0.82, 0.02, n)
    result, d = paired(baseline, level), level - baseline
    error = math.sqrt(sum((d - d.mean()) ** 2) / (n - 1) / n)
    half = stats.t.ppf(0.975, n - 1) * error
    expected = {
        "n_pairs": n,
        "baseline_mean": baseline.sum() / n,
        "level_mean": level.sum() / n,
        "delta": d.sum() / n,
        "ci_low": d.mean() - half,
        "ci_high": d.mean() + half,
        "p_value": 2 * stats.t.sf(abs(d.mean()) / error, n - 1),
        "p_permutation": flips(d),
        "effect_size": d.mean() / (error * math.sqrt(n)),
    }
    assert vars(result) == pytest.approx(expected, abs=1e-9)


def test_no_pair_says_nothing_and_one_pair_only_the_difference():
    none = paired(np.array([]), np.array([]))
    assert (none.n_pairs, none.delta, none.p_value) == (0, None, None)
    single = paired(np.array([0.5]), np.array([0.75]))
    assert (single.n_pairs, single.delta, single.baseline_mean, single.level_mean) == (1, 0.25, 0.5, 0.75)
    assert (single.ci_low, single.p_value, single.p_permutation, single.effect_size) == (None,) * 4


def test_equal_differences_take_the_permutation_p_and_a_point_interval():
    result = paired(np.array([0.5, 0.25, 0.75]), np.array([0.75, 0.5, 1.0]))
    assert (result.ci_low, result.ci_high, result.delta) == (0.25, 0.25, 0.25)
    assert result.p_value == result.p_permutation == 2 / 2**3
    assert result.effect_size is None


def test_differences_that_differ_by_rounding_alone_are_equal():
    baseline, level = np.array([0.5, 0.6, 0.7, 0.9]), np.array([0.6, 0.7, 0.8, 1.0])
    assert np.ptp(level - baseline) > 0
    result = paired(baseline, level)
    assert result.p_value == 2 / 2**4
    assert result.ci_low == result.ci_high == pytest.approx(0.1, abs=1e-12)


def test_no_difference_at_all_has_p_one():
    result = paired(np.array([0.1, 0.2, 0.3]), np.array([0.1, 0.2, 0.3]))
    assert (result.delta, result.p_value, result.p_permutation, result.ci_low, result.ci_high) == (0, 1, 1, 0, 0)


def test_flips_that_tie_with_the_observation_count_in_spite_of_rounding():
    d = np.array([0.1, 0.2, -0.3, 0.001])
    assert sign_flip_p(d) == pytest.approx(flips(d), abs=1e-12)


def test_the_permutation_test_is_exact_to_fourteen_pairs():
    assert sign_flip_p(np.arange(1.0, 15.0)) == 2 / 2**14 == smallest_p(14)


def test_beyond_fourteen_pairs_it_is_random_but_repeatable_and_never_zero():
    d = np.random.default_rng(1).normal(0.5, 1, 20)
    assert sign_flip_p(d) == sign_flip_p(d)
    assert sign_flip_p(d) == pytest.approx(stats.ttest_1samp(d, 0).pvalue, abs=0.02)
    assert sign_flip_p(np.arange(1.0, 31.0)) == 1 / 10_001 == smallest_p(30)


def test_holm_corrects_the_known_values_and_leaves_the_others_null():
    p = pd.Series([0.04, np.nan, 0.01, 0.03], index=[7, 8, 9, 10])
    assert holm(p).to_dict() == pytest.approx({7: 0.06, 8: np.nan, 9: 0.03, 10: 0.06}, nan_ok=True)
    assert holm(pd.Series([np.nan])).isna().all()
    assert holm(pd.Series([], dtype="float64")).empty


def test_holm_is_statsmodels_to_the_bit():
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 10, 200):
        p = pd.Series(rng.choice([*rng.random(n) ** 3, 0.02, 1e-12], n))  # some of them equal
        assert holm(p).tolist() == multipletests(p.to_numpy(), method="holm")[1].tolist()


def test_holm_never_exceeds_one():
    assert holm(pd.Series([0.9, 0.8])).tolist() == [1.0, 1.0]


def test_the_interval_of_a_mean_is_students():
    values = np.array([1.0, 2.0, 4.0])
    low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    half = half_width(pd.Series([values.std(ddof=1), np.nan]), pd.Series([3, 1]))
    assert half[0] == pytest.approx((high - low) / 2, abs=1e-12)
    assert np.isnan(half[1])


def test_differences_that_cancel_have_a_mean_of_zero_and_not_of_rounding() -> None:
    baseline = np.array([351, 353, 352, 354, 355]) / 359  # shares of test examples
    level = (np.array([351, 353, 352, 354, 355]) + np.array([2, -2, -3, 0, 3])) / 359
    assert 0 < abs(float((level - baseline).mean())) < 1e-15
    found = paired(baseline, level)
    assert found.delta == 0.0
    assert found.p_value == pytest.approx(1.0)
