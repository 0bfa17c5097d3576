"""The comparisons of an ablation: each level against its baseline, paired over seeds.

Pairs are seeds that both cells finished. `delta` is level − baseline, whether larger or smaller is better.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from analysis.records.run_records import Records
from analysis.records.schema import DIVERGED, FINISHED
from analysis.statistics.hypothesis_tests import MINIMUM_PAIRS, Paired, paired_by_seed
from analysis.statistics.multiple_comparisons import (
    IDENTICAL,
    TOO_FEW,
    UNCLEAR,
    UNSTABLE,
    always_diverged,
    holm,
    verdict_of,
)
from analysis.statistics.power import power_columns
from analysis.tables.formatting import has_width, number, p_text
from analysis.tables.spec import BROKEN, METRIC, PAGE, REFERENCE, Column, TableSpec, interval_column, register

SENTENCE_DIGITS = 2
MANY_SEEDS = 1000
ROWS = "rows"  # key in a table's `attrs`: what its rows compare, as in `core.designs`
PAIRED = (
    "differences are paired by seed ({n}), intervals are 95 % paired t intervals, p is the two-sided paired t-test's "
    "after Holm's correction over {family}"
)


def compares_levels(table: pd.DataFrame) -> bool:
    """Whether rows compare levels of factors, and not whole cells whose baselines differ."""
    return table.attrs.get(ROWS) != "cells"


COMPARED = (
    Column("factor", "text", terminal="factor", when=compares_levels),
    Column("level", "text", terminal="level"),
    Column(
        "baseline_level", "text", "against", terminal="against", terminal_when=lambda table: not compares_levels(table)
    ),
)
COMPARISON = (
    *COMPARED,
    METRIC,
    Column("n_pairs", "count", "n", terminal="n"),
    *BROKEN,
    Column("baseline_mean", head="baseline", terminal="baseline", lesser=True),
    Column("level_mean", head="mean", terminal="mean"),
    Column("delta", head="difference", terminal="delta [95 %]", signed=True, css="num strong", band=True),
    *interval_column(),
    Column("p_value", "p", shown=()),
    Column("p_holm", "p", "p (Holm)", terminal="p_holm"),
    Column("p_permutation", "p", "p (perm.)", shown=(PAGE,), lesser=True),
    Column("effect_size", head="effect", shown=(PAGE,), signed=True, digits=2, lesser=True),
    Column("verdict", "verdict", terminal="verdict", note=lambda row: unclear(row)),
    REFERENCE,
    Column("seeds_needed", dtype="Int64", shown=()),
    Column("equivalent_within", shown=()),
    Column("p_smallest", shown=()),
)
ABLATION = register(TableSpec("ablation", COMPARISON, f"{{metric}} of each level against its baseline: {PAIRED}."))


def ablation_table(records: Records, metric: str) -> pd.DataFrame:
    """One row per comparison of the study, in its order.

    `identical`: both cells have the same configuration. A cell with the configuration of a third cell is compared by
    that cell's trials.
    """
    rows = [_comparison(records, comparison, metric) for comparison in records.comparisons]
    table = table_with_verdicts(rows, metric)
    table.attrs[ROWS] = records.traits.rows
    return table


def _comparison(records: Records, comparison: dict[str, Any], metric: str) -> dict[str, Any]:
    cell, baseline = comparison["cell"], comparison["baseline_cell"]
    return {
        "factor": comparison["factor"],
        "level": comparison["level"],
        "baseline_level": comparison["baseline_level"],
        **records.broken(cell),
        "reference": records.cells.get(cell, {}).get("reference") if metric == records.metric else None,
        "statistics": paired_by_seed(records, baseline, cell, metric),
        "identical": records.resolve(cell) == records.resolve(baseline),
        "n_finished": records.count(cell, FINISHED),
        "baseline_diverged": records.count(baseline, DIVERGED),
    }


def table_with_verdicts(rows: list[dict[str, Any]], metric: str) -> pd.DataFrame:
    """The rows as a table, with a column per statistic, Holm's correction over all rows, and a verdict each."""
    p_holm = holm(row["statistics"].p_value for row in rows)
    return ABLATION.frame(
        row
        | asdict(row["statistics"])
        | power_columns(row["statistics"])
        | {"metric": metric, "p_holm": p, "verdict": _verdict(row, p, metric)}
        for row, p in zip(rows, p_holm, strict=True)
    )


def _verdict(row: dict[str, Any], p_holm: float, metric: str) -> str:
    statistics: Paired = row["statistics"]
    if row["identical"]:
        return IDENTICAL
    if _diverges(row):
        return UNSTABLE
    if statistics.n_pairs < MINIMUM_PAIRS or statistics.delta is None:
        return TOO_FEW
    return verdict_of(statistics.delta, p_holm, metric)


def _diverges(row: Mapping[str, Any]) -> bool:
    """Whether a level diverges always, or more often than its baseline by as many seeds as a verdict takes."""
    if always_diverged(row["n_finished"], row["n_diverged"]):
        return True
    seen = row["statistics"].n_pairs + row["n_diverged"]
    return bool(seen >= MINIMUM_PAIRS and row["n_diverged"] > row["baseline_diverged"])


def cell_summary(records: Records, cell: str, metric: str) -> dict[str, Any]:
    """Statistics of one cell over all seeds that finished it."""
    values = records.values(cell, metric)
    return {
        "metric": metric,
        "n": len(values),
        **records.broken(cell),
        "mean": values.mean(),
        "std": values.std(),
        "reference": records.cells.get(cell, {}).get("reference"),
    }


def unclear(row: Mapping[str, Any]) -> str:
    """The differences that an unclear comparison rules out, and the seeds it would need; empty for other verdicts."""
    if row["verdict"] != UNCLEAR:
        return ""
    said = []
    if pd.notna(row["equivalent_within"]) and has_width(row["ci_low"], row["ci_high"]):
        said.append(f"no difference larger than ±{number(row['equivalent_within'], SENTENCE_DIGITS)} (90 %)")
    needed = row["seeds_needed"]
    if pd.notna(needed) and needed > row["n_pairs"]:
        seeds = f"more than {MANY_SEEDS:,}" if needed > MANY_SEEDS else f"about {needed}"
        said.append(f"{seeds} seeds would settle it")
    elif pd.notna(needed):
        said.append(f"p {p_text(row['p_value'])} by itself, which Holm's correction takes back")
    return "; ".join(said)


def comparison_label(row: Mapping[str, Any], of_cells: bool) -> str:
    """What a row compares: `loss = focal`, or of cells, as in a ladder, `+ dropout against + BN`."""
    if of_cells:
        return f"{row['level']} against {row['baseline_level']}"
    factors, levels = row["factor"].split(" + "), row["level"].split(" + ")
    if len(factors) != len(levels):
        return f"{row['factor']} = {row['level']}"
    return ", ".join(f"{factor} = {level}" for factor, level in zip(factors, levels, strict=True))


def is_step(records: Records) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a comparison is of a cell with the one before; always true where the design does not compare so."""
    if records.traits.against != "previous":
        return lambda comparison: True
    comparisons = records.comparisons
    cells = list(
        dict.fromkeys([*(one["baseline_cell"] for one in comparisons[:1]), *(one["cell"] for one in comparisons)])
    )
    before = dict(zip(cells[1:], cells, strict=False))
    return lambda comparison: before.get(comparison["cell"]) == comparison["baseline_cell"]
