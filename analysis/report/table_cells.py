"""What a table of the page is made of: text to read, the number in full that it is sorted by, and how it looks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pandas as pd

from analysis.tables.formatting import p_text, setting_text

SHEET_ROWS = 300
TEXT, NUM = "text", "num"


class Cell(NamedTuple):
    """Text with its css class; a softer note below it; the anchor of the page that it leads to, and its own; the
    number in full that it is sorted by, where there is one."""

    text: str
    kind: str = TEXT
    note: str = ""
    to: str = ""
    id: str = ""
    value: float | None = None


@dataclass(frozen=True)
class Sheet:
    """A table of the page: heads with their alignment ("text" or "num"), rows of cells, and what follows below them."""

    heads: list[tuple[str, str]]
    rows: list[list[Cell]]
    note: str = ""


def places(values: pd.Series) -> int:
    """Decimals that show four significant digits of the largest value."""
    largest = values.abs().max()
    if pd.isna(largest) or largest == 0:
        return 3
    return min(6, max(0, 3 - math.floor(math.log10(largest))))


def fixed(value: float | None, decimals: int, signed: bool = False) -> str:
    if value is None or pd.isna(value):
        return "–"
    text = f"{value:{'+' if signed else ''}.{decimals}f}"
    return text.replace("-", "−")


def band(row: Mapping[str, Any], decimals: int, low: str = "ci_low", high: str = "ci_high") -> str:
    if pd.isna(row[low]):
        return "–"
    return f"[{fixed(row[low], decimals)}, {fixed(row[high], decimals)}]"


def num(value: float | None, decimals: int, kind: str = NUM, signed: bool = False) -> Cell:
    return Cell(fixed(value, decimals, signed), kind, value=known(value))


def known(value: Any) -> float | None:
    """A number as Python's own, which writes itself in full; None where there is none."""
    return None if value is None or pd.isna(value) else float(value)


def count(value: int) -> Cell:
    return Cell(str(value), NUM if value else "num faint", value=known(value))


def p_cell(p: float | None) -> Cell:
    return Cell(p_text(p) or "–", NUM, value=known(p))


def band_cell(row: Mapping[str, Any], decimals: int, low: str = "ci_low", high: str = "ci_high") -> Cell:
    return Cell(band(row, decimals, low, high), NUM, value=known(row[low]))


def texts(row: Mapping[str, Any], *names: str) -> list[Cell]:
    return [Cell(str(row[name])) for name in names]


def verdict_cell(verdict: str, note: str = "") -> Cell:
    return Cell(verdict, f"verdict {verdict.replace(' ', '-')}", note)


def setting_cell(value: Any) -> Cell:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(setting_text(value), value=known(value) if is_number else None)


def source_cell(reference: Any) -> Cell:
    return Cell(str(reference) if pd.notna(reference) else "", "text faint")


def plus_minus(mean: float | None, half: float | None, decimals: int) -> str:
    """A mean with half of its 95 % interval, as far as there are any."""
    return fixed(mean, decimals) + (f" ± {fixed(half, decimals)}" if half is not None and pd.notna(half) else "")


def capped(sheet: Sheet, rest: str) -> Sheet:
    """At most SHEET_ROWS rows, with a note on how many more are in the file `rest`."""
    left = len(sheet.rows) - SHEET_ROWS
    if left <= 0:
        return sheet
    note = f"The first {SHEET_ROWS} rows; {left} more are in {rest}."
    return replace(sheet, rows=sheet.rows[:SHEET_ROWS], note=f"{sheet.note} {note}".strip())
