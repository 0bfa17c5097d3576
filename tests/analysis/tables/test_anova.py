"""The analysis of variance of a factorial, from sums of squares by hand and from scipy where a special case allows."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.records.store import read_records
from analysis.report.build import write_report
from analysis.tables.factorial import anova_table
from tests.analysis import runs

pytestmark = pytest.mark.usefixtures("undrawn")

TWO = {"loss": ["ce", "cb", "focal"], "sampler": ["uniform", "weighted"]}
THREE = {"a": ["0", "1"], "b": ["0", "1", "2"], "c": ["0", "1"]}
SEEDS = 5


def made(path, factors, values, **changes):
    """Records of a factorial whose cells had `values`, shaped [levels…, seed]; a NaN is a failed trial."""
    study = runs.factorial(factors, range(values.shape[-1]), **changes)
    outcomes = {}
    for cell in study["cells"]:
        index = tuple(levels.index(cell["levels"][name]) for name, levels in factors.items())
        outcomes[cell["name"]] = ["failed" if np.isnan(value) else float(value) for value in values[index]]
    return read_records(runs.write_outcomes(path, study, outcomes))


def noise(factors, seeds=SEEDS):
    return np.random.default_rng(1).normal(0.8, 0.05, [len(levels) for levels in factors.values()] + [seeds])


def by_hand(values, axes):
    """Sum of squares of the interaction of `axes`: of inclusions and exclusions of marginal means."""
    effect = 0.0
    for size in range(len(axes) + 1):
        for kept in itertools.combinations(axes, size):
            others = tuple(axis for axis in range(values.ndim) if axis not in kept)
            effect = effect + (-1) ** (len(axes) - size) * values.mean(axis=others, keepdims=True)
    return float((np.broadcast_to(effect, values.shape) ** 2).sum())


@pytest.mark.parametrize("factors", [TWO, THREE])
def test_sums_of_squares_are_those_of_the_marginal_means(tmp_path, factors):
    values = noise(factors)
    table = anova_table(made(tmp_path, factors, values), runs.METRIC).set_index("source")
    names = list(factors)
    sources = [term for size in range(1, len(names) + 1) for term in itertools.combinations(range(len(names)), size)]
    expected = {" × ".join(names[axis] for axis in term): by_hand(values, term) for term in sources}
    expected["seed"] = by_hand(values, (len(names),))
    expected["residual"] = ((values - values.mean()) ** 2).sum() - sum(expected.values())
    assert table["sum_sq"].to_dict() == pytest.approx(expected, abs=1e-12)
    assert list(table.index) == list(expected)


def test_degrees_of_freedom_f_p_and_eta_follow_their_formulas(tmp_path):
    table = anova_table(made(tmp_path, TWO, noise(TWO)), runs.METRIC).set_index("source")
    assert table["df"].to_dict() == {"loss": 2, "sampler": 1, "loss × sampler": 2, "seed": 4, "residual": 20}
    rest = table.loc["residual"]
    for source, row in table.drop("residual").iterrows():
        f = (row["sum_sq"] / row["df"]) / (rest["sum_sq"] / 20)
        assert row["f"] == pytest.approx(f, rel=1e-9), source
        assert row["p_value"] == pytest.approx(stats.f.sf(f, row["df"], 20), rel=1e-9)
        assert row["eta_sq_partial"] == pytest.approx(row["sum_sq"] / (row["sum_sq"] + rest["sum_sq"]), rel=1e-9)
        assert row["mean_sq"] == pytest.approx(row["sum_sq"] / row["df"], rel=1e-9)
    assert rest[["f", "p_value", "eta_sq_partial"]].isna().all()
    assert set(table["n"]) == {SEEDS}


def test_one_factor_without_differences_between_seeds_is_scipys_one_way_test(tmp_path):
    """Blocks whose means are equal take nothing but degrees of freedom: F scales with what the residual has left."""
    factors = {"loss": ["a", "b", "c"]}
    values = noise(factors)
    values -= values.mean(axis=0) - values.mean()
    table = anova_table(made(tmp_path, factors, values), runs.METRIC).set_index("source")
    one_way = stats.f_oneway(*values)
    assert table.loc["seed", "sum_sq"] == pytest.approx(0, abs=1e-12)
    assert table.loc["loss", "f"] == pytest.approx(one_way.statistic * 8 / 12, rel=1e-9)


def test_two_levels_give_the_square_of_the_paired_t(tmp_path):
    factors = {"loss": ["a", "b"]}
    values = noise(factors)
    row = anova_table(made(tmp_path, factors, values), runs.METRIC).set_index("source").loc["loss"]
    test = stats.ttest_rel(values[1], values[0])
    assert row["f"] == pytest.approx(test.statistic**2, rel=1e-9)
    assert row["p_value"] == pytest.approx(test.pvalue, rel=1e-9)


def test_seeds_that_some_cell_lacks_are_left_out(tmp_path):
    values = noise(TWO)
    values[1, 1, 2] = np.nan
    table = anova_table(made(tmp_path / "a", TWO, values), runs.METRIC)
    rest = anova_table(made(tmp_path / "b", TWO, np.delete(values, 2, axis=-1)), runs.METRIC)
    pd.testing.assert_frame_equal(table, rest)


def test_a_combination_that_is_missing_or_anothers_twin_leaves_no_table(tmp_path):
    for change in ({"invalid": "no target"}, {"identical_to": "baseline"}):
        study = runs.factorial(TWO)
        study["cells"][-1] |= change
        outcomes = {cell["name"]: [0.5, 0.6, 0.7, 0.6, 0.5] for cell in study["cells"][:-1]}
        records = read_records(runs.write_outcomes(tmp_path / next(iter(change)), study, outcomes))
        table = anova_table(records, runs.METRIC)
        assert table.empty
        assert "eta_sq_partial" in table


@pytest.mark.parametrize("seeds", [0, 1])
def test_fewer_than_two_seeds_leave_no_table(tmp_path, seeds):
    study = runs.factorial(TWO)
    outcomes = {cell["name"]: [0.5] * seeds for cell in study["cells"]}
    assert anova_table(read_records(runs.write_outcomes(tmp_path, study, outcomes)), runs.METRIC).empty


def test_a_residual_of_mere_rounding_gives_no_f(tmp_path):
    values = noise(TWO)
    values = values.mean(axis=-1, keepdims=True) + np.linspace(0, 0.1, SEEDS)
    table = anova_table(made(tmp_path, TWO, values), runs.METRIC)
    assert table["f"].isna().all()
    assert (table["sum_sq"].iloc[:-1] > 1e-6).all()


def test_factors_may_have_any_names(tmp_path):
    factors = {"seed": ["C(x)", "~"], "a + b:c": ["1", "2"], "residual": ["on", "off"], "fixed": ["only"]}
    table = anova_table(made(tmp_path, factors, noise(factors)), runs.METRIC)
    assert table["source"].tolist()[:4] == ["seed", "a + b:c", "residual", "seed × a + b:c"]
    assert table["df"].sum() == 8 * SEEDS - 1


def test_beyond_four_factors_only_pairs_are_told_apart(tmp_path):
    factors = {name: ["0", "1"] for name in "abcde"}
    table = anova_table(made(tmp_path, factors, noise(factors, 3)), runs.METRIC)
    assert len(table) == 5 + 10 + 2
    assert table["df"].sum() == 32 * 3 - 1


def test_the_page_and_the_files_show_it(tmp_path):
    made(tmp_path, TWO, noise(TWO))
    text = write_report(tmp_path).read_text()
    assert "Analysis of variance" in text
    assert "loss × sampler" in text
    assert pd.read_csv(tmp_path / "report" / "anova.csv")["source"].tolist()[-2:] == ["seed", "residual"]
