"""Main effects and interactions of factorials, by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.records.store import read_records
from analysis.tables.factorial import effects_table, interactions_table
from tests.analysis import runs

TWO = {"loss": ["ce", "cb"], "sampler": ["uniform", "weighted"]}
THREE = {"a": ["0", "1", "2"], "b": ["0", "1"], "c": ["0", "1"]}


def made(path, factors, breaks=()):
    """Records of a factorial with random outcomes; and the outcomes by levels, shaped [levels…, seed]."""
    rng = np.random.default_rng(0)
    study = runs.factorial(factors)
    values = rng.normal(0.8, 0.05, [len(levels) for levels in factors.values()] + [5])
    outcomes = {}
    for cell in study["cells"]:
        index = tuple(levels.index(cell["levels"][name]) for name, levels in factors.items())
        outcomes[cell["name"]] = [
            "failed" if (cell["name"], seed) in breaks else float(values[index][seed]) for seed in range(5)
        ]
    return read_records(runs.write_outcomes(path, study, outcomes)), values


def test_a_main_effect_is_averaged_over_the_other_factor_within_each_seed(tmp_path):
    records, values = made(tmp_path, TWO)
    table = effects_table(records, runs.METRIC).set_index("factor")
    expected = {"loss": values[1].mean(0) - values[0].mean(0), "sampler": values[:, 1].mean(0) - values[:, 0].mean(0)}
    for factor, d in expected.items():
        row = table.loc[factor]
        assert row["delta"] == pytest.approx(d.mean(), abs=1e-9)
        assert row["p_value"] == pytest.approx(stats.ttest_1samp(d, 0).pvalue, abs=1e-9)
        assert row["n_pairs"] == 5
    assert table["baseline_level"].tolist() == ["ce", "uniform"]


def test_an_interaction_is_the_difference_of_differences(tmp_path):
    records, values = made(tmp_path, TWO)
    row = interactions_table(records, runs.METRIC).iloc[0]
    d = values[1, 1] - values[1, 0] - values[0, 1] + values[0, 0]
    test = stats.ttest_1samp(d, 0)
    assert row[["factor_a", "level_a", "factor_b", "level_b"]].tolist() == ["loss", "cb", "sampler", "weighted"]
    assert row["interaction"] == pytest.approx(d.mean(), abs=1e-9)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(test.confidence_interval(0.95)), abs=1e-9)
    assert row["p_value"] == pytest.approx(test.pvalue, abs=1e-9)


def test_with_three_factors_the_third_is_averaged_out(tmp_path):
    records, values = made(tmp_path, THREE)
    effects = effects_table(records, runs.METRIC).set_index(["factor", "level"])
    assert effects.index.tolist() == [("a", "1"), ("a", "2"), ("b", "1"), ("c", "1")]
    assert effects.loc[("a", "2"), "delta"] == pytest.approx((values[2] - values[0]).mean(), abs=1e-9)
    table = interactions_table(records, runs.METRIC).set_index(["factor_a", "level_a", "factor_b", "level_b"])
    assert len(table) == 2 + 2 + 1
    corner = values[2, 1] - values[2, 0] - values[0, 1] + values[0, 0]
    assert table.loc[("a", "2", "b", "1"), "interaction"] == pytest.approx(corner.mean(), abs=1e-9)
    d = corner.mean(axis=0)
    assert table.loc[("a", "2", "b", "1"), "p_value"] == pytest.approx(stats.ttest_1samp(d, 0).pvalue, abs=1e-9)


def test_only_seeds_complete_over_all_cells_enter_an_average(tmp_path):
    records, values = made(tmp_path, TWO, breaks={("loss=cb", 0), ("baseline", 3)})
    row = effects_table(records, runs.METRIC).set_index("factor").loc["loss"]
    kept = [1, 2, 4]
    assert (row["n_pairs"], row["n_failed"]) == (3, 1)
    assert row["delta"] == pytest.approx((values[1].mean(0) - values[0].mean(0))[kept].mean(), abs=1e-9)
    assert interactions_table(records, runs.METRIC).iloc[0]["n_pairs"] == 3


def test_an_invalid_cell_and_its_partners_are_left_out_of_the_average(tmp_path):
    study = runs.factorial(TWO)
    next(cell for cell in study["cells"] if cell["name"] == "loss=cb,sampler=weighted")["invalid"] = "no target"
    outcomes = {"baseline": [0.1, 0.2, 0.3], "loss=cb": [0.2, 0.4, 0.3], "sampler=weighted": [0.5, 0.5, 0.6]}
    records = read_records(runs.write_outcomes(tmp_path, study, outcomes))
    assert effects_table(records, runs.METRIC).set_index("factor").loc["loss", "delta"] == pytest.approx(0.1)
    row = interactions_table(records, runs.METRIC).iloc[0]
    assert row["n_pairs"] == 0
    assert pd.isna(row["interaction"])


def test_one_seed_gives_effects_without_tests(tmp_path):
    study = runs.factorial(TWO, [0])
    names = [cell["name"] for cell in study["cells"]]
    records = read_records(runs.write_outcomes(tmp_path, study, {name: [0.5] for name in names}))
    assert effects_table(records, runs.METRIC)["verdict"].tolist() == ["too few runs"] * 2
    assert interactions_table(records, runs.METRIC)["p_value"].isna().all()


def test_a_factorial_of_one_factor_has_no_interactions_but_their_columns(tmp_path):
    records, _ = made(tmp_path, {"loss": ["ce", "cb"]})
    table = interactions_table(records, runs.METRIC)
    assert table.empty
    assert "interaction" in table
