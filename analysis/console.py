"""Prints a run's tables on a terminal, and the progress of a run for `status`."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.records.checkpoint_files import weight
from analysis.records.columns import metric_values, rows_of
from analysis.records.outputs import lost_in_words
from analysis.records.run_directory import RunDirectory
from analysis.records.run_records import Records
from analysis.records.schema import CONFIG_PREFIX, DIVERGED, FAILED, FINISHED, RUNNING, STOPPED
from analysis.records.store import read_records
from analysis.tables.formatting import (
    WITHOUT_INTERVAL,
    counts_in_words,
    interval,
    number,
    setting_text,
    without_interval,
)
from analysis.tables.ranking import settings_columns
from analysis.tables.spec import TERMINAL, TERMINAL_ROWS, Column, Row, spec_of
from core.metrics import maximised
from core.text import visible
from core.value_words import cut

if TYPE_CHECKING:
    from rich.table import Table

P_DIGITS = 2  # significant
WIDTH, IN_TABLE = 80, 240  # signs that the settings of a configuration may take in a line, and in a table
INTERRUPTED = "interrupted"  # a trial without an end that no process is training; in the records it is running
STATES = (FINISHED, RUNNING, INTERRUPTED, STOPPED, DIVERGED, FAILED)
VERDICT_COLOURS = {"better": "green", "worse": "red", "unstable": "yellow"}


def console_table(name: str, table: pd.DataFrame, settings: Sequence[str] = ()) -> "Table":
    """A table's terminal columns as a rich table of at most 100 characters, and these `settings` in a last column."""
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
    title, footnote = visible(spec.titled(table)), "; ".join(filter(None, notes)) or None
    printed = Table(title=title, caption=footnote, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), **options)
    for column in columns:
        if column.is_text():  # text may wrap, numbers may not
            printed.add_column(visible(column.terminal), overflow="fold")
        else:
            printed.add_column(visible(column.terminal), justify="right", no_wrap=True)
    if settings:
        printed.add_column("settings", overflow="fold")
    for row in rows_of(table.head(TERMINAL_ROWS) if spec.footnote(table) else table):
        cells = [Text(visible((column.text and column.text(row)) or _text(column, row))) for column in columns]
        for column, cell in zip(columns, cells, strict=True):
            if column.key == "verdict":
                cell.stylize(VERDICT_COLOURS.get(cell.plain.rpartition(" ")[2], ""))
        if settings:
            cells.append(Text(visible(short_settings({key: row[key] for key in settings}, IN_TABLE))))
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


def damage(records: Records, address: str) -> list[str]:
    """What is damaged in a run's records, in at most three lines; none if nothing is."""
    found, most = records.findings, 2
    if not found:
        return []
    lost = len({each.trial for each in found if each.trial})
    what = f"trials left out, as not all of their lines can be read: {lost}"
    more = f"and {len(found) - most} more; " if len(found) > most else ""
    said = f"{more}{what}; `check {address}` lists all, `resume {address}` makes up for it"
    return [*(f"damaged: {each}" for each in found[:most]), said]


def losses(records: Records, address: str) -> list[str]:
    """What a report lacks of the files that trials left, in a line; none where it lacks nothing."""
    said = lost_in_words(records.lost)
    return [f"{said}; `check {address}` lists all, `resume {address}` makes them again"] if said else []


def describe(run_dir: Path, at_work: bool = True, records: Records | None = None) -> list[str]:
    """Lines for `status`: trials by status, running trials, best so far, time left.

    `at_work`: whether a process runs the study. If none does, what has no end is interrupted; so is a trial that an
    earlier session began and the present one has not taken up yet.
    """
    records = records or read_records(run_dir)
    trials, study = records.trials, records.study
    planned, (begun, spent) = records.planned_trials, records.last_session
    most = "at most " if study.get("trials_ahead") else ""
    taken_up = trials["trial"].isin(begun) if at_work else pd.Series(False, index=trials.index)
    unfinished = trials["status"] == RUNNING
    states = trials["status"].mask(unfinished & ~taken_up, INTERRUPTED)
    counts = {state: int((states == state).sum()) for state in STATES}
    waiting = max(0, planned - len(trials))
    listed = counts_in_words({**counts, "waiting": waiting})
    lines = [f"{study['name']}: {most}{planned} trials planned: {listed}", *filter(None, [records.all_tried])]
    settings = settings_by_cell(records)
    for row, state in zip(rows_of(trials.loc[unfinished]), states[unfinished], strict=True):
        cell = f"{row['cell']}{settings.get(row['cell'], '')}"
        lines.append(f"  {state}: {row['trial']}  {cell}, seed {row['seed']}, epoch {row['epochs']}")
    lines += [*_best(records, settings), *_weight(records, RunDirectory(run_dir))]
    if at_work:
        return [*lines, *_left(records, waiting)]
    left = waiting + int(unfinished.sum())
    why = "time budget spent" if spent else "interrupted, no process runs it"
    address = RunDirectory(run_dir).address
    return [*lines, f"{why}: {left} trials are left; go on with: resume {address}" if left else "nothing left to do"]


def settings_by_cell(records: Records) -> dict[str, str]:
    """The varied settings of each cell of a search, as ` (lr 0.01)`; of an ablation none, as names say it."""
    if not records.is_search:
        return {}
    rows = rows_of(settings_columns(records))
    return {cell: f" ({short_settings(row)})" for cell, row in zip(records.cells, rows, strict=True)}


def short_settings(settings: Mapping[str, Any], width: int = WIDTH) -> str:
    """Settings as `lr 0.0123, momentum 0.9`: the last part of each name, unless two share it; at most `width` signs."""
    nested = {key: isinstance(value, list | tuple | dict) for key, value in settings.items()}
    known = {key: setting_text(json.dumps(value) if nested[key] else value) for key, value in settings.items()}
    brief = {key: key.removesuffix(".name").rpartition(".")[2] for key in known}
    shared = {name for name, number in Counter(brief.values()).items() if number > 1}
    text = ", ".join(f"{key if brief[key] in shared else brief[key]} {value}" for key, value in known.items() if value)
    return cut(text, width)


def _best(records: Records, settings: Mapping[str, str]) -> list[str]:
    metric = records.ranked_metric
    done = records.finished
    if metric not in done or done[metric].isna().all():
        return []
    row = done.sort_values(metric, ascending=not maximised(metric), kind="stable").iloc[0]  # of equals the first
    cell = f"{row['cell']}{settings.get(row['cell'], '')}"
    return [f"best so far: {metric} {row[metric]:.4f}  {cell}, seed {row['seed']}, trial {row['trial']}"]


def _weight(records: Records, run: RunDirectory) -> list[str]:
    """What the checkpoints weigh, and how much of it `--keep best` would free."""
    from rich.filesize import decimal

    trials, unended = records.trials, set(records.of_status(RUNNING, FAILED)["trial"])
    # Of smaller budgets, from which trials that are to come go on; of a run that is over they are not even listed.
    own = trials.loc[metric_values(trials, f"{CONFIG_PREFIX}training.epochs") >= records.study["epochs"], "trial"]
    ended = set(own) - unended
    needed = ended.isdisjoint if records.is_unfinished else unended.issuperset
    files, size, spare = weight(run, lambda trial: needed((trial,)))
    kept = ((records.study.get("request") or {}).get("options") or {}).get("keep")
    freed = f"; --keep best would free {decimal(spare)}" if spare and kept != "best" else ""
    return [f"checkpoints: {decimal(size)} in {files} file{'s' * (files > 1)}{freed}"] if files else []


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
