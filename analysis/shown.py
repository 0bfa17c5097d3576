"""Which cells the pictures of a report are of: a search's or an ablation's best, beside the baseline.

Pictures are read from single trials, so what they cost does not grow with the run.
"""

from collections.abc import Callable, Iterator

import pandas as pd

from analysis.charts import short
from analysis.schema import FINISHED
from analysis.store import Records

LABEL = 44  # characters of a cell's name over a panel


def baseline_cell(records: Records) -> str | None:
    """The cell that an ablation starts from, a ladder's first rung; None for a search, which has none."""
    comparisons = records.study.get("comparisons", [])
    return records.resolve(str(comparisons[0]["baseline_cell"])) if comparisons else None


def best_cell(records: Records, ranking: pd.DataFrame) -> str | None:
    """The cell that leads the ranking; None while no trial has finished."""
    measured = ranking.loc[ranking["mean"].notna(), "cell"]
    return records.resolve(str(measured.iloc[0])) if len(measured) else None


def shown_cells(records: Records, ranking: pd.DataFrame) -> dict[str, str]:
    """Baseline and best cell, as far as there are any, with what a figure calls them."""
    baseline, best = baseline_cell(records), best_cell(records, ranking)
    cells = [cell for cell in dict.fromkeys([baseline, best]) if cell is not None]
    return {cell: label(cell) + (" (best)" if cell == best else "") for cell in cells}


def label(cell: str) -> str:
    return short(cell, LABEL)


def finished_trials(records: Records, cell: str, *others: str) -> dict[int, str]:
    """The cell's trials that are finished, or have one of the `others` statuses, by seed, ascending."""
    rows = records.rows(cell)
    rows = rows.loc[rows["status"].isin([FINISHED, *others])].sort_values("seed")
    return dict(zip(rows["seed"].tolist(), rows["trial"].tolist(), strict=True))


def first_with(records: Records, cell: str, has: Callable[[str], bool]) -> str | None:
    """The cell's finished trial of the first seed of which `has` is true."""
    return next(_having(records, cell, has), None)


def _having(records: Records, cell: str, has: Callable[[str], bool]) -> Iterator[str]:
    return (trial for trial in finished_trials(records, cell).values() if has(trial))
