"""What a comparison rules out and how many seeds would settle it, by other routes than statsmodels'."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.records.store import read_records
from analysis.report.build import write_report
from analysis.report.contents import report_tables
from analysis.report.narrative import answers
from analysis.statistics.hypothesis_tests import Paired, paired
from analysis.statistics.power import equivalent_within, power_columns, seeds_needed
from analysis.tables.ablation import ablation_table
from tests.analysis import runs

pytestmark = pytest.mark.usefixtures("undrawn")

BASE = [0.80, 0.81, 0.79, 0.82, 0.80]
SOME = [0.81, 0.80, 0.80, 0.83, 0.80]


def power(effect, n):
    """Of a two-sided paired t-test at 5 %, from the noncentral t."""
    critical = stats.t.ppf(0.975, n - 1)
    return stats.nct.sf(critical, n - 1, effect * math.sqrt(n)) + stats.nct.cdf(-critical, n - 1, effect * math.sqrt(n))


@pytest.mark.parametrize("effect", [0.02, 0.1, 0.3, 0.5, 0.8, 1.0, 1.3, 1.7, 2.3])
def test_the_seeds_needed_are_the_fewest_whose_noncentral_t_reaches_eighty_percent(effect):
    n = seeds_needed(effect)
    assert power(effect, n) >= 0.8 > power(effect, n - 1)
    assert seeds_needed(-effect) == n


@pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_the_seeds_needed_are_those_of_cohens_tables(effect, n):
    assert seeds_needed(effect) == n


@pytest.mark.parametrize("effect", [4.0, 10.0, 100.0, 1e6])
def test_however_large_an_effect_three_seeds_are_needed(effect):
    assert seeds_needed(effect) == 3


@pytest.mark.parametrize("effect", [None, 0.0, 1e-6])
def test_without_an_effect_no_number_of_seeds_settles_anything(effect):
    assert seeds_needed(effect) is None


def test_simulated_studies_of_the_needed_size_find_the_effect_four_times_in_five():
    n = seeds_needed(0.3)
    differences = np.random.default_rng(0).normal(0.3, 1, (20_000, n))
    found = stats.ttest_1samp(differences, 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.015)


@pytest.mark.parametrize("n", [2, 3, 5, 12])
@pytest.mark.parametrize("shift", [-0.05, 0.0, 0.03])
def test_both_one_sided_tests_reach_five_percent_exactly_at_the_margin(n, shift):
    rng = np.random.default_rng(n)
    baseline = rng.normal(0.8, 0.02, n)
    level = baseline + rng.normal(shift, 0.02, n)
    margin = equivalent_within(paired(baseline, level))
    d = level - baseline
    above = stats.ttest_1samp(d, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(d, margin, alternative="less").pvalue
    assert max(above, below) == pytest.approx(0.05, abs=1e-9)
    low, high = stats.ttest_1samp(d, 0).confidence_interval(0.9)
    assert margin == pytest.approx(max(abs(low), abs(high)), abs=1e-12)


def test_equal_differences_are_equivalent_within_themselves():
    assert equivalent_within(paired(np.array([0.5, 0.25, 0.75]), np.array([0.25, 0.0, 0.5]))) == 0.25


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_pairs_say_nothing(n):
    values = np.full(n, 0.5)
    assert set(power_columns(paired(values, values)).values()) == {None}


def test_two_pairs_say_nothing_of_the_seeds_needed():
    columns = power_columns(paired(np.array([0.5, 0.6]), np.array([0.6, 0.65])))
    assert columns["seeds_needed"] is None
    assert columns["p_smallest"] == 0.5


def test_the_smallest_p_is_that_of_the_permutation_test_when_all_differences_agree():
    columns = power_columns(paired(np.zeros(6), np.arange(1.0, 7.0)))
    assert columns["p_smallest"] == 2 / 2**6 == paired(np.zeros(6), np.arange(1.0, 7.0)).p_permutation


def records(path, *levels):
    outcomes = {"baseline": BASE} | {f"loss={name}": values for name, values in levels}
    return read_records(runs.write_outcomes(path, runs.study(outcomes, range(5)), outcomes))


def test_the_table_ends_with_what_would_settle_each_row(tmp_path):
    table = ablation_table(records(tmp_path, ("some", SOME)), runs.METRIC)
    assert list(table)[-3:] == ["seeds_needed", "equivalent_within", "p_smallest"]
    row = table.iloc[0]
    assert row["seeds_needed"] == seeds_needed(
        np.mean(np.subtract(SOME, BASE)) / np.std(np.subtract(SOME, BASE), ddof=1)
    )
    assert row["p_smallest"] == 0.0625


def test_seeds_needed_is_a_whole_number_in_the_file_and_empty_where_there_is_none(tmp_path):
    made = records(tmp_path, ("same", BASE), ("some", SOME))
    write_report(tmp_path)
    rows = (tmp_path / "report" / "ablation.csv").read_text().splitlines()[1:]
    assert re.search(r",no clear difference,,,0\.0,0\.0625$", rows[0])
    assert re.search(r",no clear difference,,\d+,0\.\d+,0\.0625$", rows[1])
    assert made.study["seeds"] == list(range(5))


def test_an_unclear_row_says_what_it_rules_out_and_what_would_settle_it(tmp_path):
    made = records(tmp_path, ("some", SOME))
    (answer,) = answers(made, report_tables(made))
    pattern = r"No difference larger than ±0\.0\d+ \(90 %\); about (\d+) seeds would settle it\."
    found = re.search(pattern, str(answer))
    assert int(found[1]) == ablation_table(made, runs.METRIC)["seeds_needed"].iloc[0]
    assert re.search(pattern.lower().removesuffix(r"\."), write_report(tmp_path).read_text().lower())


def test_what_only_the_correction_takes_back_asks_for_no_more_seeds(tmp_path):
    clear = [value + gain for value, gain in zip(BASE, [0.02, 0.03, 0.015, 0.035, 0.02], strict=True)]
    noise = [(f"n{i}", np.roll(SOME, i).tolist()) for i in range(20)]
    made = records(tmp_path, ("clear", clear), *noise)
    said = str(answers(made, report_tables(made))[0])
    assert "no clear difference" in said
    assert said.endswith("by itself, which Holm's correction takes back.")


def test_an_effect_too_small_to_settle_is_not_given_a_number_of_seeds(tmp_path):
    tiny = [value + gain for value, gain in zip(BASE, [0.02, -0.02, 0.01, -0.01, 0.0005], strict=True)]
    made = records(tmp_path, ("tiny", tiny))
    assert "more than 1,000 seeds would settle it" in str(answers(made, report_tables(made))[0])


def test_an_empty_comparison_has_columns_of_the_right_kinds(tmp_path):
    table = ablation_table(read_records(runs.write(tmp_path, runs.study(["baseline", "loss=a"]), [])), runs.METRIC)
    assert table["seeds_needed"].dtype == "Int64"
    assert pd.isna(table["equivalent_within"].iloc[0])
    assert power_columns(Paired(0))["p_smallest"] is None
