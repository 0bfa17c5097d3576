"""Tables of stepwise designs: the gain of each rung of a ladder, and every candidate at every step of a path."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import pandas as pd

from analysis.records.columns import rows_of
from analysis.records.run_records import Records
from analysis.statistics.hypothesis_tests import paired_by_seed
from analysis.tables.ablation import PAIRED, cell_summary
from analysis.tables.formatting import interval
from analysis.tables.spec import BROKEN, METRIC, PAPER, REFERENCE, Column, TableSpec, interval_column, register
from core.metrics import counterpart

GAINS = ("delta", "ci_low", "ci_high", "p_holm", "verdict")
BEFORE, FIRST = "before", "first"
BAND_DIGITS = 3


def _gains(over: str, head: str) -> tuple[Column, ...]:
    low, high = f"ci_low_{over}", f"ci_high_{over}"
    return (
        Column(
            f"delta_{over}",
            head=head,
            signed=True,
            css="num strong",
            note=lambda row: interval(row[low], row[high], BAND_DIGITS),
        ),
        *interval_column(low, high, head=f"95 % interval {over}", shown=(PAPER,)),
        Column(f"p_holm_{over}", "p", "p (Holm)"),
        Column(f"verdict_{over}", "verdict", "verdict"),
    )


LADDER = register(
    TableSpec(
        "ladder",
        (
            Column("rung", "text"),
            METRIC,
            Column("mean"),
            Column("std", shown=(PAPER,)),
            Column("n", "count"),
            *BROKEN,
            *_gains(BEFORE, "over the rung before"),
            *_gains(FIRST, "over the first"),
            REFERENCE,
        ),
        f"{{metric}} of each rung, with its gain over the rung before and over the first: {PAIRED}.",
    )
)


def ladder_table(records: Records, ablation: pd.DataFrame) -> pd.DataFrame:
    """One row per rung in study order. `mean` and `std` are over all seeds that finished it; gains are the
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
    return LADDER.frame(rows)


PATH = register(
    TableSpec(
        "path",
        (
            Column("step", "count"),
            *(Column(name, "text") for name in ("factor", "from", "to", "cell", "against")),
            METRIC,
            Column("n_pairs", "count", "n"),
            *BROKEN,
            Column("val_delta", signed=True),
            Column("delta", signed=True),
            *interval_column(),
            Column("chosen", "flag", dtype="bool"),
        ),
        "{metric}: what each factor that was left changes at a step, against the step before; paired by seed ({n}), 95 "
        "% t intervals, not corrected. The factor that most seeds finished was chosen, of equals the one with the best "
        "mean in validation, by the seeds and epochs of the time of choosing.",
        "ablation",
        "Every candidate of every step",
        "Each factor that was left, turned on beside the steps before; val delta is its change in validation, the "
        "others speak of test data. The step was the one that most seeds finished, of equals the best in validation, "
        "by the seeds and epochs of the time of choosing. Of several candidates the best is also the luckiest.",
    )
)


@dataclass(frozen=True)
class Candidate:
    """A factor that step number `step` of a path could turn on: its `cell`, against that of the steps before."""

    step: int
    factor: str
    cell: str
    against: str
    chosen: bool


def candidates(records: Records) -> Iterator[Candidate]:
    """The candidates of every step chosen or in progress, found by the levels of the study's cells."""
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
    """One row per candidate of each step: its change of the primary metric against the step before, paired by seed with
    the 95 % t interval, and `val_delta`, the change of the metric's validation counterpart, by which the step is chosen
    among the candidates that most seeds finished.
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
    return PATH.frame(rows)
