"""A ladder's own table: rungs, means, and gains over the rung before and over the first."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.records.store import read_records
from analysis.report.build import write_report
from analysis.report.contents import report_tables
from analysis.tables.ablation import ablation_table
from analysis.tables.ladder_and_path import ladder_table
from tests.analysis import runs

pytestmark = pytest.mark.usefixtures("undrawn")

RUNGS = {
    "0 baseline": [0.50, 0.52, 0.49, 0.51, 0.50],
    "1 + bn": [0.60, 0.63, 0.58, 0.62, 0.61],
    "2 + flip": [0.61, 0.62, 0.59, 0.62, 0.60],
    "3 + crop": [0.70, 0.74, "diverged", 0.71, 0.72],
}


def study(**references):
    names = list(RUNGS)
    made = runs.study(names, range(5), design="ladder")
    made["comparisons"] = [
        runs.comparison("ladder", name, names[before], name, names[before])
        for rung, name in enumerate(names)
        for before in sorted({rung - 1, 0} - {rung, -1}, reverse=True)
    ]
    for cell in made["cells"]:
        cell["reference"] = references.get(cell["name"][0])
    return made


@pytest.fixture
def records(tmp_path):
    made = study()
    made["cells"][1]["reference"] = "61 %"
    return read_records(runs.write_outcomes(tmp_path, made, RUNGS))


def test_a_rung_has_the_mean_and_spread_of_all_its_seeds(records):
    table = ladder_table(records, ablation_table(records, runs.METRIC))
    assert list(table) == [
        *("rung", "metric", "mean", "std", "n", "n_failed", "n_diverged"),
        *(f"{name}_before" for name in ("delta", "ci_low", "ci_high", "p_holm", "verdict")),
        *(f"{name}_first" for name in ("delta", "ci_low", "ci_high", "p_holm", "verdict")),
        "reference",
    ]
    assert table["rung"].tolist() == list(RUNGS)
    for row, values in zip(table.to_dict("records"), RUNGS.values(), strict=True):
        known = [value for value in values if not isinstance(value, str)]
        assert (row["mean"], row["std"]) == pytest.approx((np.mean(known), np.std(known, ddof=1)), abs=1e-12)
        assert (row["n"], row["n_diverged"]) == (len(known), 5 - len(known))


def test_gains_are_paired_over_the_rung_before_and_over_the_first(records):
    table = ladder_table(records, ablation_table(records, runs.METRIC)).set_index("rung")
    flip, bn, first = (np.array(RUNGS[name]) for name in ("2 + flip", "1 + bn", "0 baseline"))
    row = table.loc["2 + flip"]
    for over, other in (("before", bn), ("first", first)):
        test = stats.ttest_rel(flip, other)
        low, high = test.confidence_interval(0.95)
        assert row[f"delta_{over}"] == pytest.approx((flip - other).mean(), abs=1e-12)
        assert (row[f"ci_low_{over}"], row[f"ci_high_{over}"]) == pytest.approx((low, high), abs=1e-9)


def test_corrections_and_verdicts_are_those_of_the_ablation_table(records):
    ablation = ablation_table(records, runs.METRIC).set_index(["level", "baseline_level"])
    table = ladder_table(records, ablation_table(records, runs.METRIC)).set_index("rung")
    names = list(RUNGS)
    for place, rung in enumerate(names[1:], 1):
        for over, other in (("before", names[place - 1]), ("first", names[0])):
            step = ablation.loc[(rung, other)]
            assert table.loc[rung, f"p_holm_{over}"] == step["p_holm"]
            assert table.loc[rung, f"verdict_{over}"] == step["verdict"]
    assert table.loc["3 + crop", "verdict_before"] == "unstable"


def test_the_first_rung_gains_over_nothing_and_the_second_the_same_over_both(records):
    table = ladder_table(records, ablation_table(records, runs.METRIC))
    assert table.iloc[0].filter(regex="_(before|first)$").isna().all()
    second = table.iloc[1]
    assert second["delta_before"] == second["delta_first"] == pytest.approx(0.104, abs=1e-12)


def test_a_ladder_that_never_started_has_its_rungs(tmp_path):
    records = read_records(runs.write(tmp_path, study(), []))
    table = ladder_table(records, ablation_table(records, runs.METRIC))
    assert table["rung"].tolist() == list(RUNGS)
    assert table["mean"].isna().all()
    write_report(tmp_path)


def test_the_page_shows_the_ladder_in_place_of_the_flat_table_which_stays_in_the_file(tmp_path):
    run = runs.write_outcomes(tmp_path, study(**{"1": "61 %"}), RUNGS)
    text = write_report(run).read_text()
    assert "over the rung before" in text
    assert "61 %" in text
    assert "p perm.</th>" not in text
    assert "no difference larger than ±" in text
    assert len(pd.read_csv(run / "report" / "ablation.csv")) == 5


def test_only_a_ladder_has_the_table(tmp_path):
    records = read_records(runs.write_outcomes(tmp_path, runs.study(), {"baseline": [0.5]}))
    assert "ladder" not in report_tables(records)
