"""Marginal curves of a search, against scikit-learn's partial dependence and against functions that are known."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import partial_dependence

from analysis.records.search_space import Observations, Setting
from analysis.statistics.random_forest import SEED, TREES, RandomForest, better_half
from analysis.tables.search.marginals import (
    AVERAGED,
    COLUMNS,
    GRID,
    MAXIMUM_SETTINGS,
    grid,
    marginals_table,
    nearest,
    planes,
)

A = Setting("a", 1e-4, 1.0, log=True)
B = Setting("b", 0.0, 1.0)
C = Setting("c", choices=("x", "y"))
D = Setting("d", 0.0, 1.0, when={"c": ("y",)})
KEYS = ["a", "b", "c", "d"]


def observations(value, n=80, settings=(A, B, C, D), metric="val_accuracy"):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"cell": [f"c{i}" for i in range(n)], "n": 1})
    table["a"], table["b"] = 10 ** rng.uniform(-4, 0, n), rng.uniform(size=n)
    table["c"] = pd.Series(np.where(rng.uniform(size=n) < 0.5, "x", "y"), dtype="str")
    table["d"] = pd.Series(rng.uniform(size=n)).where(table["c"] == "y")
    table["value"] = value(table)
    return Observations(metric, None, settings, table)


def curve(table, key):
    return table.loc[table["setting"] == key]


def smooth(table):
    return np.log10(table["a"]) / 10 + table["b"] ** 2 + 0.1 * (table["c"] == "y")


@pytest.mark.parametrize(("metric", "better"), [("val_accuracy", np.greater_equal), ("val_ce", np.less_equal)])
def test_the_mean_is_partial_dependence_over_the_better_half(metric, better):
    observed = observations(smooth, settings=(A, B, C), metric=metric)
    encoded = np.column_stack(
        [np.log10(observed.table["a"]), observed.table["b"], observed.table["c"] == "x", observed.table["c"] == "y"]
    ).astype("float32")
    value = observed.table["value"].to_numpy()
    model = RandomForestRegressor(n_estimators=TREES, random_state=SEED).fit(encoded, value)
    half = encoded[better(value, np.median(value))]
    assert len(half) == 40
    rows = curve(marginals_table(RandomForest(observed), ["b", "a", "c"]), "b")
    points = rows["value"].astype("float64").to_numpy()
    expected = partial_dependence(
        model, half, [1], custom_values={1: points.astype("float32")}, method="brute", kind="average"
    )
    assert rows["mean"].to_numpy() == pytest.approx(expected["average"][0], abs=1e-9)
    changed = half.copy()
    changed[:, 1] = points[3]
    trees = [tree.predict(changed).mean() for tree in model.estimators_]
    assert rows["std"].iloc[3] == pytest.approx(np.std(trees, ddof=1))


def test_a_curve_follows_a_function_that_is_known():
    observed = observations(lambda table: np.log10(table["a"]) / 4 + 1)
    table = marginals_table(RandomForest(observed), KEYS)
    assert list(table) == list(COLUMNS)
    rows = curve(table, "a")
    middle = rows.iloc[3:-3]
    assert middle["mean"].to_numpy() == pytest.approx(np.log10(middle["value"].astype(float)) / 4 + 1, abs=0.05)
    for key in ("b", "d", "c"):
        assert np.ptp(curve(table, key)["mean"]) < 0.03


def test_settings_stand_in_the_order_asked_for_at_most_a_dozen_and_only_those_tried_ten_times():
    observed = observations(smooth)
    assert marginals_table(RandomForest(observed), ["c", "a"])["setting"].unique().tolist() == ["c", "a"]
    observed.table.loc[9:, "d"] = np.nan
    assert "d" not in set(marginals_table(RandomForest(observed), KEYS)["setting"])
    many = tuple(Setting(f"s{i}", 0.0, 1.0) for i in range(MAXIMUM_SETTINGS + 2))
    table = observed.table.assign(**{setting.key: observed.table["b"] for setting in many})
    forest = RandomForest(Observations("val_accuracy", None, many, table))
    assert marginals_table(forest, [setting.key for setting in many])["setting"].nunique() == MAXIMUM_SETTINGS


def test_n_counts_each_configuration_once_at_the_value_that_it_is_nearest_to():
    observed = observations(smooth)
    table = marginals_table(RandomForest(observed), KEYS)
    for key in KEYS:
        assert curve(table, key)["n"].sum() == observed.table[key].notna().sum()
    rows = curve(table, "a")
    grid_logs = np.log10(rows["value"].astype(float).to_numpy())
    place = np.abs(np.log10(observed.table["a"].to_numpy())[:, None] - grid_logs).argmin(axis=1)
    assert rows["n"].tolist() == np.bincount(place, minlength=len(rows)).tolist()
    assert curve(table, "c")["n"].tolist() == [(observed.table["c"] == label).sum() for label in ("x", "y")]


def test_a_grid_spans_what_was_tried_on_the_settings_own_scale():
    tried = pd.Series([0.01, 0.1, 1.0])
    steps = np.diff(np.log10(grid(A, tried, GRID)))
    assert (min(grid(A, tried, GRID)), max(grid(A, tried, GRID))) == (0.01, 1.0)
    assert steps == pytest.approx(np.full(GRID - 1, 2 / (GRID - 1)), abs=1e-5)
    whole = Setting("w", 1, 9, whole=True)
    assert grid(whole, pd.Series([2.0, 6.0]), GRID) == [2, 3, 4, 5, 6]
    stepped = Setting("w", 0.1, 0.9, step=0.2)
    assert grid(stepped, pd.Series([0.3, 0.9]), GRID) == [0.3, 0.5, 0.7, 0.9]
    assert grid(C, pd.Series(["y", "y"], dtype="str"), GRID) == ["y"]
    assert nearest(whole, [2.0, 4.0], pd.Series([2.0, 2.9, 3.2])) == [2, 1]


def test_a_conditional_setting_exists_in_a_changed_configuration_where_its_condition_holds(monkeypatch):
    observed = observations(smooth)
    forest, laid = RandomForest(observed), []
    monkeypatch.setattr(
        RandomForest, "predict", lambda self, rows: laid.append(rows.copy()) or np.zeros((2, len(rows)))
    )
    forest.at(pd.DataFrame({"c": ["x", "y"]}), AVERAGED)
    rows = laid[0]
    assert rows.loc[rows["c"] == "x", "d"].isna().all()
    born = rows.loc[rows["c"] == "y", "d"]
    assert born.notna().all()
    assert set(born) <= set(observed.table["d"].dropna())
    forest.at(pd.DataFrame({"d": [0.25]}), AVERAGED)
    assert set(laid[1]["c"]) == {"y"}
    assert set(laid[1]["d"]) == {0.25}


def test_the_better_half_goes_by_the_direction_of_the_metric():
    rows = pd.DataFrame({"value": [1.0, 2.0, 3.0, 4.0]})
    assert better_half(rows, "val_accuracy")["value"].tolist() == [3.0, 4.0]
    assert better_half(rows, "val_ce")["value"].tolist() == [1.0, 2.0]


def test_the_plane_that_varies_most_comes_first_and_shows_an_interaction():
    """Where y = a-high xor c, either alone says little and the plane of both all."""
    observed = observations(
        lambda table: ((np.log10(table["a"]) > -2) ^ (table["c"] == "y")) * 1.0 + table["b"] / 100, 200
    )
    found = planes(RandomForest(observed), KEYS, 3)
    assert (found[0].x.key, found[0].y.key) == ("a", "c")
    assert [plane.spread for plane in found] == sorted((plane.spread for plane in found), reverse=True)
    table = found[0].table
    high, y = np.log10(table["x"]) > -2, table["y"] == "y"
    assert table.loc[high ^ y, "mean"].mean() > 0.9
    assert table.loc[~(high ^ y), "mean"].mean() < 0.15


def test_pairs_that_never_stood_together_or_do_not_vary_have_no_plane():
    other = Setting("e", 0.0, 1.0, when={"c": ("x",)})
    observed = observations(smooth, settings=(A, C, D, other))
    observed.table["e"] = observed.table["b"].where(observed.table["c"] == "x")
    pairs = {(plane.x.key, plane.y.key) for plane in planes(RandomForest(observed), ["a", "c", "d", "e"], 9)}
    assert pairs == {("a", "c"), ("a", "d"), ("a", "e")}


def test_the_same_observations_give_the_same_table():
    first, second = (marginals_table(RandomForest(observations(smooth)), KEYS) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
