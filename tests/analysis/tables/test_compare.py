"""Two runs side by side."""

import io
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analysis.console import console_table
from analysis.tables.compare import CompareError, compare_runs
from tests.analysis import runs
from tests.conftest import ROOT

CELL_COLUMNS = [
    *("cell", "metric", "test", "n_pairs", "n_a", "n_b", "n_failed_a", "n_failed_b", "n_diverged_a", "n_diverged_b"),
    *("mean_a", "mean_b", "delta", "ci_low", "ci_high", "p_value", "p_holm", "verdict"),
]
BASE = [0.80, 0.81, 0.79, 0.82, 0.80]
MUCH = [0.90, 0.92, 0.88, 0.93, 0.91]
SAME = {"loss": {"name": "ce"}, "optimizer": {"lr": 0.01}}
OTHER = {"loss": {"name": "ce"}, "optimizer": {"lr": 0.02}}


def write(path, outcomes, study=None, config=SAME, configs=None, **changes):
    study = (study or runs.study(outcomes, range(5))) | changes
    configs = configs or dict.fromkeys(outcomes, config)
    return runs.write_outcomes(path, study, outcomes, study["metric"], configs)


def pair(tmp_path, outcomes_a, outcomes_b, changes_a=None, changes_b=None):
    return compare_runs(
        write(tmp_path / "a", outcomes_a, **(changes_a or {})), write(tmp_path / "b", outcomes_b, **(changes_b or {}))
    )


def cell(comparison, name="baseline"):
    return comparison.tables["compare"].set_index("cell").loc[name]


# Cells


def test_equal_data_are_compared_seed_by_seed(tmp_path):
    comparison = pair(tmp_path, {"baseline": BASE, "loss=a": BASE}, {"baseline": MUCH, "loss=a": BASE[::-1]})
    table = comparison.tables["compare"]
    assert list(table) == CELL_COLUMNS
    row = cell(comparison)
    test = stats.ttest_rel(MUCH, BASE)
    interval = test.confidence_interval()
    assert (row["test"], row["n_pairs"], row["n_a"], row["n_b"]) == ("paired", 5, 5, 5)
    assert (row["mean_a"], row["mean_b"]) == pytest.approx((np.mean(BASE), np.mean(MUCH)))
    assert row["delta"] == pytest.approx(np.mean(MUCH) - np.mean(BASE))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((interval.low, interval.high))
    assert row["p_value"] == pytest.approx(test.pvalue)
    assert table["p_holm"].tolist() == pytest.approx(multipletests(table["p_value"], method="holm")[1].tolist())
    assert table["verdict"].tolist() == ["B better", "no clear difference"]


def test_the_other_way_round_b_is_worse_and_of_an_error_less_is_better(tmp_path):
    assert cell(pair(tmp_path / "1", {"baseline": MUCH}, {"baseline": BASE}))["verdict"] == "B worse"
    error = {"metric": "test_error_px"}
    assert cell(pair(tmp_path / "2", {"baseline": MUCH}, {"baseline": BASE}, error, error))["verdict"] == "B better"


def test_of_unequal_seeds_the_common_ones_are_compared_and_the_means_are_theirs(tmp_path):
    row = cell(pair(tmp_path, {"baseline": BASE}, {"baseline": [*MUCH[:3], "failed", "running"]}))
    assert (row["test"], row["n_pairs"], row["n_a"], row["n_b"], row["n_failed_b"]) == ("paired", 3, 5, 3, 1)
    assert row["mean_a"] == pytest.approx(np.mean(BASE[:3]))
    assert row["delta"] == pytest.approx(row["mean_b"] - row["mean_a"])


@pytest.mark.parametrize(
    "changes", [{"data": {"fingerprint": "beef"}}, {"data": {}}, {"study": runs.study(["baseline"], range(5, 10))}]
)
def test_other_data_or_other_seeds_are_compared_without_pairs(tmp_path, changes):
    row = cell(pair(tmp_path, {"baseline": BASE}, {"baseline": MUCH[:4]}, None, changes))
    test = stats.ttest_ind(MUCH[:4], BASE, equal_var=False)
    interval = test.confidence_interval()
    assert (row["test"], row["n_pairs"], row["n_a"], row["n_b"]) == ("unpaired", 0, 5, 4)
    assert (row["mean_a"], row["mean_b"]) == pytest.approx((np.mean(BASE), np.mean(MUCH[:4])))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((interval.low, interval.high))
    assert row["p_value"] == pytest.approx(test.pvalue)
    assert row["verdict"] == "B better"


def test_two_common_seeds_of_five_do_not_stand_for_all(tmp_path):
    """A pair of pairs allows no statement, five against five do."""
    row = cell(pair(tmp_path, {"baseline": BASE}, {"baseline": MUCH}, None, {"study": runs.study(seeds=range(3, 8))}))
    assert (row["test"], row["verdict"]) == ("unpaired", "B better")


@pytest.mark.parametrize(("n_a", "n_b"), [(1, 1), (2, 2), (1, 5), (0, 5), (5, 0), (0, 0)])
def test_fewer_than_three_runs_say_nothing_and_show_what_there_is(tmp_path, n_a, n_b):
    row = cell(pair(tmp_path, {"baseline": BASE[:n_a]}, {"baseline": MUCH[:n_b]}))
    assert (row["n_a"], row["n_b"], row["verdict"]) == (n_a, n_b, "too few runs")
    assert pd.notna(row["delta"]) == (n_a > 0 and n_b > 0)
    assert pd.notna(row["mean_b"]) == (n_b > 0)


def test_a_cell_of_one_run_is_listed_with_what_there_is(tmp_path):
    outcomes_a, outcomes_b = {"baseline": BASE, "loss=a": MUCH}, {"loss=b": MUCH, "baseline": BASE}
    table = pair(tmp_path, outcomes_a, outcomes_b).tables["compare"]
    assert table["cell"].tolist() == ["baseline", "loss=a", "loss=b"]
    assert table["verdict"].tolist() == ["identical", "only in A", "only in B"]
    assert table["mean_a"].tolist()[1] == pytest.approx(np.mean(MUCH))
    assert table["mean_b"].tolist()[2] == pytest.approx(np.mean(MUCH))
    assert table["p_value"].notna().tolist() == [True, False, False]


def test_one_configuration_with_one_outcome_is_identical_even_with_one_seed(tmp_path):
    assert cell(pair(tmp_path, {"baseline": BASE[:1]}, {"baseline": BASE[:1]}))["verdict"] == "identical"


def test_another_configuration_with_the_same_outcome_is_not_identical(tmp_path):
    row = cell(pair(tmp_path, {"baseline": BASE}, {"baseline": BASE}, None, {"config": OTHER}))
    assert (row["p_value"], row["verdict"]) == (1.0, "no clear difference")


def test_a_configuration_that_did_not_repeat_itself_is_not_identical(tmp_path):
    again = [BASE[0] + 0.01, *BASE[1:]]
    comparison = pair(tmp_path, {"baseline": BASE}, {"baseline": again})
    assert cell(comparison)["verdict"] == "no clear difference"
    assert any("5 finished trials stand in both runs" in note and "4 of them" in note for note in comparison.notes)


def test_the_run_that_diverged_more_is_unstable(tmp_path):
    broken = {"baseline": ["diverged", *MUCH[1:]]}
    assert cell(pair(tmp_path / "1", {"baseline": BASE}, broken))["verdict"] == "B unstable"
    assert cell(pair(tmp_path / "2", broken, {"baseline": BASE}))["verdict"] == "A unstable"
    assert cell(pair(tmp_path / "3", broken, {"baseline": ["diverged", *BASE[1:4]]}))["verdict"] == "B worse"


def test_a_level_that_equals_the_baseline_is_compared_by_the_baselines_trials(tmp_path):
    study = runs.study(["baseline", "loss=same"], range(5))
    study["cells"][1]["identical_to"] = "baseline"
    changes = {"study": study}
    row = cell(pair(tmp_path, {"baseline": BASE}, {"baseline": MUCH}, changes, changes), "loss=same")
    assert (row["n_pairs"], row["verdict"]) == (5, "B better")


# Welch's test


def test_equal_values_that_never_vary_have_p_one_and_unequal_ones_that_of_the_permutation_test():
    from analysis.statistics.hypothesis_tests import unpaired

    constant = np.array([0.1] * 4)
    assert unpaired(constant, constant + 1e-17).p_value == 1.0
    apart = unpaired(constant, constant[:3] + 0.2)
    reference = stats.permutation_test(
        (constant[:3] + 0.2, constant), lambda x, y: abs(np.mean(x) - np.mean(y)), alternative="greater"
    )
    assert apart.p_value == pytest.approx(reference.pvalue)
    assert (apart.ci_low, apart.ci_high) == (apart.delta, apart.delta)
    assert unpaired(constant, constant + 0.2).p_value == pytest.approx(2 / 70)


# Searches


def search(path, points, keys=("optimizer.lr",), seeds=(0, 1, 2), **changes):
    """A search with a cell a point: (name, configuration, outcomes)."""
    outcomes = {name: values for name, _, values in points}
    configs = {name: config for name, config, _ in points}
    return write(path, outcomes, runs.search(keys, seeds), configs=configs, **changes)


def lr(value, **more):
    return {"optimizer": {"lr": value}, "schedule": {"warmup": 0.1}} | more


def test_a_searchs_configurations_are_matched_by_what_varies_whatever_their_names(tmp_path):
    a = search(tmp_path / "a", [("h1", lr(0.1), BASE[:3]), ("h2", lr(0.2), MUCH[:3]), ("h3", lr(3), [0.1])])
    b = search(tmp_path / "b", [("k1", lr(0.2, extra=1), BASE[:3]), ("k2", lr(0.5), [0.5]), ("k3", lr(3.0), [0.2])])
    table = compare_runs(a, b).tables["compare"]
    rows = table[["cell", "cell_b", "verdict"]].astype(object).where(table.notna(), None).values.tolist()
    assert rows == [
        ["h2", "k1", "B worse"],
        ["h3", "k3", "too few runs"],
        ["h1", None, "only in A"],
        ["k2", "k2", "only in B"],
    ]
    assert table["optimizer.lr"].tolist() == [0.2, 3, 0.1, 0.5]
    assert "schedule.warmup" not in table


def test_a_setting_that_only_one_search_varies_counts(tmp_path):
    points = [("h1", lr(0.1, schedule={"warmup": value}), [0.5]) for value in (0.1,)]
    a = search(tmp_path / "a", points)
    more = [(f"k{value}", lr(0.1, schedule={"warmup": value}), [0.5]) for value in (0.2, 0.1)]
    b = search(tmp_path / "b", more, ("optimizer.lr", "schedule.warmup"))
    table = compare_runs(a, b).tables["compare"].set_index("cell")
    assert table.loc["h1", "cell_b"] == "k0.1"
    assert table.loc["k0.2", "verdict"] == "only in B"


def test_lists_and_mixed_settings_match_though_their_columns_are_typed_otherwise(tmp_path):
    placed = {"model": {"after": ["conv1"], "mode": "x"}}
    a = search(tmp_path / "a", [("h1", placed, [0.5])], ("model.after", "model.mode"))
    mixed = [("k0", {"model": {"after": [], "mode": ["x"]}}, [0.5]), ("k1", placed, [0.6])]
    b = search(tmp_path / "b", mixed, ("model.after", "model.mode"))
    assert compare_runs(a, b).tables["compare"].set_index("cell").loc["h1", "cell_b"] == "k1"


def test_a_search_meets_the_ablation_that_confirms_its_winner(tmp_path):
    a = search(tmp_path / "a", [("h1", lr(0.1), BASE[:3]), ("h2", lr(0.2), MUCH[:3])])
    study = runs.study(["baseline", "loss=win"], range(10, 15))
    study["factors"][0]["levels"] = [
        {"name": "ce", "settings": {"optimizer.lr": 0.1}},
        {"name": "win", "settings": {"optimizer.lr": 0.2}},
    ]
    configs = {"baseline": lr(0.1), "loss=win": lr(0.2)}
    b = write(tmp_path / "b", {"baseline": BASE, "loss=win": BASE}, study, configs=configs)
    comparison = compare_runs(a, b)
    row = cell(comparison, "h2")
    assert (row["cell_b"], row["test"], row["verdict"]) == ("loss=win", "unpaired", "B worse")
    assert set(comparison.tables) == {"compare", "compare_differences"}


# Ablations


def test_effects_stand_side_by_side_and_say_whether_they_agree(tmp_path):
    names = ["baseline", "loss=a", "loss=b", "loss=c", "loss=d", "loss=e"]
    up, down = MUCH, [0.70, 0.72, 0.68, 0.73, 0.71]
    outcomes_a = dict(zip(names, [BASE, up, up, up, up, up], strict=True))
    outcomes_b = dict(zip(names, [BASE, up, BASE[::-1], down, up[:2]], strict=False))
    comparison = pair(tmp_path, outcomes_a, outcomes_b)
    table = comparison.tables["compare_ablation"].set_index("level")
    assert table["verdict_a"].tolist() == ["better"] * 5
    assert table["verdict_b"].tolist() == ["better", "no clear difference", "worse", "too few runs", ""]
    assert table["agree"].to_dict() == {"a": "yes", "b": "partly", "c": "no", "d": "unknown", "e": "unknown"}
    assert table.loc["a", ["delta_a", "delta_b"]].tolist() == pytest.approx([0.104, 0.104])
    assert table["n_pairs_b"].tolist() == [5, 5, 5, 2, 0]
    assert "not there" in printed(comparison, "compare_ablation")


def test_further_metrics_that_both_runs_report_are_compared_too(tmp_path):
    outcomes = {"baseline": BASE, "loss=a": MUCH}
    a = {"further_metrics": ["val_roughness", "val_jumps"]}
    table = pair(tmp_path, outcomes, outcomes, a, {"further_metrics": ["val_roughness"]}).tables["compare_ablation"]
    assert table["metric"].tolist() == [runs.METRIC, "val_roughness"]


# Runs in every state


@pytest.mark.parametrize("kind", ["ablation", "search"])
@pytest.mark.parametrize("outcomes", [None, [], ["running"], ["failed"], ["diverged", "stopped"], [0.5]])
def test_runs_in_any_state_are_compared_and_printed(tmp_path, kind, outcomes):
    def one(name, values):
        study = runs.study(["baseline", "loss=a"]) if kind == "ablation" else runs.search()
        cells = {} if values is None else {"baseline": values, "loss=a": values}
        configs = {"baseline": lr(0.1), "loss=a": lr(0.2)}
        return write(tmp_path / name, cells, study, configs=configs)

    full = one("full", BASE[:3])
    other = one("other", outcomes)
    # Cells of a search exist once a trial of theirs has started.
    known = 2 if kind == "ablation" or outcomes else 0
    for pair_of_runs in ((full, other), (other, full), (other, other)):
        comparison = compare_runs(*pair_of_runs)
        assert len(comparison.tables["compare"]) == (2 if full in pair_of_runs else known)
        for table in comparison.tables:
            assert max(map(len, printed(comparison, table).splitlines())) <= 100


def test_a_run_without_a_log_is_compared(tmp_path):
    run = write(tmp_path / "a", {"baseline": BASE})
    (run / "log.jsonl").unlink()
    assert cell(compare_runs(run, write(tmp_path / "b", {"baseline": BASE})))["verdict"] == "too few runs"


def test_runs_that_cannot_be_compared_are_refused_with_every_reason(tmp_path):
    a = write(tmp_path / "a", {"baseline": BASE})
    b = write(tmp_path / "b", {"baseline": BASE}, workload="faces", metric="test_accuracy")
    with pytest.raises(CompareError) as caught:
        compare_runs(a, b)
    assert caught.value.faults == [
        "the runs differ in their workload: 'digits' in A, 'faces' in B",
        "the runs differ in their metric: 'test_balanced_accuracy' in A, 'test_accuracy' in B",
    ]
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "study.json").write_text("{")
    with pytest.raises(CompareError) as caught:
        compare_runs(tmp_path / "none", tmp_path / "torn")
    assert len(caught.value.faults) == 2
    assert "none is not a run directory" in caught.value.faults[0]
    assert "torn" in caught.value.faults[1]


# Files and the command line


def printed(comparison, name="compare"):
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(console_table(name, comparison.tables[name]))
    return console.export_text()


def test_the_terminal_shows_both_means_the_difference_and_the_test(tmp_path):
    comparison = pair(tmp_path, {"baseline": BASE}, {"baseline": MUCH})
    line = next(line for line in printed(comparison).splitlines() if "baseline" in line)
    for text in ("0.804", "0.908", "+0.104 [0.0", "paired", "B better"):
        assert text in line


def test_a_long_table_is_cut_in_the_terminal_and_says_so(tmp_path):
    points = [(f"h{i}", lr(0.1 * i), [0.5]) for i in range(45)]
    run = search(tmp_path, points)
    assert "5 more rows; --out DIR writes them all" in printed(compare_runs(run, run))


def command(*arguments):
    """`run_search.py compare` with what it loaded of the heavy packages as its last line."""
    code = (
        "import atexit, sys, run_search\n"
        "heavy = {'torch', 'ray', 'optuna', 'trainables', 'engine.planning.plan'}\n"
        "atexit.register(lambda: print(heavy & set(sys.modules)))\n"
        f"run_search.main({['compare', *map(str, arguments)]!r})"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.matrix
def test_the_command_prints_and_writes_the_tables_and_loads_nothing_heavy(tmp_path):
    outcomes = {"baseline": BASE, "loss=a": MUCH}
    a, b = write(tmp_path / "a", outcomes), write(tmp_path / "b", outcomes)
    done = command(a, b, "--out", tmp_path / "made" / "here")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"
    assert "identical" in done.stdout
    names = [
        f"{name}.{end}"
        for name in ("compare", "compare_ablation", "compare_differences")
        for end in ("csv", "md", "parquet", "tex")
    ]
    assert sorted(path.name for path in (tmp_path / "made" / "here").iterdir()) == sorted(names)
    written = pd.read_csv(tmp_path / "made" / "here" / "compare.csv")
    assert list(written) == CELL_COLUMNS


def test_the_command_refuses_with_a_line_a_fault_and_status_two(tmp_path, cli_here):
    a = write(tmp_path / "a", {"baseline": BASE})
    b = write(tmp_path / "b", {"baseline": BASE}, metric="test_accuracy", workload="faces")
    refused = cli_here("compare", a, b)
    assert refused.returncode == 2
    assert refused.stderr.count("error: the runs differ in their") == 2
    (tmp_path / "file").write_text("")
    unwritable = cli_here("compare", a, a, "--out", tmp_path / "file")
    assert unwritable.returncode == 2
    assert "cannot be written" in unwritable.stderr


def test_nothing_in_the_runs_is_changed(tmp_path):
    a, b = write(tmp_path / "a", {"baseline": BASE}), write(tmp_path / "b", {"baseline": MUCH})
    compare_runs(a, b)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "a",
        "b",
        "log.jsonl",
        "log.jsonl",
        "study.json",
        "study.json",
    ]
    assert json.loads((a / "study.json").read_text())["name"] == "digits/losses"
