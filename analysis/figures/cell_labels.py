"""Cell labels in figures, and the featured cells: the baseline and the best.

Figures of featured cells only read single trials, so their cost does not grow with the run.
"""

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

import pandas as pd

from analysis.records.run_records import Records
from analysis.tables.ranking import best_cell, best_word
from core.value_words import cut

LABEL = 44  # characters of a cell's name over a panel

Key = TypeVar("Key", bound=Hashable)


def featured_cells(records: Records, ranking: pd.DataFrame) -> dict[str, str]:
    """Labels by cell of the baseline and the best cell, if they exist."""
    baseline, best = records.baseline_cell, best_cell(records, ranking)
    cells = [cell for cell in dict.fromkeys([baseline, best]) if cell is not None]
    return {cell: label(cell) + (f" ({best_word(records)})" if cell == best else "") for cell in cells}


def label(cell: str) -> str:
    return cut(cell, LABEL)


def labels(cells: Iterable[str], length: int = LABEL) -> dict[str, str]:
    """Each cell's name cut to `length` characters, numbered where cut names are equal: no two labels are equal."""
    return unique({cell: cut(cell, length) for cell in cells})


def unique(texts: Mapping[Key, str]) -> dict[Key, str]:
    """The texts; of equal ones, the second and later get a number."""
    taken: set[str] = set()
    made = {}
    for key, text in texts.items():
        number, made[key] = 1, text
        while made[key] in taken:
            number += 1
            made[key] = f"{text} ({number})"
        taken.add(made[key])
    return made
