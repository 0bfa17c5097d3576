"""Designs of steps: a ladder's rungs with what each gained, and every candidate of every step of a path."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import pandas as pd

from analysis.records.columns import rows_of, typed
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
    texts = {"rung", "metric", "reference", *(f"verdict_{over}" for over in (BEFORE, FIRST))}
    return typed(rows, LADDER_COLUMNS, texts, {"n", "n_failed", "n_diverged"})


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


def candidates(records: Records) -> Iterator[Candidate]:
    """Of every step that was chosen or is in progress, by the levels of the study's cells."""
    first = {factor: levels[0] for factor, levels in records.levels.items()}
    cells = {
        frozenset(factor for factor, level in cell["levels"].items() if level != first.get(factor)): cell["name"]
        for cell in records.study.get("cells", [])
    }
    on = frozenset[str]()
    for step, taken in zip(range(1, len(first) + 1), [*records.study.get("path", []), None], strict=False):
        for factor in first:
            if factor not in on and on in cells and on | {factor} in cells:
                yield Candidate(step, factor, cells[on | {factor}], cells[on], factor == taken)
        on |= {taken}


def path_table(records: Records) -> pd.DataFrame:
    """One row a candidate of each step: its change of the primary metric against the step before, paired by seed with
    the 95 % t interval, and `val_delta`, the change of the metric's validation counterpart, which chooses among those
    that most seeds finished.
    """
    metric = records.metric
    rows = []
    for found in candidates(records):
        test, validation = (
            paired_by_seed(records, found.against, found.cell, name) for name in (metric, counterpart(metric, "val"))
        )
        before, after = records.levels[found.factor][:2]
        rows.append(
            asdict(found)
            | {"from": before, "to": after, "metric": metric, "val_delta": validation.delta}
            | asdict(test)
            | records.broken(found.cell)
        )
    numbers = dict.fromkeys(("val_delta", "delta", "ci_low", "ci_high"), "float64")
    return pd.DataFrame(rows, columns=list(PATH_COLUMNS)).astype(numbers)
