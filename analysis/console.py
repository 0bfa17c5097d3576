"""Prints a run's tables on a terminal, and the progress of a run for `status`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.records.columns import rows_of
from analysis.records.run_records import Records
from analysis.records.schema import DIVERGED, FAILED, FINISHED, RUNNING, STOPPED
from analysis.records.store import read_records
from analysis.tables.formatting import WITHOUT_INTERVAL, interval, number, without_interval
from analysis.tables.spec import TERMINAL, TERMINAL_ROWS, Column, Row, spec_of
from core.metrics import maximised

if TYPE_CHECKING:
    from rich.table import Table

P_DIGITS = 2  # significant
VERDICT_COLOURS = {"better": "green", "worse": "red", "unstable": "yellow"}


def console_table(name: str, table: pd.DataFrame) -> "Table":
    """A table's terminal columns as a rich table of at most 100 characters."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    spec = spec_of(name)
    columns = spec.shown(table, TERMINAL)
    options: dict[str, Any] = {"title_justify": "left", "caption_justify": "left"}
    notes = (
        spec.footnote(table),
        WITHOUT_INTERVAL if any(c.band for c in columns) and without_interval(table).any() else "",
    )
    title, footnote = spec.titled(table), "; ".join(filter(None, notes)) or None
    printed = Table(title=title, caption=footnote, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), **options)
    for column in columns:
        if column.is_text():  # text may wrap, numbers may not
            printed.add_column(column.terminal, overflow="fold")
        else:
            printed.add_column(column.terminal, justify="right", no_wrap=True)
    for row in rows_of(table.head(TERMINAL_ROWS) if spec.footnote(table) else table):
        cells = [Text((column.text and column.text(row)) or _text(column, row)) for column in columns]
        for column, cell in zip(columns, cells, strict=True):
            if column.key == "verdict":
                cell.stylize(VERDICT_COLOURS.get(cell.plain.rpartition(" ")[2], ""))
        printed.add_row(*cells)
    return printed


def _text(column: Column, row: Row) -> str:
    value = row[column.key]
    if value is None or pd.isna(value):
        return ""
    if column.is_text() or column.kind == "count":
        return str(value)
    if column.kind == "p":
        return number(value, P_DIGITS)
    text = number(value, column.terminal_digits, column.signed)
    if not column.band:
        return text
    return f"{text} {interval(row['ci_low'], row['ci_high'], column.terminal_digits - 1)}".strip()


def describe(run_dir: Path) -> list[str]:
    """Lines for `status`: trials by status, running trials, best so far, time left."""
    records = read_records(run_dir)
    trials, study = records.trials, records.study
    planned = records.planned_trials
    most = "at most " if study.get("trials_ahead") else ""
    counts = {
        status: int((trials["status"] == status).sum()) for status in (FINISHED, RUNNING, STOPPED, DIVERGED, FAILED)
    }
    waiting = max(0, planned - len(trials))
    listed = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    states = ", ".join(filter(None, (listed, f"{waiting} waiting")))
    lines = [f"{study['name']}: {most}{planned} trials planned: {states}"]
    for row in trials.loc[trials["status"] == RUNNING].itertuples():
        lines.append(f"  running: {row.trial}  {row.cell}, seed {row.seed}, epoch {row.epochs}")
    return [*lines, *_best(records), *_left(records, waiting)]


def _best(records: Records) -> list[str]:
    metric = records.ranked_metric
    done = records.finished
    if metric not in done or done[metric].isna().all():
        return []
    row = done.sort_values(metric, ascending=not maximised(metric)).iloc[0]
    return [f"best so far: {metric} {row[metric]:.4f}  {row['cell']}, seed {row['seed']}, trial {row['trial']}"]


def _left(records: Records, waiting: int) -> list[str]:
    """The time left, from the mean duration of an epoch so far and the number of trials running now."""
    trials, epochs = records.trials, records.epochs
    running = trials.loc[trials["status"] == RUNNING]
    budget = records.study["epochs"]
    todo = waiting * budget + int((budget - running["epochs"]).clip(lower=0).sum())
    if not todo:
        return ["nothing left to do"] if not len(running) else []
    if not len(epochs):
        return ["no epoch recorded yet"]
    seconds = float(epochs["seconds"].mean()) * todo / max(1, len(running))
    return [f"about {seconds / 60:.1f} min left for {todo} epochs, {max(1, len(running))} trials at a time"]
