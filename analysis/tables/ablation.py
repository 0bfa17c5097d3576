"""What a level changes: the comparisons of an ablation, paired over seeds.

Pairs are seeds that both cells finished. `delta` is level − baseline, whichever way the metric is better.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from analysis.records.run_records import Records
from analysis.records.schema import DIVERGED
from analysis.statistics.hypothesis_tests import MINIMUM_PAIRS, Paired, paired_by_seed
from analysis.statistics.multiple_comparisons import IDENTICAL, TOO_FEW, UNSTABLE, holm, verdict_of
from analysis.statistics.power import POWER_COLUMNS, power_columns

# Factors whose rows have different baselines: a ladder's rungs, a path's steps, the winners of a search.
MANY_BASELINES = {"ladder", "path", "configuration"}
STEPWISE = {"ladder", "path"}  # designs that also compare each cell with the one before
COLUMNS = (
    *("factor", "level", "baseline_level", "metric", "n_pairs", "n_failed", "n_diverged", "baseline_mean"),
    *("level_mean", "delta", "ci_low", "ci_high", "p_value", "p_holm", "p_permutation", "effect_size"),
    *("verdict", "reference"),
    *POWER_COLUMNS,
)


def ablation_table(records: Records, metric: str) -> pd.DataFrame:
    """One row a comparison of the study, in its order.

    `identical` is a comparison of a configuration with itself; a cell that equals some third cell is compared by that
    cell's trials.
    """
    rows = [_comparison(records, comparison, metric) for comparison in records.comparisons]
    return table_with_verdicts(rows, metric)


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
        "baseline_diverged": records.count(baseline, DIVERGED),
    }


def table_with_verdicts(rows: list[dict[str, Any]], metric: str) -> pd.DataFrame:
    """Rows with their statistics spread out, Holm's correction over all of them, and a verdict each."""
    p_holm = holm(row["statistics"].p_value for row in rows)
    table = pd.DataFrame(
        [
            row
            | asdict(row["statistics"])
            | power_columns(row["statistics"])
            | {"metric": metric, "p_holm": p, "verdict": _verdict(row, p, metric)}
            for row, p in zip(rows, p_holm, strict=True)
        ],
        columns=list(COLUMNS),
    )
    numbers = COLUMNS[COLUMNS.index("baseline_mean") : COLUMNS.index("verdict")]
    kinds = dict.fromkeys((*numbers, *POWER_COLUMNS), "float64") | {"n_pairs": "int64", "seeds_needed": "Int64"}
    return table.astype(kinds)


def _verdict(row: dict[str, Any], p_holm: float, metric: str) -> str:
    statistics: Paired = row["statistics"]
    if row["identical"]:
        return IDENTICAL
    if statistics.n_pairs < MINIMUM_PAIRS or statistics.delta is None:
        return TOO_FEW
    if row["n_diverged"] > row["baseline_diverged"]:
        return UNSTABLE
    return verdict_of(statistics.delta, p_holm, metric)


def cell_summary(records: Records, cell: str, metric: str) -> dict[str, Any]:
    """A cell by itself, over all seeds that finished it."""
    values = records.values(cell, metric)
    return {
        "metric": metric,
        "n": len(values),
        **records.broken(cell),
        "mean": values.mean(),
        "std": values.std(),
        "reference": records.cells.get(cell, {}).get("reference"),
    }


def comparison_label(row: Mapping[str, Any]) -> str:
    """What a row compares: `loss = focal`, or where the baseline changes, as in a ladder, `+ dropout against + BN`."""
    if row["factor"] in MANY_BASELINES:
        return f"{row['level']} against {row['baseline_level']}"
    factors, levels = row["factor"].split(" + "), row["level"].split(" + ")
    if len(factors) != len(levels):
        return f"{row['factor']} = {row['level']}"
    return ", ".join(f"{factor} = {level}" for factor, level in zip(factors, levels, strict=True))


def is_step(records: Records) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a comparison is, in a ladder or a path, of a cell with the one before; true of any in other designs."""
    if records.design not in STEPWISE:
        return lambda comparison: True
    comparisons = records.comparisons
    cells = list(
        dict.fromkeys([*(one["baseline_cell"] for one in comparisons[:1]), *(one["cell"] for one in comparisons)])
    )
    before = dict(zip(cells[1:], cells, strict=False))
    return lambda comparison: before.get(comparison["cell"]) == comparison["baseline_cell"]
