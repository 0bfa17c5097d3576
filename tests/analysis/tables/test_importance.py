"""Importance of a search's settings, against Optuna called directly and functions whose answer is known."""

import subprocess
import sys
import warnings

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances

from analysis.records.store import read_records
from analysis.report.build import write_report
from analysis.report.contents import search_figures
from analysis.report.search_narrative import search_notes
from analysis.tables.search.importance import (
    BY_THEMSELVES,
    COLUMNS,
    FANOVA_CONFIGURATIONS,
    importance_note,
    importance_table,
)
from analysis.tables.search.results import SearchResults, search_tables
from tests.analysis import runs, searches

pytestmark = pytest.mark.usefixtures("undrawn")

SPACE = [searches.LR, searches.MOMENTUM, searches.DECAY, searches.LAYERS, searches.WIDTH]


def draws(n, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        yield {
            "optimizer.lr": float(10 ** rng.uniform(-4, 0)),
            "optimizer.momentum": float(rng.uniform()),
            "optimizer.weight_decay": float(rng.uniform()),
            "model.bn_after": searches.LAYERS["choices"][rng.integers(3)],
            "model.hidden": int(rng.integers(1, 65)),
        }


def search(path, value, n=60, space=SPACE, **changes):
    trials = [searches.trial(f"c{i}", point, value(point), **changes) for i, point in enumerate(draws(n))]
    return SearchResults(read_records(searches.write(path, space, trials)))


def weighed(point):
    return (10 * point["optimizer.momentum"] + point["optimizer.weight_decay"]) / 12


def by_setting(table, column):
    return dict(zip(table["setting"], table[column], strict=True))


def direct(value, n, evaluator):
    """Optuna's own answer on a study made by hand, its log range given as logarithms."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    domains = {
        "optimizer.lr": FloatDistribution(-4, 0),
        "optimizer.momentum": FloatDistribution(0, 1),
        "optimizer.weight_decay": FloatDistribution(0, 1),
        "model.bn_after": CategoricalDistribution(["none", "conv1", "conv1+conv2"]),
        "model.hidden": IntDistribution(1, 64),
    }
    for point in draws(n):
        params = point | {
            "optimizer.lr": float(np.log10(point["optimizer.lr"])),
            "model.bn_after": "+".join(point["model.bn_after"]) or "none",
        }
        study.add_trial(optuna.trial.create_trial(params=params, distributions=domains, value=value(point)))
    return get_param_importances(study, evaluator=evaluator)


def test_both_importances_are_optunas_own(tmp_path):
    table = importance_table(search(tmp_path, weighed).by_objective)
    expected = direct(weighed, 60, FanovaImportanceEvaluator(seed=0))
    assert by_setting(table, "importance_fanova") == pytest.approx(expected, abs=1e-6)
    expected = direct(weighed, 60, PedAnovaImportanceEvaluator(target_quantile=0.1))
    assert by_setting(table, "importance_ped_anova") == pytest.approx(expected, abs=1e-6)
    assert list(table) == list(COLUMNS)


def test_a_setting_that_matters_ten_times_as_much_comes_first_and_one_that_does_not_last(tmp_path):
    """Of 10 a + b the variance of a is a hundred times that of b."""
    table = importance_table(search(tmp_path, weighed, n=150).by_objective)
    fanova = by_setting(table, "importance_fanova")
    assert table["setting"].tolist()[0] == "optimizer.momentum"
    assert table["rank"].tolist() == [1, 2, 3, 4, 5]
    assert fanova["optimizer.momentum"] > 0.97
    assert fanova["optimizer.weight_decay"] == pytest.approx(1 / 101, abs=0.01)
    assert max(fanova["model.bn_after"], fanova["optimizer.lr"], fanova["model.hidden"]) < 0.005
    ped_anova = by_setting(table, "importance_ped_anova")
    assert max(ped_anova, key=ped_anova.get) == "optimizer.momentum"
    assert ped_anova["optimizer.momentum"] > 0.8
    assert table[["importance_fanova", "importance_ped_anova"]].sum().tolist() == pytest.approx([1, 1])


def test_a_log_range_is_weighed_by_its_decades(tmp_path):
    """A step at the middle of the decades and one at the middle of a linear range of the same height are equals."""

    def steps(point):
        return 0.4 * (point["optimizer.lr"] > 1e-2) + 0.4 * (point["optimizer.momentum"] > 0.5)

    fanova = by_setting(importance_table(search(tmp_path, steps, n=200).by_objective), "importance_fanova")
    assert fanova["optimizer.lr"] == pytest.approx(0.5, abs=0.06)
    assert fanova["optimizer.momentum"] == pytest.approx(0.5, abs=0.06)


def test_ranges_with_a_step_are_judged_over_their_steps(tmp_path):
    """A setting that decides all, in steps; the records hold 0.3, which is no sum of Optuna's."""
    momentum = {**searches.MOMENTUM, "low": 0.1, "high": 0.9, "step": 0.1}
    width = {**searches.WIDTH, "low": 8.0, "high": 64.0, "step": 8.0}
    points = [{"optimizer.momentum": (1 + i % 9) / 10, "model.hidden": 8 * (1 + i * 5 % 8)} for i in range(72)]
    trials = [searches.trial(f"c{i}", point, point["optimizer.momentum"]) for i, point in enumerate(points)]
    table = importance_table(
        SearchResults(read_records(searches.write(tmp_path / "run", [momentum, width], trials))).by_objective
    )
    assert by_setting(table, "importance_fanova")["optimizer.momentum"] > 0.95
    assert by_setting(table, "importance_ped_anova")["optimizer.momentum"] > 0.8


def test_categories_count_lists_among_them(tmp_path):
    table = importance_table(search(tmp_path, lambda point: 0.2 * len(point["model.bn_after"])).by_objective)
    assert by_setting(table, "importance_fanova")["model.bn_after"] > 0.95


def conditional(path, weight, n=120):
    rng = np.random.default_rng(1)
    trials = []
    for place in range(n):
        point = {"optimizer.momentum": float(rng.uniform()), "schedule.name": ["constant", "step"][rng.integers(2)]}
        value = 0.2 * point["optimizer.momentum"]
        if point["schedule.name"] == "step":
            point["schedule.gamma"] = float(rng.uniform(0.1, 0.9))
            value += weight * point["schedule.gamma"]
        trials.append(searches.trial(f"c{place}", point, value))
    space = [searches.MOMENTUM, searches.SCHEDULE, searches.GAMMA]
    return importance_table(SearchResults(read_records(searches.write(path, space, trials))).by_objective)


@pytest.mark.matrix
def test_a_setting_that_does_not_always_exist_is_judged_where_it_does_and_weighed_by_how_often(tmp_path):
    strong, none = conditional(tmp_path / "a", 1.0), conditional(tmp_path / "b", 0.0)
    row = strong.set_index("setting").loc["schedule.gamma"]
    assert row["condition"] == "schedule.name is step"
    assert 40 < row["n"] == row["n_fanova"] < 80
    # among those that have it, it explains nearly all; half of the configurations have it; then shares sum to 1
    assert row["importance_fanova"] > 0.3
    assert none.set_index("setting").loc["schedule.gamma", "importance_fanova"] < 0.02
    for column in ("importance_fanova", "importance_ped_anova"):
        assert strong[column].sum() == pytest.approx(1)


def test_a_setting_that_hardly_ever_existed_has_no_variance_share(tmp_path):
    trials = [
        searches.trial(
            f"c{i}", {"schedule.name": "step" if i < 4 else "constant", "schedule.gamma": 0.1 + i / 20}, i / 20
        )
        for i in range(15)
    ]
    run = searches.write(tmp_path, [searches.SCHEDULE, searches.GAMMA], trials)
    row = importance_table(SearchResults(read_records(run)).by_objective).set_index("setting").loc["schedule.gamma"]
    assert np.isnan(row["importance_fanova"])
    assert (row["n"], row["n_fanova"]) == (4, 4)
    assert row["importance_ped_anova"] >= 0


@pytest.mark.matrix
def test_the_direction_of_the_metric_turns_what_the_best_are(tmp_path):
    """With y = momentum², that the best share is narrow on one side and wide on the other makes the two differ."""
    points = [(f"c{i}", point) for i, point in enumerate(draws(80))]

    def made(path, metric):
        events = []
        for cell, point in points:
            values = {f"val_{metric}": point["optimizer.momentum"] ** 2, "val_reference": 1.0}
            events += [runs.start(cell, 0, searches.nested(point)), runs.epoch(cell, 0, 1, **values), runs.end(cell, 0)]
        study = runs.search(metric=f"test_{metric}", space=SPACE, samples=80)
        records = read_records(runs.write(path, study, events))
        return by_setting(importance_table(SearchResults(records).by_objective), "importance_ped_anova")

    maximised, minimised = made(tmp_path / "a", "accuracy"), made(tmp_path / "b", "ce")
    assert maximised["optimizer.momentum"] > 0.5
    assert minimised["optimizer.momentum"] > 0.5
    assert maximised != pytest.approx(minimised, abs=1e-3)


def test_each_objective_has_its_rows_the_first_first(tmp_path):
    rows = [
        searches.trial(f"c{i}", point, weighed(point), seconds=float(point["model.hidden"]))
        for i, point in enumerate(draws(40))
    ]
    run = searches.write(tmp_path, SPACE, rows, objectives=["val_accuracy", "seconds"])
    table = importance_table(SearchResults(read_records(run)).by_objective)
    assert table["metric"].tolist() == ["val_accuracy"] * 5 + ["seconds"] * 5
    assert table.loc[table["rank"] == 1, "setting"].tolist() == ["optimizer.momentum", "model.hidden"]


def test_the_same_records_give_the_same_table_without_a_warning_or_a_line_of_optunas(tmp_path, capfd):
    by_objective = search(tmp_path, weighed, n=12).by_objective
    optuna.logging.set_verbosity(optuna.logging.INFO)
    with warnings.catch_warnings(action="error"):
        first = importance_table(by_objective)
        assert first.equals(importance_table(by_objective))
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    assert capfd.readouterr() == ("", "")


@pytest.mark.matrix
def test_of_many_configurations_fanova_takes_an_even_sample_and_says_so(tmp_path):
    made = search(tmp_path, weighed, n=FANOVA_CONFIGURATIONS + 100)
    table = importance_table(made.by_objective)
    assert table["n"].unique().tolist() == [FANOVA_CONFIGURATIONS + 100]
    assert table["n_fanova"].unique().tolist() == [FANOVA_CONFIGURATIONS]
    assert f"fANOVA takes {FANOVA_CONFIGURATIONS} of them" in importance_note(made.observed)
    assert by_setting(table, "importance_fanova")["optimizer.momentum"] > 0.95


@pytest.mark.parametrize("n", [0, 1, 9])
def test_with_too_few_configurations_there_is_no_table_and_a_sentence(tmp_path, n):
    made = search(tmp_path, weighed, n=n)
    assert importance_table(made.by_objective).empty
    assert "needs 10 configurations" in importance_note(made.observed)


def test_settings_that_never_differed_matter_nothing(tmp_path):
    trials = [searches.trial(f"c{i}", {"optimizer.momentum": 0.5}, 0.5 + i / 50) for i in range(12)]
    table = importance_table(
        SearchResults(read_records(searches.write(tmp_path, [searches.MOMENTUM], trials))).by_objective
    )
    assert table["importance_fanova"].tolist() == [0.0]


def test_an_ablation_has_none_and_says_nothing(tmp_path):
    ablation = SearchResults(read_records(runs.write_outcomes(tmp_path, runs.study(), {"baseline": [0.7]})))
    assert search_tables(ablation) == {}
    assert search_notes(ablation) == []


@pytest.mark.matrix
def test_optuna_is_loaded_by_the_importance_of_a_search_only_and_torch_never(tmp_path):
    run = searches.write(tmp_path, SPACE, [searches.trial(f"c{i}", p, weighed(p)) for i, p in enumerate(draws(12))])
    code = (
        "import sys; from pathlib import Path; import analysis.report.build;"
        "from analysis.tables.search.results import SearchResults, search_tables;"
        "from analysis.records.store import read_records; before = 'optuna' in sys.modules;"
        f"search_tables(SearchResults(read_records(Path({str(run)!r}))));"
        "print(before, 'optuna' in sys.modules, bool({'torch', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False"]


def exclusive(point):
    return float((point["optimizer.momentum"] > 0.5) != (point["optimizer.weight_decay"] > 0.5))


@pytest.mark.matrix
def test_what_settings_explain_by_themselves_is_said_where_it_is_little(tmp_path):
    """Of an exclusive or, no setting explains anything by itself; of a sum, each its part, and together all."""
    joint = search(tmp_path / "a", exclusive, n=80)
    table = importance_table(joint.by_objective)
    raw = FanovaImportanceEvaluator(seed=0)
    expected = sum(direct_shares(exclusive, 80, raw).values())
    assert table.attrs[BY_THEMSELVES] == pytest.approx({"val_accuracy": expected})
    assert expected < 0.5
    assert table["importance_fanova"].sum() == pytest.approx(1)
    said = f"Settings by themselves explain {100 * expected:.0f} % of the variance of val_accuracy"
    assert said in importance_note(joint.observed, table)
    figure = next(
        f for f in search_figures(joint, {"importance": table, "marginals": pd.DataFrame()}) if said in f.caption
    )
    assert figure.name == "importance"
    assert said in write_report(tmp_path / "a").read_text()
    summed = search(tmp_path / "b", weighed, n=80)
    assert "by themselves" not in importance_note(summed.observed, importance_table(summed.by_objective))


def direct_shares(value, n, evaluator):
    """What Optuna's evaluator answers before the shares are rescaled to sum to 1."""
    found = {}

    class Raw(type(evaluator)):
        def evaluate(self, *arguments, **named):
            found.update(super().evaluate(*arguments, **named))
            return dict(found)

    direct(value, n, Raw(seed=0))
    return found
