"""Numbers, intervals and metrics in words, and tables for a terminal."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.records.columns import rows_of
from analysis.records.run_records import Records
from analysis.records.schema import DIVERGED, FAILED, FINISHED, RUNNING, STOPPED
from analysis.records.store import read_records
from analysis.tables.ablation import MANY_BASELINES
from analysis.tables.formatting import interval, number, reached
from core.metrics import maximised

if TYPE_CHECKING:
    from rich.table import Table

CONSOLE_ROWS = 40


def console_table(table: pd.DataFrame) -> "Table":
    """An ablation (or effects) table, a ranking, or a table of two runs, for a terminal; it fits 100 columns."""
    if "rank" in table:
        return _console_ranking(table)
    if "what" in table:
        return _console_differences(table)
    if "agree" in table:
        return _console_agreement(table)
    return _console_compare(table) if "mean_a" in table else _console_ablation(table)


def _console(title: str, columns: dict[str, Callable[[dict[str, Any]], str]], text: set[str]) -> "Table":
    from rich import box
    from rich.table import Table

    drawn = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left", caption_justify="left")
    for name in columns:
        if name in text:
            drawn.add_column(name, overflow="fold")
        else:
            drawn.add_column(name, justify="right", no_wrap=True)
    return drawn


def _console_ablation(table: pd.DataFrame) -> "Table":
    from rich.text import Text

    factors = set(table["factor"])
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        **({} if factors <= MANY_BASELINES else {"factor": lambda row: str(row["factor"])}),
        "level": lambda row: str(row["level"]),
        **({"against": lambda row: str(row["baseline_level"])} if MANY_BASELINES & factors else {}),
        "n": lambda row: str(row["n_pairs"]),
        "baseline": lambda row: number(row["baseline_mean"], 3),
        "mean": lambda row: number(row["level_mean"], 3),
        "delta [95 %]": lambda row: (
            f"{number(row['delta'], 3, True)} {interval(row['ci_low'], row['ci_high'], 2)}".strip()
        ),
        "p_holm": lambda row: number(row["p_holm"], 2),
        "verdict": lambda row: str(row["verdict"]),
    }
    drawn = _console(metric_title(table), columns, {"factor", "level", "against", "verdict"})
    for row in rows_of(table):
        cells = [Text(make(row)) for make in columns.values()]
        cells[-1].stylize(_colour(row["verdict"]))
        drawn.add_row(*cells)
    return drawn


def _colour(verdict: str) -> str:
    colours = {"better": "green", "worse": "red", "unstable": "yellow"}
    return colours.get(verdict.rpartition(" ")[2], "")


def _console_compare(table: pd.DataFrame) -> "Table":
    from rich.text import Text

    def runs(row: Mapping[str, Any]) -> str:
        return str(row["n_pairs"]) if row["test"] == "paired" else f"{row['n_a']}, {row['n_b']}"

    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "cell": lambda row: row["cell"],
        "n": runs,
        "A": lambda row: number(row["mean_a"], 3),
        "B": lambda row: number(row["mean_b"], 3),
        "B − A [95 %]": lambda row: (
            f"{number(row['delta'], 3, True)} {interval(row['ci_low'], row['ci_high'], 2)}".strip()
        ),
        "p_holm": lambda row: number(row["p_holm"], 2),
        "test": lambda row: row["test"],
        "verdict": lambda row: row["verdict"],
    }
    drawn = _console(metric_title(table), columns, {"cell", "test", "verdict"})
    for row in rows_of(table.head(CONSOLE_ROWS)):
        cells = [Text(make(row)) for make in columns.values()]
        cells[-1].stylize(_colour(row["verdict"]))
        drawn.add_row(*cells)
    if len(table) > CONSOLE_ROWS:
        drawn.caption = f"{len(table) - CONSOLE_ROWS} more rows; --out DIR writes them all"
    return drawn


def _console_agreement(table: pd.DataFrame) -> "Table":
    from rich.text import Text

    several = table["metric"].nunique() > 1
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "factor": lambda row: row["factor"],
        "level": lambda row: row["level"],
        **({"against": lambda row: row["baseline_level"]} if MANY_BASELINES & set(table["factor"]) else {}),
        **({"metric": lambda row: row["metric"]} if several else {}),
        "delta A": lambda row: number(row["delta_a"], 3, True),
        "delta B": lambda row: number(row["delta_b"], 3, True),
        "verdict in A": lambda row: row["verdict_a"] or "not there",
        "verdict in B": lambda row: row["verdict_b"] or "not there",
        "agree": lambda row: row["agree"],
    }
    numbers = {"delta A", "delta B"}
    title = "effects in both runs" if several or table.empty else f"effects in both runs on {metric_title(table)}"
    drawn = _console(title, columns, set(columns) - numbers)
    for row in rows_of(table):
        drawn.add_row(*(Text(make(row)) for make in columns.values()))
    return drawn


def _console_differences(table: pd.DataFrame) -> "Table":
    from rich.text import Text

    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "what": lambda row: row["what"],
        "A": lambda row: row["a"],
        "B": lambda row: row["b"],
    }
    drawn = _console("what differs", columns, set(columns))
    for row in rows_of(table):
        drawn.add_row(*(Text(make(row)) for make in columns.values()))
    return drawn


def _console_ranking(table: pd.DataFrame) -> "Table":
    from rich.text import Text

    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "rank": lambda row: str(row["rank"]),
        "cell": lambda row: str(row["cell"]),
        "n": lambda row: str(row["n"]),
        "failed": lambda row: str(row["n_failed"]),
        "diverged": lambda row: str(row["n_diverged"]),
        **({"stopped": lambda row: str(row["n_stopped"])} if "n_stopped" in table else {}),
        "mean [95 %]": _mean_or_reached,
        "validation": lambda row: number(row["val_mean"]),
        "test": lambda row: number(row["test_mean"]),
    }
    drawn = _console(metric_title(table), columns, {"cell"})
    if "n_stopped" in table:
        stopped = int(table["n_stopped"].sum())
        were = "1 trial was" if stopped == 1 else f"{stopped} trials were"
        drawn.caption = f"{were} stopped early by the trial scheduler: such cells stand behind the finished ones"
    for row in rows_of(table):
        drawn.add_row(*(Text(make(row)) for make in columns.values()))
    return drawn


def _mean_or_reached(row: Mapping[str, Any]) -> str:
    if pd.isna(row["mean"]) and pd.notna(row.get("stopped_mean")):
        return reached(row, number(row["stopped_mean"]))
    return f"{number(row['mean'])} {interval(row['ci_low'], row['ci_high'], 3)}".strip()


def metric_title(table: pd.DataFrame) -> str:
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
