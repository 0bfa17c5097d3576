"""Designs of steps: a ladder's rungs with what each gained, and every candidate of every step of a path."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.records.columns import rows_of
from analysis.records.run_records import Records
from analysis.statistics.hypothesis_tests import paired_by_seed
from analysis.tables.ablation import cell_summary
from core.metrics import counterpart

GAINS = ("delta", "ci_low", "ci_high", "p_holm", "verdict")
BEFORE, FIRST = "before", "first"
LADDER_COLUMNS = (
    *("rung", "metric", "mean", "std", "n", "n_failed", "n_diverged"),
    *(f"{name}_{over}" for over in (BEFORE, FIRST) for name in GAINS),
    "reference",
)


def ladder_table(records: Records, ablation: pd.DataFrame) -> pd.DataFrame:
    """One row a rung in the order of the study. `mean` and `std` are over all seeds that finished it; gains are the
    rows of `ablation`, the table of the primary metric, `p_holm` included, and null for the first rung."""
    metric = records.metric
    compared = {(row["level"], row["baseline_level"]): row for row in rows_of(ablation)}
    rungs = [cell["name"] for cell in records.study.get("cells", [])]
    rows = []
    for place, rung in enumerate(rungs):
        row = {"rung": rung, **cell_summary(records, rung, metric)}
        for over, other in ((BEFORE, rungs[max(0, place - 1)]), (FIRST, rungs[0])):
            gains = compared.get((rung, other), {})
            row |= {f"{name}_{over}": gains.get(name) for name in GAINS}
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(LADDER_COLUMNS))
    texts = {"rung", "metric", "reference", *(f"verdict_{over}" for over in (BEFORE, FIRST))}
    counts = {"n", "n_failed", "n_diverged"}
    return table.astype({name: "int64" if name in counts else "str" if name in texts else "float64" for name in table})


PATH_COLUMNS = (
    *("step", "factor", "from", "to", "cell", "against", "metric", "n_pairs", "n_failed", "n_diverged"),
    *("val_delta", "delta", "ci_low", "ci_high", "chosen"),
)


@dataclass(frozen=True)
class Candidate:
    """A factor that could be turned on as a path's step of this number, and the cell of the steps before."""

    step: int
    factor: str
    cell: str
    against: str
    chosen: bool


def candidates(study: Mapping[str, Any]) -> Iterator[Candidate]:
    """Of every step that was chosen or is in progress, by the levels of the study's cells."""
    first = {factor["name"]: factor["levels"][0]["name"] for factor in study.get("factors", [])}
    cells = {_on(cell["levels"], first): cell["name"] for cell in study.get("cells", [])}
    chosen, on = list(study.get("path", [])), frozenset[str]()
    for step in range(1, len(first) + 1):
        taken = chosen[step - 1] if step <= len(chosen) else None
        for factor in first:
            if factor not in on and on in cells and on | {factor} in cells:
                yield Candidate(step, factor, cells[on | {factor}], cells[on], factor == taken)
        if taken is None:
            return
        on |= {taken}


def _on(levels: Mapping[str, str], first: Mapping[str, str]) -> frozenset[str]:
    return frozenset(factor for factor, level in levels.items() if level != first.get(factor))


def path_table(records: Records) -> pd.DataFrame:
    """One row a candidate of each step: its change of the primary metric against the step before, paired by seed with
    the 95 % t interval, and `val_delta`, the change of the metric's validation counterpart, which chooses among those
    that most seeds finished.
    """
    metric = records.metric
    names = level_names(records.study)
    rows = []
    for found in candidates(records.study):
        test, validation = (
            paired_by_seed(records, found.against, found.cell, name) for name in (metric, counterpart(metric, "val"))
        )
        rows.append(
            {
                "step": found.step,
                "factor": found.factor,
                "from": names[found.factor][0],
                "to": names[found.factor][1],
                "cell": found.cell,
                "against": found.against,
                "metric": metric,
                "n_pairs": test.n_pairs,
                **records.broken(found.cell),
                "val_delta": validation.delta,
                "delta": test.delta,
                "ci_low": test.ci_low,
                "ci_high": test.ci_high,
                "chosen": found.chosen,
            }
        )
    numbers = dict.fromkeys(("val_delta", "delta", "ci_low", "ci_high"), "float64")
    return pd.DataFrame(rows, columns=list(PATH_COLUMNS)).astype(numbers)


def level_names(study: Mapping[str, Any]) -> dict[str, list[str]]:
    return {factor["name"]: [level["name"] for level in factor["levels"]] for factor in study.get("factors", [])}
