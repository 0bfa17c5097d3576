"""Numbers, intervals and metrics in words, and tables for a terminal."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from rich.table import Table

DIGITS = 4
CONSOLE_ROWS = 40
# Factors whose rows have different baselines: a ladder's rungs, a path's steps, the winners of a search.
MANY_BASELINES = {"ladder", "path", "configuration"}


def number(value: float | None, digits: int = DIGITS, signed: bool = False) -> str:
    """A number with `digits` significant digits, trailing zeros kept; empty when there is none."""
    if value is None or pd.isna(value):
        return ""
    sign = "+" if signed else ""
    if value == 0:
        return f"{sign}0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:{sign}.0f}" if abs(value) < 1e9 else f"{value:{sign}.{digits - 1}e}"
    return f"{value:{sign}#.{digits}g}".rstrip(".")


def interval(low: float | None, high: float | None, digits: int = DIGITS, signed: bool = False) -> str:
    if low is None or high is None or pd.isna(low) or pd.isna(high):
        return ""
    return f"[{number(low, digits, signed)}, {number(high, digits, signed)}]"


def reached(row: Mapping[str, Any], value: str) -> str:
    """A ranking's `value` of a cell whose trials were all stopped, with the epochs that they reached."""
    epochs = row["stopped_epochs"]
    return f"{value} after {epochs:.3g} {'epoch' if epochs == 1 else 'epochs'}"


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


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
