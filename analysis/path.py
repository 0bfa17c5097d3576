"""A path as it was walked: what every factor that was left would have changed at each step, and which one was taken."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.schema import DIVERGED, FAILED
from analysis.statistics import Paired, paired
from analysis.store import Records
from core.metrics import counterpart

COLUMNS = (
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
    metric = str(records.study["metric"])
    names = _level_names(records.study)
    rows = []
    for found in candidates(records.study):
        test, validation = (_paired(records, found, name) for name in (metric, counterpart(metric, "val")))
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
                "n_failed": records.count(found.cell, FAILED),
                "n_diverged": records.count(found.cell, DIVERGED),
                "val_delta": validation.delta,
                "delta": test.delta,
                "ci_low": test.ci_low,
                "ci_high": test.ci_high,
                "chosen": found.chosen,
            }
        )
    numbers = dict.fromkeys(("val_delta", "delta", "ci_low", "ci_high"), "float64")
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(numbers)


def _paired(records: Records, found: Candidate, metric: str) -> Paired:
    both = [records.values(cell, metric) for cell in (found.against, found.cell)]
    table = pd.concat(both, axis=1, join="inner")
    return paired(table.iloc[:, 0].to_numpy(), table.iloc[:, 1].to_numpy())


def _level_names(study: Mapping[str, Any]) -> dict[str, list[str]]:
    return {factor["name"]: [level["name"] for level in factor["levels"]] for factor in study.get("factors", [])}


def step_in_words(study: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """What a row of a path's ablation table compares: one step, or all so far together; "" for some of them."""
    names = _level_names(study)
    taken = [found for found in candidates(study) if found.chosen]
    this = next((found for found in taken if found.cell == row["level"]), None)
    if this is None:
        return f"{row['level']} against {row['baseline_level']}"
    if this.against == row["baseline_level"]:
        return f"Step {this.step}, {this.factor} {' → '.join(names[this.factor][:2])}"
    which = "All" if this.step == len(names) else "The first"
    return f"{which} {this.step} steps together" if this.step == len(taken) else ""


def how_chosen(study: Mapping[str, Any]) -> str:
    """By what a path chose its steps, and what that does to them."""
    metric = counterpart(str(study["metric"]), "val")
    return (
        f"each step took, of the factors that were left, the one that most seeds finished, of equals the one with the "
        f"best mean {metric}, by the seeds and epochs of the time of choosing; its figures here hold these too, which "
        "flatters it a little, most where many were left; path.csv has every candidate"
    )
