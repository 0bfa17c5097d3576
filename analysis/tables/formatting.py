"""Numbers, intervals, settings and counts as text."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pandas as pd

from analysis.records.run_records import Records
from analysis.records.schema import STATUSES

DIGITS = 4
EQUAL = 1e-12  # relative width of an interval that rounding alone can give
WITHOUT_INTERVAL = "no interval where all seeds agree: equal values say nothing of how far another seed would go"
SPLIT_TITLES = {"train": "training", "val": "validation", "test": "test"}


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


def has_width(low: Any, high: Any) -> Any:
    """Whether these ends, numbers or columns, are an interval; that of equal values has no width and says nothing."""
    return high - low > EQUAL * (abs(low) + abs(high))


def interval(low: float | None, high: float | None, digits: int = DIGITS, signed: bool = False) -> str:
    if low is None or high is None or not has_width(low, high):
        return ""
    return f"[{number(low, digits, signed)}, {number(high, digits, signed)}]"


def without_interval(table: pd.DataFrame) -> "pd.Series[bool]":
    """The rows of two seeds or more whose values are all equal, so that they have no interval."""
    from analysis.statistics.multiple_comparisons import IDENTICAL  # scipy, which `status` does without

    size = next((table[name] for name in ("n_pairs", "n") if name in table), None)
    if size is None or "ci_low" not in table:
        return pd.Series(False, index=table.index)
    identical = table["verdict"] == IDENTICAL if "verdict" in table else False
    return (size >= 2) & ~has_width(table["ci_low"], table["ci_high"]) & ~pd.Series(identical, index=table.index)


def reached(row: Mapping[str, Any], value: str) -> str:
    """The `value` in a ranking of a cell whose trials were all stopped, with the mean number of epochs trained."""
    epochs = row["stopped_epochs"]
    return f"{value} after {epochs:.3g} {'epoch' if epochs == 1 else 'epochs'}"


def progress_in_words(records: Records) -> str:
    """How many of the planned trials have each status."""
    by_status = records.trials["status"].value_counts()
    planned = records.planned_trials
    known = counts_in_words({status: int(by_status.get(status, 0)) for status in STATUSES}) or "none started"
    most = "at most " if records.study.get("trials_ahead") else ""
    held = f" ({records.all_tried})" if records.all_tried else ""
    return f"{known}, of {most}{plural(planned, 'planned trial')}{held}" if planned else known


def selection_in_words(rule: Mapping[str, Any]) -> str:
    if rule["rule"] == "best":
        return f"the epoch with the best {rule['metric']}"
    return "the last epoch" if rule["rule"] == "last" else f"epoch {rule['epoch']}"


def setting_text(value: Any) -> str:
    """A setting of a configuration, a list as `conv1+conv2` or `none`; empty where it does not apply."""
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return ""
    if isinstance(value, str) and value.startswith("["):
        with suppress(ValueError):
            return "+".join(map(str, json.loads(value))) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def p_text(p: float | None) -> str:
    if p is None or pd.isna(p):
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def counts_in_words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count)


def capitalised(text: str) -> str:
    """The text with its first letter in upper case, the others unchanged."""
    return f"{text[:1].upper()}{text[1:]}"


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
