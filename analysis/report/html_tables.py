"""The report's tables as they stand on the page: chosen columns, as few decimals as tell the rows apart, the best in
bold."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pandas as pd

from analysis.records.columns import metric_values, rows_of
from analysis.records.run_records import Records
from analysis.records.schema import FINISHED
from analysis.report.narrative import unclear
from analysis.statistics.hypothesis_tests import half_width
from analysis.tables.ablation import MANY_BASELINES
from analysis.tables.formatting import number, p_text, plural, reached, setting_text
from analysis.tables.ladder_and_path import BEFORE, FIRST
from analysis.tables.ranking import settings_of_cells

TABLE_ROWS, RANKING_ROWS, TRIAL_ROWS, CLASS_CELLS = 300, 50, 300, 8
TEXT, NUM, STRONG, BEST, FAINT = "text", "num", "num strong", "num best", "num faint"

Row = dict[str, Any]


class TableCell(NamedTuple):
    """Text with its css class; a softer note below it; the anchor of the page that it leads to, and its own; the
    number in full that it is sorted by, where there is one."""

    text: str
    kind: str = TEXT
    note: str = ""
    to: str = ""
    id: str = ""
    value: float | None = None


@dataclass(frozen=True)
class HtmlTable:
    """A table of the page: heads with their alignment ("text" or "num"), rows of cells, and what follows below them."""

    heads: list[tuple[str, str]]
    rows: list[list[TableCell]]
    note: str = ""


class Column(NamedTuple):
    """A column of an HtmlTable: its head, its alignment, and the cell that it makes of a table's row."""

    head: str
    kind: str
    cell: Callable[[Row], TableCell]


def html_table(table: pd.DataFrame, columns: Sequence[Column]) -> HtmlTable:
    heads = [(column.head, column.kind) for column in columns]
    return HtmlTable(heads, [[column.cell(row) for column in columns] for row in rows_of(table)])


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


def num(value: float | None, decimals: int, kind: str = NUM, signed: bool = False) -> TableCell:
    return TableCell(fixed(value, decimals, signed), kind, value=known(value))


def known(value: Any) -> float | None:
    """A number as Python's own, which writes itself in full; None where there is none."""
    return None if value is None or pd.isna(value) else float(value)


def verdict_cell(verdict: str | float, note: str = "") -> TableCell:
    said = verdict if isinstance(verdict, str) else ""
    return TableCell(said, f"verdict {said.replace(' ', '-')}", note)


def capped(table: HtmlTable, file: str) -> HtmlTable:
    """At most TABLE_ROWS rows, with a note on how many more are in `file`."""
    left = len(table.rows) - TABLE_ROWS
    if left <= 0:
        return table
    note = f"The first {TABLE_ROWS} rows; {left} more are in {file}."
    return replace(table, rows=table.rows[:TABLE_ROWS], note=f"{table.note} {note}".strip())


def text_column(name: str, head: str = "", kind: str = TEXT) -> Column:
    return Column(head or name, TEXT, lambda row: TableCell("" if pd.isna(row[name]) else str(row[name]), kind))


def figure_column(name: str, head: str, text: Callable[[Any], str], kind: str = NUM) -> Column:
    """A number as `text` writes it, sorted by the number itself."""
    return Column(head, NUM, lambda row: TableCell(text(row[name]) or "–", kind, value=known(row[name])))


def number_column(name: str, head: str, decimals: int, kind: str = NUM, signed: bool = False) -> Column:
    return figure_column(name, head, lambda value: fixed(value, decimals, signed), kind)


def p_column(name: str, head: str) -> Column:
    return figure_column(name, head, p_text)


def count_column(name: str, head: str = "n") -> Column:
    return Column(head, NUM, lambda row: TableCell(str(row[name]), NUM if row[name] else FAINT, value=known(row[name])))


def interval_column(decimals: int, low: str = "ci_low", high: str = "ci_high") -> Column:
    def cell(row: Row) -> TableCell:
        return TableCell(band(row, decimals, low, high), NUM, value=known(row[low]))

    return Column("95 % interval", NUM, cell)


def mean_column(decimals: int) -> Column:
    """A mean with half of its 95 % interval, as far as there are any, the best one in bold."""

    def cell(row: Row) -> TableCell:
        text = fixed(row["mean"], decimals)
        if pd.notna(row["half_width"]):
            text += f" ± {fixed(row['half_width'], decimals)}"
        return TableCell(text, BEST if row.get("best") else NUM, value=known(row["mean"]))

    return Column("mean", NUM, cell)


def setting_column(name: str) -> Column:
    def cell(row: Row) -> TableCell:
        value = row[name]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return TableCell(setting_text(value), value=known(value) if is_number else None)

    return Column(name, TEXT, cell)


def broken_columns(table: pd.DataFrame) -> list[Column]:
    """Counts of failed and diverged runs, where there are any."""
    if not (table["n_failed"] + table["n_diverged"]).sum():
        return []
    return [count_column("n_failed", "failed"), count_column("n_diverged", "diverged")]


def source_columns(table: pd.DataFrame) -> list[Column]:
    """The figure of the study's source, where there is any."""
    there = table["reference"].notna()
    return [text_column("reference", "theirs", "text faint")] if there.any() else []


def comparisons(table: pd.DataFrame) -> HtmlTable:
    """An ablation or effects table: counts of broken runs and the source's figure only where there are any."""
    decimals = places(pd.concat([table["baseline_mean"], table["level_mean"]]))
    columns = [
        *(text_column("factor"), text_column("level"), text_column("baseline_level", "against")),
        *(count_column("n_pairs"), *broken_columns(table)),
        number_column("baseline_mean", "baseline", decimals),
        number_column("level_mean", "level", decimals),
        number_column("delta", "delta", decimals, STRONG, signed=True),
        interval_column(decimals),
        *(p_column("p_holm", "p holm"), p_column("p_permutation", "p perm.")),
        number_column("effect_size", "effect", 2, signed=True),
        Column("verdict", TEXT, lambda row: verdict_cell(row["verdict"], unclear(row))),
    ]
    return html_table(table, [*columns, *source_columns(table)])


def interactions(table: pd.DataFrame) -> HtmlTable:
    decimals = places(table["interaction"])
    columns = [
        *(text_column("factor_a", "factor"), text_column("level_a", "level")),
        *(text_column("factor_b", "with"), text_column("level_b", "level")),
        count_column("n_pairs"),
        number_column("interaction", "interaction", decimals, STRONG, signed=True),
        *(interval_column(decimals), p_column("p_value", "p")),
    ]
    return html_table(table, columns)


def anova(table: pd.DataFrame) -> HtmlTable:
    figures = {"sum_sq": "sum of squares", "mean_sq": "mean square", "f": "F"}
    columns = [
        *(text_column("source"), figure_column("df", "df", str)),
        *(figure_column(name, head, lambda value: number(value, 3)) for name, head in figures.items()),
        *(p_column("p_value", "p"), number_column("eta_sq_partial", "partial η²", 2, STRONG)),
    ]
    return html_table(table, columns)


def ladder(table: pd.DataFrame, ablation: pd.DataFrame) -> HtmlTable:
    """A row a rung: its mean, what it gained over the rung before and over the first, the source's figure."""
    notes = {(row["level"], row["baseline_level"]): unclear(row) for row in rows_of(ablation)}
    rungs = list(table["rung"])
    before = dict(zip(rungs, [rungs[0], *rungs], strict=False))
    decimals = places(table["mean"])

    def gains(over: str, head: str) -> list[Column]:
        def gain(row: Row) -> TableCell:
            cell = num(row[f"delta_{over}"], decimals, STRONG, signed=True)
            return cell._replace(note=band(row, decimals, f"ci_low_{over}", f"ci_high_{over}").strip("–"))

        def verdict(row: Row) -> TableCell:
            other = before[row["rung"]] if over == BEFORE else rungs[0]
            return verdict_cell(row[f"verdict_{over}"], notes.get((row["rung"], other), ""))

        return [Column(head, NUM, gain), p_column(f"p_holm_{over}", "p holm"), Column("verdict", TEXT, verdict)]

    columns = [text_column("rung"), count_column("n"), *broken_columns(table), mean_column(decimals)]
    columns += [*gains(BEFORE, "over the rung before"), *gains(FIRST, "over the first"), *source_columns(table)]
    return html_table(table.assign(half_width=half_width(table["std"], table["n"])), columns)


def levels(table: pd.DataFrame, anchors: Mapping[str, str]) -> HtmlTable:
    """The levels of one factor; `anchors` of the page lead to the trials of a cell."""
    decimals = places(table["mean"])

    def trials_of(row: Row) -> TableCell:
        several = len(str(row["trials"]).split())
        return TableCell(plural(several, "trial"), "text nowrap", to=anchors.get(row["cell"], ""), value=several)

    columns = [
        Column("level", TEXT, lambda row: TableCell(row["level"], note="baseline" if row["is_baseline"] else "")),
        *(mean_column(decimals), count_column("n"), *broken_columns(table)),
        number_column("delta", "difference", decimals, STRONG, signed=True),
        *(interval_column(decimals), p_column("p_holm", "p holm")),
        Column("verdict", TEXT, lambda row: verdict_cell(row["verdict"])),
        *(*source_columns(table), Column("trials", TEXT, trials_of)),
    ]
    return html_table(table.assign(cell=table.attrs["cells"]), columns)


def trials(records: Records, metric: str) -> tuple[HtmlTable, dict[str, str]]:
    """The trials of the first cells, whole cells only, and the anchor of each cell's first row."""
    values = metric_values(records.trials, metric)

    def status(row: Row) -> TableCell:
        return TableCell(row["status"], TEXT if row["status"] == FINISHED else "text warn")

    columns = [
        *(text_column("trial", kind="text mono"), number_column("seed", "seed", 0), Column("status", TEXT, status)),
        *(number_column("epochs", "epochs", 0), number_column("selected_epoch", "selected", 0)),
        *(number_column("value", metric, places(values)), number_column("seconds", "seconds", 1)),
    ]
    anchors: dict[str, str] = {}
    rows: list[list[TableCell]] = []
    for place, cell in enumerate(records.cells):
        own = records.rows(cell)
        if len(rows) + len(own) > TRIAL_ROWS:
            break
        anchors[cell] = f"trials-{place}"
        first = TableCell(cell, id=anchors[cell])
        if records.resolve(cell) != cell:
            rows.append([first, TableCell("", note=f"the trials of {records.resolve(cell)}")])
            continue
        for cells in html_table(own.assign(value=values.loc[own.index]), columns).rows:
            rows.append([first, *cells])
            first = TableCell(cell, "text repeat")
    left = len(records.cells) - len(anchors)
    note = f"The trials of {left} more cells are in trials.parquet." if left else ""
    return HtmlTable([("cell", TEXT), *((column.head, column.kind) for column in columns)], rows, note), anchors


def why(table: pd.DataFrame) -> HtmlTable:
    """What changed on the test examples: of classifiers right and wrong ones, of landmarks their errors."""
    one_factor = set(table["factor"]) <= MANY_BASELINES
    columns = [*([] if one_factor else [text_column("factor")]), text_column("level")]
    columns += [text_column("baseline_level", "against"), count_column("n_pairs"), count_column("examples", "examples")]
    return html_table(table, columns + (_errors() if "share_better" in table else _changes()))


def _errors() -> list[Column]:
    def share(value: float) -> str:
        return f"{value:.0%}".replace("%", " %")

    return [
        *(figure_column("share_better", "better", share), figure_column("share_worse", "worse", share)),
        number_column("delta_px", "mean change, px", 2, signed=True),
        number_column("delta_px_median", "median change, px", 2, signed=True),
    ]


def _changes() -> list[Column]:
    def calibration(row: Row) -> TableCell:
        ece = f"{fixed(row['ece_baseline'], 3)} → {fixed(row['ece_level'], 3)}"
        return TableCell(ece if pd.notna(row["ece_baseline"]) else "–", "text nowrap")

    return [
        *(figure_column(name, name, "{:.3g}".format, STRONG) for name in ("gained", "lost")),
        p_column("p_mcnemar", "McNemar p"),
        Column("most gained", TEXT, lambda row: _class(row, "gain")),
        Column("most lost", TEXT, lambda row: _class(row, "loss")),
        Column("ECE", TEXT, calibration),
    ]


def _class(row: Row, side: str) -> TableCell:
    if pd.isna(row[f"class_{side}"]):
        return TableCell("–")
    return TableCell(f"{row[f'class_{side}']} ({fixed(row[f'class_{side}_delta'], 2, signed=True)})", "text nowrap")


def ranking(table: pd.DataFrame, beside: str) -> HtmlTable:
    """The best rows, with the split that was not ranked by beside, and the settings of each."""
    table = table.head(RANKING_ROWS)
    decimals = places(table["mean"] if table["mean"].notna().any() else table.get("stopped_mean", table["mean"]))
    stopped = "n_stopped" in table

    def mean(row: Row) -> TableCell:
        if stopped and pd.isna(row["mean"]) and pd.notna(row["stopped_mean"]):
            return TableCell(reached(row, fixed(row["stopped_mean"], decimals)), FAINT, value=row["stopped_mean"])
        return num(row["mean"], decimals, BEST if row["rank"] == 1 and pd.notna(row["mean"]) else NUM)

    columns = [
        *(number_column("rank", "rank", 0, FAINT), text_column("cell"), count_column("n"), *broken_columns(table)),
        *([count_column("n_stopped", "stopped")] if stopped else []),
        *(Column("mean", NUM, mean), interval_column(decimals), number_column("std", "std", decimals)),
        number_column("test_mean" if beside == "test" else "val_mean", beside, decimals),
    ]
    return html_table(table, [*columns, *map(setting_column, settings_of_cells(table))])


def pareto(table: pd.DataFrame, metrics: Sequence[str]) -> HtmlTable:
    """The front: cell, number of runs, mean of each metric, varied settings."""
    table = table.head(RANKING_ROWS)
    settings = [str(name) for name in table if name not in ("cell", "n", *metrics)]
    means = [number_column(name, name, places(table[name])) for name in metrics]
    return html_table(table, [text_column("cell"), count_column("n"), *means, *map(setting_column, settings)])


def per_class(table: pd.DataFrame) -> HtmlTable:
    """Accuracy of every class in the best cells, a row a class."""
    cells = list(table["cell"].unique())[:CLASS_CELLS]
    accuracy = {(row["cell"], row["class"]): row["accuracy"] for row in rows_of(table)}
    examples = table.drop_duplicates("class")[["class", "examples"]]
    heads = [("class", TEXT), ("examples", NUM), *((cell, NUM) for cell in cells)]
    rows = []
    for name, size in examples.itertuples(index=False):
        values = [accuracy.get((cell, name)) for cell in cells]
        best = max((value for value in values if value is not None), default=None)
        marked = [num(value, 3, BEST if value == best and len(cells) > 1 else NUM) for value in values]
        rows.append([TableCell(str(name)), num(size, 0, FAINT), *marked])
    return HtmlTable(heads, rows)


def stability(table: pd.DataFrame) -> HtmlTable:
    columns = [text_column("cell"), count_column("n")]
    for name, decimals in (("roughness", places(table["val_roughness_mean"])), ("jumps", 1)):
        columns += [
            number_column(f"val_{name}_mean", name, decimals, STRONG),
            number_column(f"val_{name}_std", "std", decimals),
            interval_column(decimals, f"val_{name}_ci_low", f"val_{name}_ci_high"),
        ]
    return html_table(table, columns)


def plain(table: pd.DataFrame) -> HtmlTable:
    """Every column of any table under its own name, numbers with four significant digits."""

    def column(name: str) -> Column:
        is_numeric = pd.api.types.is_numeric_dtype(table[name])

        def cell(row: Row) -> TableCell:
            text = number(row[name]) if isinstance(row[name], float) else setting_text(row[name])
            return TableCell(text, NUM, value=known(row[name])) if is_numeric else TableCell(text)

        return Column(name.replace("_", " "), NUM if is_numeric else TEXT, cell)

    return html_table(table, [column(str(name)) for name in table])
