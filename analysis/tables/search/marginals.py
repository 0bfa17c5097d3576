"""The metric that a random forest predicts for a search's good configurations with one setting changed.

This is partial dependence (Friedman, 2001) over the better half of the configurations. Over all of them, or over the
whole space as in fANOVA, the curve of every setting would be dominated by configurations that one bad setting, such as
a learning rate, has ruined. A setting that exists only under a condition is judged by the configurations that have it.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.records.search_space import MINIMUM_CONFIGURATIONS, Observations, Setting
from analysis.statistics.random_forest import RandomForest
from analysis.tables.spec import TableSpec, register

register(
    TableSpec(
        "marginals",
        caption="{metric} that a random forest predicts with one setting changed, averaged over the better half of the "
        "configurations; standard deviation over its trees; n configurations are nearest to the value.",
    )
)
COLUMNS = ("setting", "value", "metric", "mean", "std", "n")
MAXIMUM_SETTINGS = 12
GRID, PAIR_GRID = 25, 15  # points along a range
AVERAGED, PAIR_AVERAGED = 200, 60  # configurations that a prediction is averaged over


def marginals_table(forest: RandomForest, keys: Sequence[str]) -> pd.DataFrame:
    """marginals.csv, the rows of each setting in the order of `keys`: `setting, value, metric, mean, std, n`.

    `mean` and `std` are over the trees of the forest, each tree's prediction being averaged over the better half of the
    configurations; their spread is not that of a training run. `n` counts the configurations that are nearer to this
    value than to its neighbours, which shows where a curve has data. A range is covered from the smallest to the
    largest value tried. Settings with fewer than MINIMUM_CONFIGURATIONS, or after the first MAXIMUM_SETTINGS, are left
    out.
    """
    parts = [_curve(forest, setting) for setting in _chosen(forest.observed, keys)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


def _chosen(observed: Observations, keys: Sequence[str]) -> list[Setting]:
    """The settings of `keys`, in that order, which were tried often enough."""
    by_key = {setting.key: setting for setting in observed.settings}
    often = [key for key in keys if observed.table[key].notna().sum() >= MINIMUM_CONFIGURATIONS]
    return [by_key[key] for key in often[:MAXIMUM_SETTINGS]]


def _curve(forest: RandomForest, setting: Setting) -> pd.DataFrame:
    values = grid(setting, forest.observed.table[setting.key], GRID)
    predictions = forest.at(pd.DataFrame({setting.key: values}), AVERAGED)
    return pd.DataFrame(
        {
            "setting": setting.key,
            "value": pd.Series([text(value) for value in values], dtype="str"),
            "metric": forest.observed.metric,
            "mean": predictions.mean(axis=0),
            "std": predictions.std(axis=0, ddof=1),
            "n": nearest(setting, values, forest.observed.table[setting.key]),
        }
    )


def text(value: Any) -> str:
    """A value of a grid as text for a table."""
    return value if isinstance(value, str) else f"{value:.6g}"


def grid(setting: Setting, tried: "pd.Series[Any]", points: int) -> list[Any]:
    """The labels of a choice that were tried, or `points` values of a range, evenly spaced on its scale."""
    known = tried.dropna()
    if setting.choices:
        return [label for label in setting.choices if (known == label).any()]
    scale = setting.scaled(known)
    steps = np.linspace(scale.min(), scale.max(), points)
    values = 10**steps if setting.log else steps
    if setting.step:
        values = setting.low + ((values - setting.low) / setting.step).round() * setting.step
    elif setting.whole:
        return sorted({float(value) for value in values.round()})
    return list(dict.fromkeys(float(f"{value:.6g}") for value in values))


def nearest(setting: Setting, values: Sequence[Any], tried: "pd.Series[Any]") -> list[int]:
    """How many of the tried values are nearest to each of `values`."""
    known = tried.dropna()
    if setting.choices:
        return [int((known == value).sum()) for value in values]
    scale = setting.scaled(np.array(values))
    place = np.searchsorted((scale[1:] + scale[:-1]) / 2, setting.scaled(known))
    return np.bincount(place, minlength=len(values)).tolist()


@dataclass(frozen=True)
class Plane:
    """The predicted mean over a grid of two settings: one row per point with columns `x`, `y`, `mean`."""

    x: Setting
    y: Setting
    table: pd.DataFrame

    @property
    def spread(self) -> float:
        """Variance of the prediction over the plane: the importance of both settings together."""
        return float(self.table["mean"].var(ddof=0))


def planes(forest: RandomForest, keys: Sequence[str], limit: int) -> list[Plane]:
    """The `limit` pairs of the settings `keys` whose predictions vary most, in descending order."""
    found = []
    for x, y in itertools.combinations(_chosen(forest.observed, keys), 2):
        both = forest.observed.table[[x.key, y.key]].dropna()
        varied = all(both[setting.key].nunique() > 1 for setting in (x, y))
        if len(both) >= MINIMUM_CONFIGURATIONS and varied and not forest.rows[[x.key, y.key]].dropna().empty:
            found.append(_plane(forest, x, y, both))
    return sorted(found, key=lambda plane: -plane.spread)[:limit]


def _plane(forest: RandomForest, x: Setting, y: Setting, both: pd.DataFrame) -> Plane:
    corners: Mapping[str, Any] = {s.key: grid(s, both[s.key], PAIR_GRID) for s in (x, y)}
    points = pd.DataFrame(list(itertools.product(*corners.values())), columns=list(corners))
    mean = forest.at(points, PAIR_AVERAGED).mean(axis=0)
    return Plane(x, y, pd.DataFrame({"x": points[x.key], "y": points[y.key], "mean": mean}))
