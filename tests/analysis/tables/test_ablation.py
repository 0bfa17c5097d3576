"""What a level changes, in the words and numbers of ablation.csv."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.records.store import read_records
from analysis.tables.ablation import COMPARISON, ablation_table
from tests.analysis import runs

SEEDS = range(5)
BASE = [0.80, 0.81, 0.79, 0.82, 0.80]
MUCH = [0.90, 0.92, 0.88, 0.93, 0.91]
SOME = [0.81, 0.80, 0.80, 0.83, 0.79]
LITTLE = [0.60, 0.63, 0.57, 0.62, 0.61]


def table(path, outcomes, study=None, metric=runs.METRIC):
    run = runs.write_outcomes(path, study or runs.study(outcomes, SEEDS), outcomes, metric)
    return ablation_table(read_records(run), metric).set_index("level")


def test_columns_and_rows_are_the_contracts(tmp_path):
    made = table(tmp_path, {"baseline": BASE, "loss=b": MUCH, "loss=a": SOME}).reset_index()
    assert set(made) == {column.key for column in COMPARISON}
    assert made["level"].tolist() == ["b", "a"]
    assert made["metric"].tolist() == [runs.METRIC] * 2


def test_a_clear_gain_is_better_a_clear_loss_worse_and_noise_unclear(tmp_path):
    made = table(tmp_path, {"baseline": BASE, "loss=much": MUCH, "loss=some": SOME, "loss=little": LITTLE})
    assert made["verdict"].to_dict() == {"much": "better", "some": "no clear difference", "little": "worse"}


def test_of_a_minimised_metric_less_is_better(tmp_path):
    outcomes = {"baseline": BASE, "loss=little": LITTLE}
    study = runs.study(outcomes, SEEDS, metric="test_error_px")
    assert table(tmp_path, outcomes, study, "test_error_px").loc["little", "verdict"] == "better"


def test_a_row_holds_the_statistics_of_its_paired_differences(tmp_path):
    made = table(tmp_path, {"baseline": BASE, "loss=much": MUCH, "loss=some": SOME})
    d = np.subtract(MUCH, BASE)
    test = stats.ttest_rel(MUCH, BASE)
    row = made.loc["much"]
    assert row["delta"] == pytest.approx(d.mean(), abs=1e-9)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(test.confidence_interval(), abs=1e-9)
    assert row["p_value"] == pytest.approx(test.pvalue, abs=1e-9)
    assert row["p_holm"] == pytest.approx(2 * test.pvalue, abs=1e-9)
    assert row["p_permutation"] == 2 / 2**5
    assert row["effect_size"] == pytest.approx(d.mean() / d.std(ddof=1), abs=1e-9)


def test_only_seeds_that_both_cells_finished_are_paired(tmp_path):
    made = table(tmp_path, {"baseline": ["failed", *BASE[1:]], "loss=much": [*MUCH[:4], "running"]})
    row = made.loc["much"]
    assert row["n_pairs"] == 3
    assert row["delta"] == pytest.approx(np.subtract(MUCH[1:4], BASE[1:4]).mean(), abs=1e-12)
    assert row["baseline_mean"] == pytest.approx(np.mean(BASE[1:4]), abs=1e-12)


def test_broken_trials_are_counted_in_the_levels_cell(tmp_path):
    made = table(tmp_path, {"baseline": BASE, "loss=much": ["failed", "diverged", *MUCH[2:]]})
    assert made.loc["much", ["n_pairs", "n_failed", "n_diverged"]].tolist() == [3, 1, 1]


def test_fewer_than_three_pairs_are_too_few_however_clear(tmp_path):
    made = table(tmp_path, {"baseline": BASE[:2], "loss=much": MUCH[:2]})
    assert made.loc["much", "verdict"] == "too few runs"
    assert made.loc["much", "p_value"] < 1


def test_one_pair_has_a_difference_and_no_test(tmp_path):
    row = table(tmp_path, {"baseline": BASE[:1], "loss=much": MUCH[:1]}).loc["much"]
    assert row["delta"] == pytest.approx(0.1, abs=1e-12)
    assert row[["ci_low", "ci_high", "p_value", "p_holm", "p_permutation", "effect_size"]].isna().all()


@pytest.mark.parametrize(
    ("baseline", "level", "verdict"),
    [
        (BASE, ["diverged"] * 5, "unstable"),
        (BASE[:1], ["diverged"], "unstable"),
        (BASE, ["diverged"] * 4 + ["failed"], "unstable"),
        (["diverged"] * 5, ["diverged"] * 5, "unstable"),
        (BASE, ["diverged"] * 4 + MUCH[4:], "unstable"),  # one pair
        (["diverged", *BASE[1:]], ["diverged", "failed", "failed", *MUCH[3:]], "too few runs"),  # no more than it
        (BASE[:2], ["diverged", MUCH[1]], "too few runs"),
        (BASE, ["failed"] * 5, "too few runs"),
        (["diverged"] * 5, MUCH, "too few runs"),
    ],
)
def test_a_level_that_diverges_always_or_in_enough_seeds_is_unstable(tmp_path, baseline, level, verdict):
    row = table(tmp_path, {"baseline": baseline, "loss=much": level}).loc["much"]
    assert (row["n_diverged"], row["verdict"]) == (level.count("diverged"), verdict)


def test_a_level_that_always_diverged_has_nulls(tmp_path):
    row = table(tmp_path, {"baseline": BASE, "loss=much": ["diverged"] * 5}).loc["much"]
    assert row["n_pairs"] == 0
    assert row[["delta", "baseline_mean", "p_value"]].isna().all()


def test_more_divergence_than_the_baseline_is_unstable_even_where_it_is_better(tmp_path):
    made = table(tmp_path, {"baseline": BASE, "loss=much": ["diverged", *MUCH[1:]]})
    assert made.loc["much", "verdict"] == "unstable"


def test_as_much_divergence_as_the_baseline_is_not_unstable(tmp_path):
    made = table(tmp_path, {"baseline": ["diverged", *BASE[1:]], "loss=much": ["diverged", *MUCH[1:]]})
    assert made.loc["much", "verdict"] == "better"


def test_a_cell_that_resolved_to_the_baseline_is_identical(tmp_path):
    study = runs.study(["baseline", "loss=same", "loss=much"], SEEDS)
    study["cells"][1]["identical_to"] = "baseline"
    made = table(tmp_path, {"baseline": BASE, "loss=much": MUCH}, study)
    assert made.loc["same", ["n_pairs", "delta", "p_value", "verdict"]].tolist() == [5, 0, 1, "identical"]


def test_a_cell_that_resolved_to_another_level_takes_its_trials(tmp_path):
    study = runs.study(["baseline", "loss=much", "loss=twin"], SEEDS)
    study["cells"][2]["identical_to"] = "loss=much"
    made = table(tmp_path, {"baseline": BASE, "loss=much": MUCH}, study)
    assert made.loc["twin", "delta"] == made.loc["much", "delta"]
    assert made["verdict"].to_dict() == {"much": "better", "twin": "better"}


def test_a_ladder_compares_each_rung_with_the_one_before_and_with_the_first(tmp_path):
    outcomes = {"0": BASE, "1": SOME, "2": MUCH}
    study = runs.study(outcomes, SEEDS)
    steps = [("1", "0"), ("2", "1"), ("2", "0")]
    study["comparisons"] = [runs.comparison("ladder", rung, base, rung, base) for rung, base in steps]
    run = runs.write_outcomes(tmp_path, study, outcomes)
    made = ablation_table(read_records(run), runs.METRIC)
    means = {name: np.mean(values) for name, values in outcomes.items()}
    assert made["delta"].tolist() == pytest.approx([means[a] - means[b] for a, b in steps], abs=1e-12)
    assert made["baseline_level"].tolist() == ["0", "1", "0"]


def test_the_sources_figure_stands_beside_the_primary_metric_only(tmp_path):
    study = runs.study(["baseline", "loss=much"], SEEDS)
    study["cells"][1]["reference"] = "0.91 (text)"
    records = read_records(runs.write_outcomes(tmp_path, study, {"baseline": BASE, "loss=much": MUCH}))
    assert ablation_table(records, runs.METRIC)["reference"].tolist() == ["0.91 (text)"]
    assert ablation_table(records, "val_roughness")["reference"].isna().all()


def test_a_metric_that_nobody_recorded_gives_rows_without_figures(tmp_path):
    study = runs.study(["baseline", "loss=much"], SEEDS)
    records = read_records(runs.write_outcomes(tmp_path, study, {"baseline": BASE, "loss=much": MUCH}))
    row = ablation_table(records, "test_nme").iloc[0]
    assert (row["n_pairs"], row["verdict"]) == (0, "too few runs")
    assert pd.isna(row["delta"])


def test_a_study_of_one_cell_has_an_empty_table(tmp_path):
    made = table(tmp_path, {"baseline": BASE}).reset_index()
    assert made.empty
    assert set(made) == {column.key for column in COMPARISON}
