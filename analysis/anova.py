"""How much of a factorial's spread each factor, each interaction and the seed account for.

Seeds are blocks: every cell has one trial of each seed, so that what a seed adds to all cells leaves the residual. Only
seeds that every cell finished enter, which makes the design balanced: types I, II and III agree, and all sums of
squares add up to the total.
"""

from itertools import combinations

import numpy as np
import pandas as pd

from analysis.ablation import Grid
from analysis.store import Records

COLUMNS = ("source", "df", "sum_sq", "mean_sq", "f", "p_value", "eta_sq_partial", "metric", "n")
SEED, RESIDUAL = "seed", "residual"
WHOLE_FACTORIAL = 4


def anova_table(records: Records, metric: str) -> pd.DataFrame:
    """One row a factor, an interaction, the seed and the residual: statsmodels' type II analysis of variance of
    `value ~ factors and interactions + seed`; `n` counts seeds, `eta_sq_partial` is SS / (SS + SS residual).

    Beyond four factors only interactions of two are told apart; the others are in the residual. Empty where a
    combination of levels is missing or stands for another one's trials, or where fewer than two seeds finished all
    cells. F and p are null where the residual is nothing but rounding.
    """
    grid = Grid(records, metric)
    values = grid.values.dropna()
    if not _whole(grid, records) or len(values) < 2:
        return _typed([])
    spread = _sums_of_squares(grid, values)
    rest = spread.iloc[-1]
    noise = values.size * (16 * np.finfo(np.float64).eps * float(values.abs().to_numpy().max())) ** 2
    clear = rest["sum_sq"] > noise
    rows = []
    for place, (source, row) in enumerate(spread.iterrows(), 1):
        tested = clear and place < len(spread)
        rows.append(
            {
                "source": source,
                "df": round(row["df"]),
                "sum_sq": row["sum_sq"],
                "mean_sq": row["sum_sq"] / row["df"],
                "f": row["F"] if tested else None,
                "p_value": row["PR(>F)"] if tested else None,
                "eta_sq_partial": row["sum_sq"] / (row["sum_sq"] + rest["sum_sq"]) if tested else None,
                "metric": metric,
                "n": len(values),
            }
        )
    return _typed(rows)


def _whole(grid: Grid, records: Records) -> bool:
    """Whether every combination of levels has trials of its own."""
    cells = {records.resolve(name) for name in grid.cells.values()}
    return 1 < len(cells) == np.prod([len(levels) for levels in grid.factors.values()])


def _sums_of_squares(grid: Grid, values: pd.DataFrame) -> pd.DataFrame:
    """statsmodels' table by source; the formula names factors by position, since their names may be any text."""
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    names = {f"f{place}": factor for place, (factor, levels) in enumerate(grid.factors.items()) if len(levels) > 1}
    keys = {cell: key for key, cell in grid.cells.items()}
    rows = [
        {f"f{place}": level for place, level in enumerate(keys[cell])} | {"seed": str(seed), "value": value}
        for cell in values
        for seed, value in values[cell].items()
    ]
    order = len(names) if len(names) <= WHOLE_FACTORIAL else 2
    terms = [term for size in range(1, order + 1) for term in combinations(names, size)]
    written = {":".join(f"C({name})" for name in term): " × ".join(names[name] for name in term) for term in terms}
    fit = ols(f"value ~ {' + '.join(written)} + C(seed)", pd.DataFrame(rows)).fit()
    table: pd.DataFrame = anova_lm(fit, typ=2)
    return table.loc[[*written, "C(seed)", "Residual"]].set_axis([*written.values(), SEED, RESIDUAL])


def _typed(rows: list[dict[str, object]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = ("sum_sq", "mean_sq", "f", "p_value", "eta_sq_partial")
    return table.astype(dict.fromkeys(numbers, "float64") | {"df": "int64", "n": "int64"})
