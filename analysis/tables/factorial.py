"""A factorial's main effects, interactions and analysis of variance.

In the analysis of variance seeds are blocks: every cell has one trial of each seed, so that a seed's effect on all
cells is not in the residual. Only seeds that every cell finished enter, which makes the design balanced: types I, II
and III agree, and all sums of squares add up to the total.
"""

from dataclasses import asdict
from itertools import combinations

import numpy as np
import pandas as pd

from analysis.records.columns import rows_of
from analysis.records.run_records import Records
from analysis.records.schema import DIVERGED, FAILED, FINISHED
from analysis.statistics.factorial import FactorialGrid, design_of, sums_of_squares
from analysis.statistics.hypothesis_tests import Paired, paired, rounding
from analysis.tables.ablation import COMPARISON, PAIRED, table_with_verdicts
from analysis.tables.spec import METRIC, PAPER, Column, TableSpec, interval_column, register
from core.aside import Aside

EFFECTS = register(
    TableSpec(
        "effects",
        COMPARISON,
        f"{{metric}}, main effects: levels averaged over the other factors within each seed; {PAIRED}.",
        "ablation",
        "Main effects",
        "Each level against its factor's first, averaged over the other factors within each seed.",
    )
)
INTERACTIONS = register(
    TableSpec(
        "interactions",
        (
            Column("factor_a", "text", "factor"),
            Column("level_a", "text", "level"),
            Column("factor_b", "text", "with"),
            Column("level_b", "text", "level"),
            METRIC,
            Column("n_pairs", "count", "n"),
            Column("interaction", signed=True, css="num strong"),
            *interval_column(),
            Column("p_value", "p", "p"),
        ),
        "{metric}: how far two levels together differ from the sum of their separate effects, paired by seed ({n}); 95 "
        "% paired t intervals, two-sided paired t-test, not corrected.",
        "ablation",
        "Interactions",
        "How much two levels together differ from the sum of their separate effects. Not corrected for the number of "
        "rows.",
    )
)
ANOVA = register(
    TableSpec(
        "anova",
        (
            Column("source", "text"),
            Column("df", "count"),
            Column("sum_sq", head="sum of squares", significant=3),
            Column("mean_sq", head="mean square", significant=3),
            Column("f", head="F", significant=3),
            Column("p_value", "p", "p"),
            Column("eta_sq_partial", head="partial η²", digits=2, css="num strong"),
            METRIC,
            Column("n", "count", shown=(PAPER,)),
        ),
        "{metric}: analysis of variance of type II with the seed as a block ({n}); F tests, not corrected.",
        "ablation",
        "Analysis of variance",
        "Type II, with the seed as a block, over seeds that finished every cell; partial η² is the share of what the "
        "other sources leave.",
    )
)


def effects_table(records: Records, metric: str) -> pd.DataFrame:
    """Main effect of each level against its factor's first, averaged over the other factors within each seed."""
    grid = FactorialGrid(records, metric)
    rows = []
    for factor, (base, *levels) in grid.factors.items():
        for level in levels:
            groups = grid.groups([{factor: level}, {factor: base}])
            cells, baselines = ([group[side] for group in groups] for side in (0, 1))
            statistics = paired(*reversed(grid.means(groups))) if groups else Paired()
            rows.append(
                {
                    "factor": factor,
                    "level": level,
                    "baseline_level": base,
                    "n_failed": grid.count(cells, FAILED),
                    "n_diverged": grid.count(cells, DIVERGED),
                    "n_finished": grid.count(cells, FINISHED),
                    "reference": None,
                    "statistics": statistics,
                    "identical": bool(groups) and all(records.resolve(a) == records.resolve(b) for a, b in groups),
                    "baseline_diverged": grid.count(baselines, DIVERGED),
                }
            )
    return table_with_verdicts(rows, metric)


def interactions_table(records: Records, metric: str) -> pd.DataFrame:
    """(a, b) − (a, base) − (base, b) + (base, base) of each pair of levels, averaged over the other factors."""
    grid = FactorialGrid(records, metric)
    rows = []
    for (factor_a, (base_a, *levels_a)), (factor_b, (base_b, *levels_b)) in combinations(grid.factors.items(), 2):
        for level_a, level_b in ((a, b) for a in levels_a for b in levels_b):
            corners = [(level_a, level_b), (level_a, base_b), (base_a, level_b), (base_a, base_b)]
            groups = grid.groups([{factor_a: a, factor_b: b} for a, b in corners])
            statistics = Paired()
            if groups:
                both, only_a, only_b, neither = grid.means(groups)
                statistics = paired(only_b - neither, both - only_a)
            row = {"factor_a": factor_a, "level_a": level_a, "factor_b": factor_b, "level_b": level_b}
            rows.append(row | asdict(statistics) | {"metric": metric, "interaction": statistics.delta})
    return INTERACTIONS.frame(rows)


def begun_anova(records: Records, metric: str) -> "Aside[pd.DataFrame] | None":
    """Begins the slow part of `anova_table` in another process: the import of statsmodels takes two seconds."""
    grid = FactorialGrid(records, metric)
    values = _complete(grid)
    return None if values is None else Aside(sums_of_squares, *design_of(grid, values))


def _complete(grid: FactorialGrid) -> pd.DataFrame | None:
    """The values of the seeds that all cells finished; None where there is nothing to analyse."""
    values = grid.values.dropna()
    return values if grid.is_complete and len(values) >= 2 else None


def anova_table(records: Records, metric: str, begun: "Aside[pd.DataFrame] | None" = None) -> pd.DataFrame:
    """A row for each factor, interaction, seed and residual: statsmodels' type II analysis of variance of
    `value ~ factors and interactions + seed`; `n` counts seeds, `eta_sq_partial` is SS / (SS + SS residual).

    With more than four factors only two-way interactions are included; the others are in the residual. Empty where a
    combination of levels is missing or has another one's trials, or where fewer than two seeds finished all cells.
    F and p are null where the residual is only rounding noise.
    """
    grid = FactorialGrid(records, metric)
    if (values := _complete(grid)) is None:
        return ANOVA.frame([])
    spread = begun.result() if begun else sums_of_squares(*design_of(grid, values))
    rest = spread["sum_sq"].iloc[-1]
    table = spread.rename(columns={"F": "f", "PR(>F)": "p_value"}).rename_axis("source").reset_index()
    table["mean_sq"] = table["sum_sq"] / table["df"]
    table["df"] = table["df"].round()
    table["eta_sq_partial"] = table["sum_sq"] / (table["sum_sq"] + rest)
    clear = rest > values.size * rounding(values.to_numpy()) ** 2
    table.loc[table.index[-1 if clear else 0 :], ["f", "p_value", "eta_sq_partial"]] = np.nan
    return ANOVA.frame(rows_of(table.assign(metric=metric, n=len(values))))
