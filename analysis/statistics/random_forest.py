"""A random forest over a search's configurations, whose predictions show the effect of a setting."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.records.search_space import Observations, evenly
from core.metrics import maximised

LEARNED = 1000  # configurations that the forest is fitted to, at most
TREES = 100
SEED = 0


@dataclass(frozen=True)
class RandomForest:
    """A random forest over configurations; a missing choice has all its columns 0, a missing range is NaN."""

    observed: Observations

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The configurations that it is fitted to."""
        return evenly(self.observed.table, LEARNED, maximised(self.observed.metric))

    @cached_property
    def _trees(self) -> list[Any]:
        from sklearn.ensemble import RandomForestRegressor

        forest = RandomForestRegressor(n_estimators=TREES, random_state=SEED)
        forest.fit(self.encode(self.rows), self.rows["value"].to_numpy("float64"))
        return [tree.tree_ for tree in forest.estimators_]

    def encode(self, rows: pd.DataFrame) -> NDArray[np.float32]:
        """(rows, features): one column per range, on its scale, and one per label of a choice, 1 where it was taken."""
        columns = []
        for setting in self.observed.settings:
            if setting.choices:
                columns += [(rows[setting.key] == label).to_numpy("float32") for label in setting.choices]
            else:
                columns.append(setting.scaled(rows[setting.key]).astype("float32"))
        return np.column_stack(columns).astype("float32")

    def predict(self, rows: pd.DataFrame) -> NDArray[np.float64]:
        """Predictions (trees, rows)."""
        encoded = self.encode(rows)
        return np.stack([tree.predict(encoded)[:, 0] for tree in self._trees])

    def at(self, points: pd.DataFrame, averaged: int) -> NDArray[np.float64]:
        """Predictions (trees, points) with the settings of each point (one column per setting), averaged over at most
        `averaged` of the better half of the configurations in which these settings exist."""
        rows = better_half(self.rows.loc[self.rows[list(points)].notna().all(axis=1)], self.observed.metric)
        rows = evenly(rows, averaged, maximised(self.observed.metric))
        laid = pd.concat([rows] * len(points), ignore_index=True)
        for key in points:
            laid[key] = np.repeat(points[key].to_numpy(), len(rows))
        predictions = self.predict(self._consistent(laid, set(map(str, points))))
        return predictions.reshape(len(predictions), len(points), len(rows)).mean(axis=2)

    def _consistent(self, rows: pd.DataFrame, held: set[str]) -> pd.DataFrame:
        """The rows with settings only where their conditions hold; one that is newly active takes the values that it
        had in other configurations, in turn."""
        for setting in self.observed.settings:
            if not setting.when or setting.key in held:
                continue
            active = setting.active(rows)
            missing = active & rows[setting.key].isna()
            known = self.rows[setting.key].dropna()
            if missing.any() and len(known):
                rows.loc[missing, setting.key] = np.resize(known.to_numpy(), int(missing.sum()))
            rows[setting.key] = rows[setting.key].where(active)
        return rows


def better_half(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows whose `value` is at least as good as the median."""
    middle = rows["value"].median()
    return rows.loc[rows["value"] >= middle if maximised(metric) else rows["value"] <= middle]
