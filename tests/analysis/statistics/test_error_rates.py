"""What the tables promise, over a thousand made-up studies in which nothing has an effect: five seeds, a factor of
three levels and two of two, every level against the same baseline."""

import numpy as np
import pandas as pd
import pytest

from analysis.statistics.hypothesis_tests import SIGNIFICANCE, paired
from analysis.statistics.multiple_comparisons import holm
from analysis.statistics.power import equivalent_within

pytestmark = pytest.mark.matrix

STUDIES, ROWS, SEEDS = 1000, 4, 5
SPREAD = 0.02
MARGIN = 0.015


@pytest.fixture(scope="module")
def rows():
    """One paired comparison a study and row; seeds shift all cells of a study alike."""
    rng = np.random.default_rng(0)
    shift = rng.normal(0.8, 0.03, (STUDIES, 1, SEEDS))
    values = shift + rng.normal(0, SPREAD, (STUDIES, 1 + ROWS, SEEDS))
    return [[paired(study[0], study[row]) for row in range(1, 1 + ROWS)] for study in values]


def test_five_percent_of_the_rows_are_called_different_before_correction(rows):
    p = np.array([[row.p_value for row in study] for study in rows])
    assert (p < SIGNIFICANCE).mean() == pytest.approx(0.05, abs=MARGIN)


def test_after_correction_at_most_five_percent_of_the_tables_call_any_row_different(rows):
    corrected = np.array([holm(pd.Series([row.p_value for row in study])) for study in rows])
    assert (corrected < SIGNIFICANCE).any(axis=1).mean() <= 0.05 + MARGIN


def test_without_correction_far_more_tables_would(rows):
    p = np.array([[row.p_value for row in study] for study in rows])
    assert (p < SIGNIFICANCE).any(axis=1).mean() > 0.1


def test_intervals_cover_what_is_true_in_ninety_five_of_a_hundred_rows(rows):
    covered = np.array([[row.ci_low <= 0 <= row.ci_high for row in study] for study in rows])
    assert covered.mean() == pytest.approx(0.95, abs=MARGIN)


def test_the_permutation_test_calls_no_row_of_five_seeds_different(rows):
    assert min(row.p_permutation for study in rows for row in study) == 2 / 2**SEEDS > SIGNIFICANCE


def test_a_difference_lies_beyond_what_is_ruled_out_in_five_of_a_hundred_rows():
    """At the margin's own end TOST is a test at 5 %: a true difference of d is put within ± less than d that often."""
    rng = np.random.default_rng(1)
    true = 0.05
    margins = [
        equivalent_within(paired(base, base + true + rng.normal(0, SPREAD, SEEDS)))
        for base in rng.normal(0.8, 0.03, (2 * STUDIES, SEEDS))
    ]
    assert (np.array(margins) < true).mean() == pytest.approx(0.05, abs=MARGIN)
