"""The report's tables as HTML: the columns of their specs, four significant digits, the best mean in bold."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import pandas as pd

from analysis.records.columns import metric_values, rows_of
from analysis.records.run_records import Records
from analysis.records.schema import FINISHED
from analysis.tables.formatting import EQUAL, has_width, number, p_text, setting_text
from analysis.tables.spec import PAGE, Column, Row, TableSpec, best_rows

TABLE_ROWS, RANKING_ROWS, TRIAL_ROWS, CLASS_CELLS = 300, 50, 300, 8
TEXT, NUM, BEST, FAINT = "text", "num", "num best", "num faint"


class TableCell(NamedTuple):
    """A cell: `text` with css class `kind`, a `note` below it in softer type, the anchor `to` which it links, its own
    anchor `id`, and the unrounded number `value` by which it is sorted, if it has one."""

    text: str
    kind: str = TEXT
    note: str = ""
    to: str = ""
    id: str = ""
    value: float | None = None


@dataclass(frozen=True)
class HtmlTable:
    """A table of the page: heads with their css classes, rows of cells, and what follows below them."""

    heads: list[tuple[str, str]]
    rows: list[list[TableCell]]
    note: str = ""


More = Mapping[str, Sequence[Mapping[str, Any]]]
"""fields of a `TableCell` by column, one mapping a row"""


def html_table(
    spec: TableSpec, table: pd.DataFrame, more: More | None = None, file: str = "", rows: int | None = None
) -> HtmlTable:
    """A table by its spec, or its first `rows`, with a note on how many more are in `file`; `more` sets further fields
    of the cells of some columns.

    Columns whose spec gives no number of digits all have the same number of decimals (`places`).
    """
    columns = spec.shown(table, PAGE)
    scaled = [c.key for c in columns if c.kind in ("number", "interval") and c.digits is None and c.significant is None]
    decimals = places(table[scaled])
    shown = table if rows is None else table.head(rows)
    rows_with_best = zip(rows_of(shown), best_rows(table), strict=False)
    cells = [[_cell(column, row, decimals, best) for column in columns] for row, best in rows_with_best]
    for place, column in enumerate(columns):
        for row, fields in zip(cells, (more or {}).get(column.key, ()), strict=False):
            row[place] = row[place]._replace(**fields)
    left = len(table) - len(cells)
    note = f"The first {rows} rows; {left} more are in {file}." if left else ""
    return HtmlTable([(column.words(), _head(column)) for column in columns], cells, note)


def _head(column: Column) -> str:
    """The alignment of a column's head, and as what it may fold on a narrow page."""
    folds = "lesser" if column.lesser else "setting" if column.kind == "setting" else ""
    keeps = column.kind in ("verdict", "interval") or column.css == "num strong" or column.key == "mean"
    return " ".join(filter(None, (_alignment(column), folds or ("kept" if keeps else ""))))


def _alignment(column: Column) -> str:
    return TEXT if column.is_text() else NUM


def _cell(column: Column, row: Row, decimals: int, best: bool) -> TableCell:
    value = row[column.key]
    text = (column.text and column.text(row)) or _text(column, row, decimals)
    css = column.css or _alignment(column)
    if column.kind == "verdict":
        css = f"verdict {text.replace(' ', '-')}"
    elif column.kind == "count" and not value:
        css = FAINT
    elif column.key == "mean" and best and text != "–":
        css = BEST
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return TableCell(text, css, column.note(row) if column.note else "", value=known(value) if is_number else None)


def _text(column: Column, row: Row, decimals: int) -> str:
    value = row[column.key]
    places = decimals if column.digits is None else column.digits
    match column.kind:
        case "text" | "verdict":
            return "" if value is None or pd.isna(value) else str(value)
        case "setting" | "flag":
            return setting_text(value)
        case "count":
            return str(value)
        case "p":
            return p_text(value) or "–"
        case "interval":
            return band(row, places, column.key, column.upper)
    if column.significant is not None:
        return number(value, column.significant, column.signed) or "–"
    text = fixed(value, places, column.signed)
    half = row.get("half_width") if column.key == "mean" else None
    return f"{text} ± {fixed(half, places)}" if half is not None and half > EQUAL * abs(value) else text


def places(values: pd.DataFrame) -> int:
    """Decimals that show four significant digits of the largest value."""
    largest = values.abs().max().max()
    if pd.isna(largest) or largest == 0:
        return 3
    return min(6, max(0, 3 - math.floor(math.log10(largest))))


def fixed(value: float | None, decimals: int, signed: bool = False) -> str:
    if value is None or pd.isna(value):
        return "–"
    text = f"{value:{'+' if signed else ''}.{decimals}f}"
    return text.replace("-", "−")


def band(row: Row, decimals: int, low: str, high: str) -> str:
    if pd.isna(row[low]) or not has_width(row[low], row[high]):
        return "–"
    return f"[{fixed(row[low], decimals)}, {fixed(row[high], decimals)}]"


def known(value: Any) -> float | None:
    """A number as a Python float, which prints in full precision; None where it is missing."""
    return None if value is None or pd.isna(value) else float(value)


def trials_table(records: Records, metric: str) -> tuple[HtmlTable, dict[str, str]]:
    """The trials of the first cells, up to TRIAL_ROWS without splitting a cell; the anchor of each cell's first row."""
    values = metric_values(records.trials, metric)
    spec = TableSpec(
        "trials",
        (
            Column("trial", "text", css="text mono"),
            Column("seed", digits=0),
            Column("status", "text"),
            Column("epochs", digits=0),
            Column("selected_epoch", head="selected", digits=0),
            Column("value", head=metric, digits=places(values.to_frame())),
            Column("seconds", digits=1),
        ),
    )
    anchors: dict[str, str] = {}
    parts: dict[str, pd.DataFrame] = {}
    count = 0
    for place, cell in enumerate(records.cells):
        own = records.rows(cell)
        if count + len(own) > TRIAL_ROWS:
            break
        anchors[cell] = f"trials-{place}"
        parts[cell] = own if records.resolve(cell) == cell else own.head(0)
        count += len(own) if records.resolve(cell) == cell else 1
    shown = pd.concat(parts.values()) if parts else records.trials.head(0)
    made = html_table(spec, shown.assign(value=values.loc[shown.index])[[column.key for column in spec.columns]])
    left = iter(made.rows)
    rows: list[list[TableCell]] = []
    for cell, own in parts.items():
        first = TableCell(cell, id=anchors[cell])
        if records.resolve(cell) != cell:
            rows.append([first, TableCell("", note=f"the trials of {records.resolve(cell)}")])
        for cells in islice(left, len(own)):
            cells[2] = cells[2]._replace(kind=TEXT if cells[2].text == FINISHED else "text warn")
            rows.append([first, *cells])
            first = TableCell(cell, "text repeat")
    further = len(records.cells) - len(anchors)
    note = f"The trials of {further} more cells are in trials.parquet." if further else ""
    return HtmlTable([("cell", TEXT), *made.heads], rows, note), anchors


def per_class(table: pd.DataFrame) -> HtmlTable:
    """Accuracy of every class in the best cells, one row per class."""
    cells = list(table["cell"].unique())[:CLASS_CELLS]
    accuracy = {(row["cell"], row["class"]): row["accuracy"] for row in rows_of(table)}
    examples = table.drop_duplicates("class")[["class", "examples"]]
    heads = [("class", TEXT), ("examples", NUM), *((cell, NUM) for cell in cells)]
    rows = []
    for name, size in examples.itertuples(index=False):
        values = [accuracy.get((cell, name)) for cell in cells]
        measured = {value for value in values if value is not None}
        best = max(measured) if len(measured) > 1 else None  # where all are equal, none is
        marked = [
            TableCell(fixed(value, 3), BEST if best is not None and value == best else NUM, value=known(value))
            for value in values
        ]
        rows.append([TableCell(str(name)), TableCell(str(size), FAINT, value=known(size)), *marked])
    return HtmlTable(heads, rows)
