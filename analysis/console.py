"""What a terminal shows of a run: its first table, and from another shell how far it is."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.records.columns import rows_of
from analysis.records.run_records import Records
from analysis.records.schema import DIVERGED, FAILED, FINISHED, RUNNING, STOPPED
from analysis.records.store import read_records
from analysis.tables.ablation import MANY_BASELINES
from analysis.tables.formatting import DIGITS, interval, number, reached
from core.metrics import maximised

if TYPE_CHECKING:
    from rich.table import Table

CONSOLE_ROWS = 40
VERDICT_COLOURS = {"better": "green", "worse": "red", "unstable": "yellow"}

Row = dict[str, Any]
Columns = dict[str, Callable[[Row], str]]


def console_table(table: pd.DataFrame) -> "Table":
    """An ablation (or effects) table, a ranking, or a table of two runs, for a terminal; it fits 100 columns."""
    if "rank" in table:
        return _ranking(table)
    if "what" in table:
        return _differences(table)
    if "agree" in table:
        return _agreement(table)
    return _compared(table) if "mean_a" in table else _ablation(table)


def _printed(table: pd.DataFrame, title: str, columns: Columns, folded: set[str], caption: str = "") -> "Table":
    """The columns `folded` hold text, which may be broken; the others are kept whole, to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    options: dict[str, Any] = {"title_justify": "left", "caption_justify": "left", "caption": caption or None}
    printed = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), **options)
    for name in columns:
        if name in folded:
            printed.add_column(name, overflow="fold")
        else:
            printed.add_column(name, justify="right", no_wrap=True)
    for row in rows_of(table):
        cells = {name: Text(text(row)) for name, text in columns.items()}
        if "verdict" in cells:
            cells["verdict"].stylize(VERDICT_COLOURS.get(row["verdict"].rpartition(" ")[2], ""))
        printed.add_row(*cells.values())
    return printed


def _column(name: str, empty: str = "") -> Callable[[Row], str]:
    return lambda row: str(row[name] or empty)


def _number(name: str, digits: int = 3, signed: bool = False) -> Callable[[Row], str]:
    return lambda row: number(row[name], digits, signed)


def _delta(row: Row) -> str:
    return f"{number(row['delta'], 3, True)} {interval(row['ci_low'], row['ci_high'], 2)}".strip()


def _ablation(table: pd.DataFrame) -> "Table":
    factors = set(table["factor"])
    columns: Columns = {
        **({} if factors <= MANY_BASELINES else {"factor": _column("factor")}),
        "level": _column("level"),
        **({"against": _column("baseline_level")} if MANY_BASELINES & factors else {}),
        "n": lambda row: str(row["n_pairs"]),
        "baseline": _number("baseline_mean"),
        "mean": _number("level_mean"),
        "delta [95 %]": _delta,
        "p_holm": _number("p_holm", 2),
        "verdict": _column("verdict"),
    }
    return _printed(table, _metric_title(table), columns, {"factor", "level", "against", "verdict"})


def _compared(table: pd.DataFrame) -> "Table":
    columns: Columns = {
        "cell": _column("cell"),
        "n": lambda row: str(row["n_pairs"]) if row["test"] == "paired" else f"{row['n_a']}, {row['n_b']}",
        "A": _number("mean_a"),
        "B": _number("mean_b"),
        "B − A [95 %]": _delta,
        "p_holm": _number("p_holm", 2),
        "test": _column("test"),
        "verdict": _column("verdict"),
    }
    left = len(table) - CONSOLE_ROWS
    caption = f"{left} more rows; --out DIR writes them all" if left > 0 else ""
    return _printed(table.head(CONSOLE_ROWS), _metric_title(table), columns, {"cell", "test", "verdict"}, caption)


def _agreement(table: pd.DataFrame) -> "Table":
    several = table["metric"].nunique() > 1
    numbers: Columns = {"delta A": _number("delta_a", signed=True), "delta B": _number("delta_b", signed=True)}
    columns: Columns = {
        "factor": _column("factor"),
        "level": _column("level"),
        **({"against": _column("baseline_level")} if MANY_BASELINES & set(table["factor"]) else {}),
        **({"metric": _column("metric")} if several else {}),
        **numbers,
        "verdict in A": _column("verdict_a", "not there"),
        "verdict in B": _column("verdict_b", "not there"),
        "agree": _column("agree"),
    }
    title = "effects in both runs" if several or table.empty else f"effects in both runs on {_metric_title(table)}"
    return _printed(table, title, columns, set(columns) - set(numbers))


def _differences(table: pd.DataFrame) -> "Table":
    columns: Columns = {"what": _column("what"), "A": _column("a"), "B": _column("b")}
    return _printed(table, "what differs", columns, set(columns))


def _ranking(table: pd.DataFrame) -> "Table":
    stopped = int(table["n_stopped"].sum()) if "n_stopped" in table else None
    columns: Columns = {
        "rank": _column("rank"),
        "cell": _column("cell"),
        "n": lambda row: str(row["n"]),
        "failed": lambda row: str(row["n_failed"]),
        "diverged": lambda row: str(row["n_diverged"]),
        **({} if stopped is None else {"stopped": lambda row: str(row["n_stopped"])}),
        "mean [95 %]": _mean_or_reached,
        "validation": _number("val_mean", DIGITS),
        "test": _number("test_mean", DIGITS),
    }
    were = "1 trial was" if stopped == 1 else f"{stopped} trials were"
    caption = f"{were} stopped early by the trial scheduler: such cells stand behind the finished ones"
    return _printed(table, _metric_title(table), columns, {"cell"}, "" if stopped is None else caption)


def _mean_or_reached(row: Row) -> str:
    if pd.isna(row["mean"]) and pd.notna(row.get("stopped_mean")):
        return reached(row, number(row["stopped_mean"]))
    return f"{number(row['mean'])} {interval(row['ci_low'], row['ci_high'], 3)}".strip()


def _metric_title(table: pd.DataFrame) -> str:
    return str(table["metric"].iloc[0]) if len(table) else "nothing to compare"


def describe(run_dir: Path) -> list[str]:
    """Lines: trials by state, running trials, best so far, time left."""
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
    """What is left at the speed of the epochs so far, with as many trials at a time as are running now."""
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
