"""One table per factor: its levels, each with its mean, in one-at-a-time and leave-one-out studies and where the
winners of a search are confirmed."""

import re

import pandas as pd

from analysis.records.columns import rows_of
from analysis.records.run_records import Records
from analysis.statistics.hypothesis_tests import half_width
from analysis.tables.ablation import cell_summary
from analysis.tables.formatting import plural
from analysis.tables.spec import BROKEN, METRIC, PAGE, PAPER, REFERENCE, Column, TableSpec, interval_column, register
from core.metrics import maximised

FACTOR = register(
    TableSpec(
        "factor",
        (
            Column("level", "text", note=lambda row: "baseline" if row["is_baseline"] else ""),
            Column("is_baseline", "flag", dtype="bool", part=True),
            METRIC,
            Column("n", "count"),
            *BROKEN,
            Column("mean"),
            Column("half_width", part=True),
            Column("std", shown=(PAPER,)),
            Column("best", "flag", dtype="bool", part=True),
            Column("delta", head="difference", signed=True, css="num strong"),
            *interval_column(),
            Column("p_holm", "p", "p (Holm)"),
            Column("verdict", "verdict"),
            REFERENCE,
            Column(
                "trials",
                "text",
                css="text nowrap",
                lesser=True,
                shown=(PAGE,),
                text=lambda row: plural(len(row["trials"].split()), "trial"),
            ),
        ),
        "{metric} by level: mean with half of its 95 % t interval over seeds ({n}); the best mean is bold. The p-value "
        "is the two-sided paired t-test's against the baseline after Holm's correction over all comparisons.",
    )
)
LONGEST_SLUG = 60


def factor_tables(records: Records, ablation: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """One table per compared factor by file name, `factor_<slug>`; `attrs` hold the factor and the cell of each row.

    Rows are the baseline's level and every other one. `mean` is over all seeds that finished, with half of its 95 % t
    interval; `best` marks the best mean; delta to verdict are those of `ablation`, the table of the primary metric, and
    null for the baseline; `trials` lists the cell's trials.
    """
    if records.traits.question != "factors":
        return {}
    metric, compared = records.metric, rows_of(ablation)
    tables: dict[str, pd.DataFrame] = {}
    factors: dict[str, list[dict[str, object]]] = {}
    first: dict[str, str] = {}
    for comparison, row in zip(records.comparisons, compared, strict=True):
        if comparison["baseline_cell"] != first.setdefault(comparison["factor"], comparison["baseline_cell"]):
            continue  # between two winners of a search: a row of the ablation table alone
        base = {"level": comparison["baseline_level"], "cell": comparison["baseline_cell"], "is_baseline": True}
        rows = factors.setdefault(comparison["factor"], [_level(records, metric, base)])
        gains = {name: row[name] for name in ("delta", "ci_low", "ci_high", "p_holm", "verdict")}
        own = {"level": comparison["level"], "cell": comparison["cell"], "is_baseline": False}
        rows.append(_level(records, metric, own) | gains)
    for factor, rows in factors.items():
        name = _free(f"factor_{slug(factor)}", tables)
        tables[name] = _table(rows, metric)
        tables[name].attrs = {"factor": factor, "cells": [row["cell"] for row in rows]}
    return tables


def _level(records: Records, metric: str, row: dict[str, object]) -> dict[str, object]:
    cell = str(row["cell"])
    return row | cell_summary(records, cell, metric) | {"trials": " ".join(records.rows(cell)["trial"])}


def _table(rows: list[dict[str, object]], metric: str) -> pd.DataFrame:
    mean = pd.Series([row["mean"] for row in rows])
    half = half_width(pd.Series([row["std"] for row in rows]), pd.Series([row["n"] for row in rows]))
    best = mean == (mean.max() if maximised(metric) else mean.min())
    return FACTOR.frame(
        row | {"half_width": wide, "best": leads} for row, wide, leads in zip(rows, half, best, strict=True)
    )


def slug(text: str) -> str:
    """Text as a part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:LONGEST_SLUG].strip("_") or "unnamed"


def _free(name: str, taken: dict[str, pd.DataFrame]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free
