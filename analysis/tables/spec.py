"""The specification of a report's table: columns, caption and place, defined once for all its output forms.

CSV, Parquet and Markdown hold every column under its key. A paper (LaTeX), the page (HTML) and the terminal show only
the columns marked for them, under their heads. `register` is all that a new table needs.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from analysis.records.run_directory import RunDirectory
from analysis.records.run_records import Records
from analysis.tables.formatting import EQUAL

Row = Mapping[str, Any]
Kind = Literal["text", "count", "number", "p", "interval", "verdict", "setting", "flag"]
"""How values are written: an interval from this column to its `upper`, a setting as a configuration has it"""
DTYPES = {"text": "str", "verdict": "str", "count": "int64", "number": "float64", "p": "float64", "interval": "float64"}
PAPER, PAGE, TERMINAL = "paper", "page", "terminal"
TERMINAL_ROWS = 40


@dataclass(frozen=True)
class Column:
    """A column of a table. `key` is its name in files, `head` its heading elsewhere (by default the key in words)."""

    key: str
    kind: Kind = "number"
    head: str = ""
    shown: tuple[str, ...] = (PAPER, PAGE)
    terminal: str = ""
    """its head in a terminal, where it is shown if it has one"""
    dtype: str = ""
    """of its values, where `kind` does not say"""
    signed: bool = False
    css: str = ""
    """class of its cells on the page"""
    digits: int | None = None
    """decimals on the page; without, those that tell the table's numbers apart"""
    significant: int | None = None
    """significant digits on the page instead"""
    terminal_digits: int = 3
    """significant digits in a terminal; an interval behind the number has one less"""
    upper: str = ""
    """the column of an interval's upper end"""
    band: bool = False
    """whether the interval stands behind the number in a terminal"""
    part: bool = False
    """whether it is shown as a part of another column only"""
    when: Callable[[pd.DataFrame], bool] = lambda table: True
    """whether a paper, page or terminal shows it for this table"""
    terminal_when: Callable[[pd.DataFrame], bool] = lambda table: True
    """whether a terminal does"""
    lesser: bool = False
    """whether it folds first where the page is too narrow for the table; settings fold next, then numbers"""
    text: Callable[[Row], str | None] | None = None
    """in place of the kind's text, on the page and in a terminal, where it gives any"""
    note: Callable[[Row], str] | None = None
    """softer text below, on the page"""

    def words(self) -> str:
        return self.head or self.key.replace("_", " ")

    def is_text(self) -> bool:
        return self.kind in ("text", "verdict", "setting", "flag")


def interval_column(low: str = "ci_low", high: str = "ci_high", **more: Any) -> tuple[Column, Column]:
    return Column(low, "interval", upper=high, **{"head": "95 % interval"} | more), Column(high, part=True)


def some(*keys: str) -> Callable[[pd.DataFrame], bool]:
    """Whether any of these columns has a value other than 0."""
    return lambda table: bool(table[[key for key in keys if key in table]].fillna(0).astype(bool).to_numpy().any())


BROKEN = (
    Column("n_failed", "count", "failed", when=some("n_failed", "n_diverged")),
    Column("n_diverged", "count", "diverged", when=some("n_failed", "n_diverged")),
)
METRIC = Column("metric", "text", shown=(PAPER,), when=lambda table: table["metric"].nunique() > 1)
REFERENCE = Column(
    "reference",
    "text",
    "source's figure",
    css="text faint",
    lesser=True,
    when=lambda table: bool(table["reference"].notna().any()),
)


@dataclass(frozen=True)
class ReportData:
    """The input of registered tables and figures: a run's records and files, and the tables made before."""

    records: Records
    run: RunDirectory
    tables: Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class TableSpec:
    """A table by its `name`, which is its file name or a prefix of it.

    `caption` is for papers; {metric}, {n} (runs) and {family} (rows corrected for) are filled in. On the page the table
    stands in `section` under `heading` with `text`; without a section `analysis.report.sections` places it.
    """

    name: str
    columns: tuple[Column, ...] = ()
    caption: str = ""
    section: str = ""
    heading: str = ""
    text: str = ""
    title: Callable[[pd.DataFrame], str] | None = None
    """in a terminal; without, the metric or the heading"""
    footnote: Callable[[pd.DataFrame], str] = lambda table: ""
    """what stands below in a terminal"""
    make: "Callable[[ReportData], pd.DataFrame] | None" = None
    """of a table that is made by itself; an empty one is not written"""
    is_data: bool = False
    """of points, for programs: without Markdown and LaTeX"""

    def titled(self, table: pd.DataFrame) -> str:
        """The title above the table in a terminal."""
        if self.title is not None:
            return self.title(table)
        if "metric" in table:
            return str(table["metric"].iloc[0]) if len(table) else "nothing to compare"
        return self.heading or self.name

    def frame(self, rows: Iterable[Row]) -> pd.DataFrame:
        """The rows as a table of these columns, with their dtypes; values that a row lacks are null."""
        table = pd.DataFrame(list(rows), columns=[column.key for column in self.columns])
        kinds = {c.key: c.dtype or DTYPES.get(c.kind, "") for c in self.columns}
        return table.astype({key: dtype for key, dtype in kinds.items() if dtype})

    def columns_of(self, table: pd.DataFrame) -> list[Column]:
        """The table's columns, in its own order; those that the spec does not list get a default specification."""
        known = {column.key: column for column in self.columns}
        return [known.get(str(name)) or _unknown(table, str(name)) for name in table]

    def shown(self, table: pd.DataFrame, form: str) -> list[Column]:
        """The columns shown in `form` (paper, page or terminal), in the order of the spec, then those not in it."""
        places = {column.key: place for place, column in enumerate(self.columns)}
        columns = sorted(self.columns_of(table), key=lambda column: places.get(column.key, len(places)))
        if form == TERMINAL:
            columns = [column for column in columns if column.terminal and column.terminal_when(table)]
        else:
            columns = [column for column in columns if form in column.shown]
        return [column for column in columns if not column.part and column.when(table)]


def _unknown(table: pd.DataFrame, name: str) -> Column:
    """The specification of a column that the table's spec does not list, by its name and values."""
    if name.startswith("ci_low") and (upper := name.replace("low", "high")) in table:
        return Column(name, "interval", name.replace("ci_low", "interval"), upper=upper)
    if name in ("half_width", "best", "is_baseline") or (
        name.startswith("ci_high") and name.replace("high", "low") in table
    ):
        return Column(name, part=True)
    is_number = pd.api.types.is_numeric_dtype(table[name]) and not pd.api.types.is_bool_dtype(table[name])
    whole = is_number and bool((table[name].dropna() % 1 == 0).all())  # also where a gap made fractions of them
    head = name if "." in name else ""  # a setting's own name
    return Column(name, "number" if is_number and not whole else "setting", head, significant=4 if is_number else None)


def best_rows(table: pd.DataFrame) -> list[bool]:
    """The rows whose mean is the best of the table, or equal to it; none where several are all equal."""
    none = [False] * len(table)
    leads = table["rank"] == 1 if "rank" in table else table["best"] if "best" in table else pd.Series(none)
    if "mean" not in table or not leads.any():
        return none
    first = table.loc[leads.to_numpy(bool)].iloc[0]
    equal = (table["mean"] - first["mean"]).abs() <= EQUAL * abs(first["mean"])
    known = table["mean"].notna()
    if known.sum() > 1 and equal[known].all():
        return none
    if "n_stopped" in table:  # a cell with stopped trials stands behind the others
        equal &= (table["n_stopped"] > 0) == (first["n_stopped"] > 0)
    return equal.tolist()


TABLES: dict[str, TableSpec] = {}


def register(spec: TableSpec) -> TableSpec:
    """Adds a table to every report; ValueError where its name is taken."""
    if spec.name in TABLES:
        raise ValueError(f"table {spec.name!r} is registered already")
    TABLES[spec.name] = spec
    return spec


def spec_of(name: str) -> TableSpec:
    """The spec of a table by its file name: the one with the longest name that is a prefix of it."""
    known = [spec for key, spec in TABLES.items() if name == key or name.startswith(f"{key}_")]
    return max(known, key=lambda spec: len(spec.name), default=TableSpec(name))
