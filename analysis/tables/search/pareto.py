"""The Pareto front of a search with several objectives: the cells that no other cell dominates.

A cell dominates another if its means are at least as good in every objective and better in one; so of cells with equal
means all or none are on the front. Only finished trials with a finite value of every objective count.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.records.run_records import Records
from analysis.tables.ranking import settings_columns
from analysis.tables.spec import Column, TableSpec, register
from core.metrics import counterpart, maximised

register(
    TableSpec(
        "pareto",
        (Column("cell", "text"), Column("n", "count")),
        "Cells that no other cell dominates; means over seeds ({n}).",
    )
)


def measured(records: Records) -> list[str]:
    """The metrics of the table: the objectives, and the test counterpart of the first where it was recorded."""
    objectives = records.objectives
    test = counterpart(objectives[0], "test")
    return list(dict.fromkeys([*objectives, *([test] if test in records.trials else [])]))


def pareto_table(records: Records) -> pd.DataFrame:
    """Cell, n, the mean of each metric of `measured`, the varied settings; best in the first objective first."""
    objectives = records.objectives
    cells = cell_objectives(records)
    front = cells.loc[non_dominated(_minimised(cells, objectives))]
    front = front.iloc[np.lexsort(_minimised(front, objectives).T[::-1])]
    settings = settings_columns(records).set_index(pd.Index(list(records.cells), dtype="str"))
    return front.join(settings, on="cell").reset_index(drop=True)


def cell_objectives(records: Records) -> pd.DataFrame:
    """Every cell with finished trials, in the order of the records: cell, n, mean over seeds of each of `measured`."""
    objectives, metrics = records.objectives, measured(records)
    rows = records.finished
    values = rows.reindex(columns=metrics).astype("float64").assign(cell=rows["cell"])
    complete = np.isfinite(values[objectives].to_numpy("float64")).all(axis=1)
    by_cell = values.loc[complete].groupby("cell", sort=False)
    table = by_cell[metrics].mean()
    table.insert(0, "n", by_cell.size())
    return table.reset_index()


def non_dominated(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the points [n, k] are not dominated (smaller is better in every coordinate): bool [n].

    In lexicographic order a point comes after all that dominate it, and dominance is transitive, so each point need
    only be compared with the front so far.
    """
    kept = np.zeros(len(values), dtype=bool)
    front = np.empty((0, values.shape[1]))
    for index in np.lexsort(values.T[::-1]):
        point = values[index]
        if not ((front <= point).all(axis=1) & (front < point).any(axis=1)).any():
            kept[index] = True
            front = np.vstack([front, point])
    return kept


def _minimised(cells: pd.DataFrame, objectives: list[str]) -> NDArray[np.float64]:
    return cells[objectives].to_numpy("float64") * [-1.0 if maximised(name) else 1.0 for name in objectives]
