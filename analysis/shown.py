"""Which cells the pictures of a report are of: a search's or an ablation's best, beside the baseline.

Pictures are read from single trials, so what they cost does not grow with the run.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import pandas as pd

from analysis.charts import short
from analysis.schema import FINISHED
from analysis.store import Records

LABEL = 44  # characters of a cell's name over a panel
STEPWISE = {"ladder", "path"}  # designs that also compare each cell with the one before

Key = TypeVar("Key", bound=Hashable)


def baseline_cell(records: Records) -> str | None:
    """The cell that an ablation starts from, a ladder's first rung; None for a search, which has none."""
    comparisons = records.study.get("comparisons", [])
    return records.resolve(str(comparisons[0]["baseline_cell"])) if comparisons else None


def best_cell(records: Records, ranking: pd.DataFrame) -> str | None:
    """The cell that leads the ranking, of a path the last chosen step; None while no such cell has finished.

    A path's ranking also holds the candidates that validation rejected: one of them may lead it by its test metric.
    """
    measured = [str(cell) for cell in ranking.loc[ranking["mean"].notna(), "cell"]]
    if _is_path(records):
        taken = {str(comparison["cell"]): None for comparison in records.study.get("comparisons", [])}
        measured = [cell for cell in reversed(taken) if cell in measured]
    return records.resolve(measured[0]) if measured else None


def best_word(records: Records) -> str:
    """What the cell of `best_cell` is called: a path's last step need not be its best."""
    return "last step" if _is_path(records) else "best"


def _is_path(records: Records) -> bool:
    return records.study.get("design") == "path"


def is_step(records: Records) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a comparison is, in a ladder or a path, of a cell with the one before; true of any in other designs."""
    if records.study.get("design") not in STEPWISE:
        return lambda comparison: True
    comparisons = records.study.get("comparisons", [])
    cells = list(
        dict.fromkeys([*(one["baseline_cell"] for one in comparisons[:1]), *(one["cell"] for one in comparisons)])
    )
    before = dict(zip(cells[1:], cells, strict=False))
    return lambda comparison: before.get(comparison["cell"]) == comparison["baseline_cell"]


def shown_cells(records: Records, ranking: pd.DataFrame) -> dict[str, str]:
    """Baseline and best cell, as far as there are any, with what a figure calls them."""
    baseline, best = baseline_cell(records), best_cell(records, ranking)
    cells = [cell for cell in dict.fromkeys([baseline, best]) if cell is not None]
    return {cell: label(cell) + (f" ({best_word(records)})" if cell == best else "") for cell in cells}


def label(cell: str) -> str:
    return short(cell, LABEL)


def labels(cells: Iterable[str], length: int = LABEL) -> dict[str, str]:
    """Each cell's name cut to `length` characters, numbered where cut ones agree: no two labels are equal."""
    return unique({cell: short(cell, length) for cell in cells})


def unique(texts: Mapping[Key, str]) -> dict[Key, str]:
    """The texts, from the second of equal ones on followed by a number."""
    taken: set[str] = set()
    made = {}
    for key, text in texts.items():
        number, made[key] = 1, text
        while made[key] in taken:
            number += 1
            made[key] = f"{text} ({number})"
        taken.add(made[key])
    return made


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
