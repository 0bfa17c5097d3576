"""A factorial's cells by their levels, means over cells, and the sums of squares of its analysis of variance."""

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.records.run_records import Records


class FactorialGrid:
    """The cells of a factorial by their levels, and a metric of each by seed."""

    def __init__(self, records: Records, metric: str) -> None:
        self.records = records
        self.factors = records.levels
        self.cells = {
            self._key(cell["levels"]): cell["name"]
            for cell in records.study.get("cells", [])
            if not cell.get("invalid") and set(self.factors) <= set(cell["levels"])
        }
        self.values = pd.DataFrame({name: records.values(name, metric) for name in self.cells.values()})

    def _key(self, levels: dict[str, str]) -> tuple[str, ...]:
        return tuple(levels[name] for name in self.factors)

    def groups(self, changes: Sequence[dict[str, str]]) -> list[tuple[str, ...]]:
        """For every combination of the other factors' levels, the cells with each of `changes`, if all exist.

        `changes`: levels by factor, all of the same factors.
        """
        every = (dict(zip(self.factors, key, strict=True)) for key in self.cells)
        first = (levels for levels in every if changes[0].items() <= levels.items())
        groups = ([self._key({**levels, **change}) for change in changes] for levels in first)
        return [tuple(self.cells[key] for key in keys) for keys in groups if all(key in self.cells for key in keys)]

    def means(self, groups: list[tuple[str, ...]]) -> list[NDArray[np.float64]]:
        """For every position in the groups, the mean over groups, (seeds,), of the seeds that all cells finished."""
        names = list(dict.fromkeys(name for group in groups for name in group))
        complete = self.values[names].dropna()
        return [complete[list(position)].mean(axis=1).to_numpy() for position in zip(*groups, strict=True)]

    def count(self, cells: Iterable[str], status: str) -> int:
        return sum(self.records.count(cell, status) for cell in cells)

    @property
    def is_complete(self) -> bool:
        """Whether every combination of levels has trials of its own."""
        cells = {self.records.resolve(name) for name in self.cells.values()}
        return 1 < len(cells) == np.prod([len(levels) for levels in self.factors.values()])


SEED, RESIDUAL = "seed", "residual"
WHOLE_FACTORIAL = 4


Design = tuple[dict[str, str], list[dict[str, str | float]]]


def design_of(grid: FactorialGrid, values: pd.DataFrame) -> Design:
    """({number: factor} of those with several levels, a row a trial) for `sums_of_squares`: a formula needs names that
    are no text of the user's."""
    names = {f"f{place}": factor for place, (factor, levels) in enumerate(grid.factors.items()) if len(levels) > 1}
    keys = {cell: key for key, cell in grid.cells.items()}
    rows: list[dict[str, str | float]] = [
        {**{f"f{place}": level for place, level in enumerate(keys[cell])}, "seed": str(seed), "value": value}
        for cell, by_seed in values.items()
        for seed, value in by_seed.items()
    ]
    return names, rows


def sums_of_squares(names: dict[str, str], rows: list[dict[str, str | float]]) -> pd.DataFrame:
    """statsmodels' type II ANOVA table of a design, by source."""
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    order = len(names) if len(names) <= WHOLE_FACTORIAL else 2
    terms = [term for size in range(1, order + 1) for term in combinations(names, size)]
    written = {":".join(f"C({name})" for name in term): " × ".join(names[name] for name in term) for term in terms}
    fit = ols(f"value ~ {' + '.join(written)} + C(seed)", pd.DataFrame(rows)).fit()
    table: pd.DataFrame = anova_lm(fit, typ=2)
    return table.loc[[*written, "C(seed)", "Residual"]].set_axis([*written.values(), SEED, RESIDUAL])
