"""What a level changes: paired comparisons over seeds (ablation), main effects and interactions of a factorial.

Pairs are seeds that both cells finished. `delta` is level − baseline, whichever way the metric is better.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from analysis.records.run_records import Records
from analysis.records.schema import DIVERGED, FAILED
from analysis.statistics.hypothesis_tests import MINIMUM_PAIRS, SIGNIFICANCE, Paired, paired
from analysis.statistics.multiple_comparisons import BETTER, IDENTICAL, TOO_FEW, UNCLEAR, UNSTABLE, WORSE, holm
from analysis.statistics.power import POWER_COLUMNS, power_columns
from core.metrics import maximised

# Factors whose rows have different baselines: a ladder's rungs, a path's steps, the winners of a search.
MANY_BASELINES = {"ladder", "path", "configuration"}


def comparison_label(row: Mapping[str, Any]) -> str:
    """What a row compares: `loss = focal`, or where the baseline changes, as in a ladder, `+ dropout against + BN`."""
    if row["factor"] in MANY_BASELINES:
        return f"{row['level']} against {row['baseline_level']}"
    factors, levels = row["factor"].split(" + "), row["level"].split(" + ")
    if len(factors) != len(levels):
        return f"{row['factor']} = {row['level']}"
    return ", ".join(f"{factor} = {level}" for factor, level in zip(factors, levels, strict=True))


STEPWISE = {"ladder", "path"}  # designs that also compare each cell with the one before


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


COLUMNS = (
    "factor",
    "level",
    "baseline_level",
    "metric",
    "n_pairs",
    "n_failed",
    "n_diverged",
    "baseline_mean",
    "level_mean",
    "delta",
    "ci_low",
    "ci_high",
    "p_value",
    "p_holm",
    "p_permutation",
    "effect_size",
    "verdict",
    "reference",
    *POWER_COLUMNS,
)


def ablation_table(records: Records, metric: str) -> pd.DataFrame:
    """One row a comparison of the study, in its order.

    `identical` is a comparison of a configuration with itself; a cell that equals some third cell is compared by that
    cell's trials.
    """
    rows = [_comparison(records, comparison, metric) for comparison in records.comparisons]
    return judged_table(rows, metric)


def _comparison(records: Records, comparison: dict[str, Any], metric: str) -> dict[str, Any]:
    cell, baseline = comparison["cell"], comparison["baseline_cell"]
    both = pd.concat([records.values(baseline, metric), records.values(cell, metric)], axis=1, join="inner")
    own = records.cells.get(cell, {})
    return {
        "factor": comparison["factor"],
        "level": comparison["level"],
        "baseline_level": comparison["baseline_level"],
        "n_failed": records.count(cell, FAILED),
        "n_diverged": records.count(cell, DIVERGED),
        "reference": own.get("reference") if metric == records.metric else None,
        "statistics": paired(both.iloc[:, 0].to_numpy(), both.iloc[:, 1].to_numpy()),
        "identical": records.resolve(cell) == records.resolve(baseline),
        "baseline_diverged": records.count(baseline, DIVERGED),
    }


def judged_table(rows: list[dict[str, Any]], metric: str) -> pd.DataFrame:
    """Rows with their statistics spread out, Holm's correction over all of them, and a verdict each."""
    p_holm = holm(pd.Series([row["statistics"].p_value for row in rows], dtype="float64"))
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
    if p_holm < SIGNIFICANCE:
        return BETTER if (statistics.delta > 0) == maximised(metric) else WORSE
    return UNCLEAR
