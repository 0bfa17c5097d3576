"""What a level changes: paired comparisons over seeds (ablation), main effects and interactions of a factorial.

Pairs are seeds that both cells finished. `delta` is level − baseline, whichever way the metric is better.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.power import POWER_COLUMNS, power_columns
from analysis.schema import DIVERGED, FAILED
from analysis.statistics import MINIMUM_PAIRS, SIGNIFICANCE, Paired, holm, paired
from analysis.store import Records
from core.metrics import maximised

COLUMNS = (
    "factor",
    "level",
    "baseline_level",
    "metric",
    "n_pairs",
    "n_failed",
    "n_diverged",
    "baseline_mean",
    "level_mean",
    "delta",
    "ci_low",
    "ci_high",
    "p_value",
    "p_holm",
    "p_permutation",
    "effect_size",
    "verdict",
    "reference",
    *POWER_COLUMNS,
)
INTERACTION_COLUMNS = (
    "factor_a",
    "level_a",
    "factor_b",
    "level_b",
    "metric",
    "n_pairs",
    "interaction",
    "ci_low",
    "ci_high",
    "p_value",
)
IDENTICAL, TOO_FEW, UNSTABLE = "identical", "too few runs", "unstable"
BETTER, WORSE, UNCLEAR = "better", "worse", "no clear difference"


def ablation_table(records: Records, metric: str) -> pd.DataFrame:
    """One row a comparison of the study, in its order.

    `identical` is a comparison of a configuration with itself; a cell that equals some third cell is compared by that
    cell's trials.
    """
    rows = [_comparison(records, comparison, metric) for comparison in records.study.get("comparisons", [])]
    return _judged(rows, metric)


def _comparison(records: Records, comparison: dict[str, Any], metric: str) -> dict[str, Any]:
    cell, baseline = comparison["cell"], comparison["baseline_cell"]
    both = pd.concat([records.values(baseline, metric), records.values(cell, metric)], axis=1, join="inner")
    own = records.cells.get(cell, {})
    return {
        "factor": comparison["factor"],
        "level": comparison["level"],
        "baseline_level": comparison["baseline_level"],
        "n_failed": records.count(cell, FAILED),
        "n_diverged": records.count(cell, DIVERGED),
        "reference": own.get("reference") if metric == records.study["metric"] else None,
        "statistics": paired(both.iloc[:, 0].to_numpy(), both.iloc[:, 1].to_numpy()),
        "identical": records.resolve(cell) == records.resolve(baseline),
        "baseline_diverged": records.count(baseline, DIVERGED),
    }


def _judged(rows: list[dict[str, Any]], metric: str) -> pd.DataFrame:
    """Rows with their statistics spread out, Holm's correction over all of them, and a verdict each."""
    p_holm = holm(pd.Series([row["statistics"].p_value for row in rows], dtype="float64"))
    table = pd.DataFrame(
        [
            row
            | asdict(row["statistics"])
            | power_columns(row["statistics"])
            | {"metric": metric, "p_holm": p, "verdict": _verdict(row, p, metric)}
            for row, p in zip(rows, p_holm, strict=True)
        ],
        columns=list(COLUMNS),
    )
    numbers = COLUMNS[COLUMNS.index("baseline_mean") : COLUMNS.index("verdict")]
    kinds = dict.fromkeys((*numbers, *POWER_COLUMNS), "float64") | {"n_pairs": "int64", "seeds_needed": "Int64"}
    return table.astype(kinds)


def _verdict(row: dict[str, Any], p_holm: float, metric: str) -> str:
    statistics: Paired = row["statistics"]
    if row["identical"]:
        return IDENTICAL
    if statistics.n_pairs < MINIMUM_PAIRS or statistics.delta is None:
        return TOO_FEW
    if row["n_diverged"] > row["baseline_diverged"]:
        return UNSTABLE
    if p_holm < SIGNIFICANCE:
        return BETTER if (statistics.delta > 0) == maximised(metric) else WORSE
    return UNCLEAR


class Grid:
    """The cells of a factorial by their levels, and a metric of each by seed."""

    def __init__(self, records: Records, metric: str) -> None:
        self.records = records
        self.factors = {
            factor["name"]: [level["name"] for level in factor["levels"]] for factor in records.study.get("factors", [])
        }
        self.cells = {
            self._key(cell["levels"]): cell["name"]
            for cell in records.study.get("cells", [])
            if not cell.get("invalid") and set(self.factors) <= set(cell["levels"])
        }
        self.values = pd.DataFrame({name: records.values(name, metric) for name in self.cells.values()})

    def _key(self, levels: dict[str, str]) -> tuple[str, ...]:
        return tuple(levels[name] for name in self.factors)

    def groups(self, changes: Sequence[dict[str, str]]) -> list[tuple[str, ...]]:
        """For every setting of the other factors, the cells with each of `changes` applied; only where all exist.

        `changes` set the same factors; the first one names the cells to start from.
        """
        found = []
        for key in self.cells:
            levels = dict(zip(self.factors, key, strict=True))
            if changes[0].items() <= levels.items():
                keys = [self._key({**levels, **change}) for change in changes]
                if all(other in self.cells for other in keys):
                    found.append(tuple(self.cells[other] for other in keys))
        return found

    def means(self, groups: list[tuple[str, ...]]) -> list[NDArray[np.float64]]:
        """For every position of the groups the mean over groups, by seed, over seeds that all their cells finished."""
        names = list(dict.fromkeys(name for group in groups for name in group))
        complete = self.values[names].dropna()
        return [complete[list(position)].mean(axis=1).to_numpy() for position in zip(*groups, strict=True)]

    def count(self, cells: Iterable[str], status: str) -> int:
        return sum(self.records.count(cell, status) for cell in cells)


def effects_table(records: Records, metric: str) -> pd.DataFrame:
    """Main effect of each level against its factor's first, averaged over the other factors within each seed."""
    grid = Grid(records, metric)
    rows = []
    for factor, (base, *levels) in grid.factors.items():
        for level in levels:
            groups = grid.groups([{factor: level}, {factor: base}])
            cells, baselines = ([group[side] for group in groups] for side in (0, 1))
            statistics = Paired(0)
            if groups:
                changed, unchanged = grid.means(groups)
                statistics = paired(unchanged, changed)
            rows.append(
                {
                    "factor": factor,
                    "level": level,
                    "baseline_level": base,
                    "n_failed": grid.count(cells, FAILED),
                    "n_diverged": grid.count(cells, DIVERGED),
                    "reference": None,
                    "statistics": statistics,
                    "identical": bool(groups) and all(records.resolve(a) == records.resolve(b) for a, b in groups),
                    "baseline_diverged": grid.count(baselines, DIVERGED),
                }
            )
    return _judged(rows, metric)


def interactions_table(records: Records, metric: str) -> pd.DataFrame:
    """(a, b) − (a, base) − (base, b) + (base, base) of each pair of levels, averaged over the other factors."""
    grid = Grid(records, metric)
    rows = []
    for (factor_a, (base_a, *levels_a)), (factor_b, (base_b, *levels_b)) in combinations(grid.factors.items(), 2):
        for level_a, level_b in ((a, b) for a in levels_a for b in levels_b):
            corners = [(level_a, level_b), (level_a, base_b), (base_a, level_b), (base_a, base_b)]
            groups = grid.groups([{factor_a: a, factor_b: b} for a, b in corners])
            statistics = Paired(0)
            if groups:
                both, only_a, only_b, neither = grid.means(groups)
                statistics = paired(only_b - neither, both - only_a)
            rows.append(
                {"factor_a": factor_a, "level_a": level_a, "factor_b": factor_b, "level_b": level_b, "metric": metric}
                | asdict(statistics)
                | {"interaction": statistics.delta}
            )
    table = pd.DataFrame(rows, columns=list(INTERACTION_COLUMNS))
    return table.astype(dict.fromkeys(INTERACTION_COLUMNS[6:], "float64") | {"n_pairs": "int64"})
