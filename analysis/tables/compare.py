"""Two runs side by side: their cells, their ablations, and what differs between the runs. Every difference is B − A.

Cells are matched by name, a search's configurations by the values of the varied settings, because their names are
hashes of everything. Runs share seeds, split and batch order only where their data are the same; then pairs of equal
seeds are compared, else two independent samples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.records.columns import column, rows_of, within
from analysis.records.run_records import Records
from analysis.records.schema import DIVERGED, FAILED
from analysis.records.store import read_records
from analysis.statistics.hypothesis_tests import MINIMUM_PAIRS, Difference, paired, unpaired
from analysis.statistics.multiple_comparisons import (
    BETTER,
    IDENTICAL,
    TOO_FEW,
    UNCLEAR,
    UNSTABLE,
    WORSE,
    always_diverged,
    holm,
    verdict_of,
)
from analysis.tables.ablation import COMPARED, ROWS, ablation_table
from analysis.tables.ranking import ranking_table
from analysis.tables.run_differences import Run, differences_table, notes, same_configuration, same_data, text_of, whole
from analysis.tables.spec import METRIC, TERMINAL_ROWS, Column, Row, TableSpec, interval_column, register
from core.errors import FaultError

PAIRED, UNPAIRED = "paired", "unpaired"
A_UNSTABLE, B_UNSTABLE = f"A {UNSTABLE}", f"B {UNSTABLE}"
ONLY_A, ONLY_B = "only in A", "only in B"
AGREE, PARTLY, DISAGREE, UNKNOWN = "yes", "partly", "no", "unknown"


def _counted(row: Row) -> str:
    return str(row["n_pairs"]) if row["test"] == PAIRED else f"{row['n_a']}, {row['n_b']}"


COMPARE = register(
    TableSpec(
        "compare",
        (
            Column("cell", "text", terminal="cell"),
            METRIC,
            Column("test", "text", terminal="test"),
            Column("n_pairs", "count", "n", terminal="n", text=_counted),
            *(Column(f"{name}_{side}", "count") for name in ("n", "n_failed", "n_diverged") for side in "ab"),
            Column("mean_a", terminal="A"),
            Column("mean_b", terminal="B"),
            Column("delta", terminal="B − A [95 %]", signed=True, band=True),
            *interval_column(),
            Column("p_value", "p", shown=()),
            Column("p_holm", "p", "p (Holm)", terminal="p_holm"),
            Column("verdict", "verdict", terminal="verdict"),
        ),
        "{metric} of each cell in run A and run B, B minus A: paired or Welch's t-test as stated, 95 % intervals, "
        "Holm's correction over the rows.",
        footnote=lambda table: (
            f"{len(table) - TERMINAL_ROWS} more rows; --out DIR writes them all" if len(table) > TERMINAL_ROWS else ""
        ),
    )
)


def _verdict_of(side: str, row: Row) -> str:
    return row[f"verdict_{side}"] or "not there"


EFFECTS = register(
    TableSpec(
        "compare_ablation",
        (
            *COMPARED,
            replace(METRIC, terminal="metric"),
            *(Column(f"n_pairs_{side}", "count") for side in "ab"),
            *(Column(f"delta_{side}", terminal=f"delta {side.upper()}", signed=True) for side in "ab"),
            *(Column(f"p_holm_{side}", "p", f"p (Holm) {side.upper()}") for side in "ab"),
            *(
                Column(
                    f"verdict_{side}", "verdict", terminal=f"verdict in {side.upper()}", text=partial(_verdict_of, side)
                )
                for side in "ab"
            ),
            Column("agree", "text", terminal="agree"),
        ),
        "The ablations of run A and run B side by side.",
        title=lambda table: (
            "effects in both runs" + (f" on {table['metric'].iloc[0]}" if table["metric"].nunique() == 1 else "")
        ),
    )
)


class CompareError(FaultError, ValueError):
    """Two runs cannot be compared; lists every reason."""


@dataclass(frozen=True)
class Comparison:
    """The tables by file name (`compare_ablation` only of two ablations), notes on their limits, and what is damaged in
    the runs' records, whose trials are left out."""

    tables: dict[str, pd.DataFrame]
    notes: list[str]
    damaged: list[str] = field(default_factory=list)


def compare_runs(directory_a: Path, directory_b: Path) -> Comparison:
    """Compares two run directories, finished or not; CompareError lists every reason why they cannot be compared."""
    faults: list[str] = []
    read: list[Records] = []
    for directory in (directory_a, directory_b):
        try:
            read.append(read_records(directory))
        except (OSError, ValueError) as error:
            faults.append(str(error))
    if len(read) == 2:
        faults += _incomparable(*read)
    if faults:
        raise CompareError(faults)
    a, b = map(Run, (directory_a, directory_b), read)
    tables = {"compare": cells_table(a, b), "compare_ablation": ablations_table(a, b)}
    if a.records.is_search or b.records.is_search:
        del tables["compare_ablation"]
    damaged = [f"damaged: {found}" for run in read for found in run.findings]
    return Comparison(tables | {"compare_differences": differences_table(a, b)}, notes(a, b), damaged)


def _incomparable(a: Records, b: Records) -> list[str]:
    return [
        f"the runs differ in their {name}: {a.study.get(name)!r} in A, {b.study.get(name)!r} in B"
        for name in ("workload", "metric")
        if a.study.get(name) != b.study.get(name)
    ]


Match = tuple[str | None, str | None]
"""The cell's name in A and in B; None where the run has no such cell."""


def match_cells(a: Run, b: Run) -> list[Match]:
    """Cells of both runs in the order of A, then those of only A, then of only B; a search's in order of its ranking.

    Of equal configurations in one run only the first is matched.
    """
    names_a, names_b = _cells(a), _cells(b)
    key_a, key_b = {name: name for name in names_a}, {name: name for name in names_b}
    if a.records.is_search or b.records.is_search:
        keys = {*a.varied, *b.varied}
        varied = {name for name in a.recorded | b.recorded if within(name, keys)}
        key_a, key_b = ({cell: text_of(config, varied) for cell, config in run.configs.items()} for run in (a, b))
    waiting: dict[str, str] = {}
    for name in names_b:
        if name in key_b:
            waiting.setdefault(key_b[name], name)
    found = [(name, waiting.pop(key_a[name], None) if name in key_a else None) for name in names_a]
    taken = {partner for _, partner in found}
    only_b = [(None, name) for name in names_b if name not in taken]
    return [*sorted(found, key=lambda match: match[1] is None), *only_b]


def _cells(run: Run) -> list[str]:
    return list(ranking_table(run.records)["cell"]) if run.records.is_search else list(run.records.cells)


def cells_table(a: Run, b: Run) -> pd.DataFrame:
    """One row per cell, in the order of `match_cells`.

    `n_a` and `n_b` count finished runs. The means are over the seeds that were compared: the `n_pairs` common ones
    where `test` is "paired", else all. Holm's correction is over all rows with a p-value. `cell_b` is added where
    names differ, and the varied settings where a run is a search.
    """
    metric = a.records.metric
    matched = match_cells(a, b)
    rows = [_row(a, b, match, metric) for match in matched]
    p_holm = holm(row["p_value"] for row in rows)
    table = COMPARE.frame(
        row | {"p_holm": p, "verdict": _verdict(row, p, metric)} for row, p in zip(rows, p_holm, strict=True)
    )
    if any(cell_a and cell_b and cell_a != cell_b for cell_a, cell_b in matched):
        table.insert(1, "cell_b", pd.Series([cell_b for _, cell_b in matched], dtype="str"))
    if a.records.is_search or b.records.is_search:
        table = table.join(_varied_settings(a, b, matched))
    return table


def _varied_settings(a: Run, b: Run, matched: Sequence[Match]) -> pd.DataFrame:
    configs = [a.configs.get(cell_a or "") or b.configs.get(cell_b or "") or {} for cell_a, cell_b in matched]
    found = sorted({name for config in configs for name in config})
    names = dict.fromkeys(name for key in (*a.varied, *b.varied) for name in found if within(name, [key]))
    return pd.DataFrame({name: column([whole(config.get(name)) for config in configs]) for name in names})


def _row(a: Run, b: Run, match: Match, metric: str) -> dict[str, Any]:
    values_a, values_b = (_values(run, cell, metric) for run, cell in zip((a, b), match, strict=True))
    both = pd.concat([values_a, values_b], axis=1, join="inner").to_numpy("float64")
    test = _test(same_data(a, b), len(both), min(len(values_a), len(values_b)))
    statistics: Difference = unpaired(values_a.to_numpy(), values_b.to_numpy())
    if test == PAIRED:
        statistics = paired(both[:, 0], both[:, 1])
    counts = {
        f"{name}_{side}": run.records.count(cell, status) if cell else 0
        for name, status in (("n_failed", FAILED), ("n_diverged", DIVERGED))
        for side, run, cell in zip("ab", (a, b), match, strict=True)
    }
    equal = test == PAIRED and bool((both[:, 0] == both[:, 1]).all())
    return counts | {
        "cell": match[0] or match[1],
        "metric": metric,
        "test": test,
        "n_pairs": len(both) if test == PAIRED else 0,
        "n_a": len(values_a),
        "n_b": len(values_b),
        "mean_a": statistics.baseline_mean,
        "mean_b": statistics.level_mean,
        **{name: getattr(statistics, name) for name in ("delta", "ci_low", "ci_high", "p_value")},
        "alone": ONLY_A if match[1] is None else ONLY_B if match[0] is None else "",
        "identical": equal and same_configuration(a, b, match[0] or "", match[1] or ""),
    }


def _values(run: Run, cell: str | None, metric: str) -> pd.Series:
    return pd.Series(dtype="float64") if cell is None else run.records.values(cell, metric)


def _test(same_data: bool, common: int, fewest: int) -> str:
    """Paired where the data are the same, unless there are too few pairs for a test and enough for two samples."""
    if not fewest:
        return ""
    enough = common >= MINIMUM_PAIRS or (common > 0 and fewest < MINIMUM_PAIRS)
    return PAIRED if same_data and enough else UNPAIRED


def _verdict(row: Mapping[str, Any], p_holm: float, metric: str) -> str:
    if row["alone"] or row["identical"]:
        return str(row["alone"] or IDENTICAL)
    if (unsteady := _unstable(row)) is not None:
        return unsteady
    fewest = row["n_pairs"] if row["test"] == PAIRED else min(row["n_a"], row["n_b"])
    if fewest < MINIMUM_PAIRS:
        return TOO_FEW
    verdict = verdict_of(row["delta"], p_holm, metric)
    return verdict if verdict == UNCLEAR else f"B {verdict}"


def _unstable(row: Mapping[str, Any]) -> str | None:
    """The run that diverged more, in number and in share, since the runs may have different numbers of seeds: always,
    or in as many seeds as a verdict takes.
    """
    counts = {side: row[f"n_diverged_{side}"] for side in "ab"}
    ended = {side: counts[side] + row[f"n_{side}"] for side in "ab"}
    shares = {side: counts[side] / max(1, ended[side]) for side in "ab"}
    for side, other, verdict in (("b", "a", B_UNSTABLE), ("a", "b", A_UNSTABLE)):
        told = ended[side] >= MINIMUM_PAIRS or always_diverged(row[f"n_{side}"], counts[side])
        if told and counts[side] > counts[other] and shares[side] > shares[other]:
            return verdict
    return None


def ablations_table(a: Run, b: Run) -> pd.DataFrame:
    """The rows of both ablation tables by factor, level and baseline level, for every metric that both report.

    `agree` is "yes" where the verdicts are the same, "no" where they contradict each other, "partly" where only one run
    shows a clear effect (which proves no difference between the runs), "unknown" where a run has no or too few pairs.
    """
    further_b = b.records.study.get("further_metrics", [])
    further = [name for name in a.records.study.get("further_metrics", []) if name in further_b]
    metrics = dict.fromkeys([a.records.metric, *further])
    rows = [row for metric in metrics for row in _side_by_side(a, b, metric)]
    table = EFFECTS.frame(rows)
    table.attrs[ROWS] = a.records.traits.rows
    return table


def _side_by_side(a: Run, b: Run, metric: str) -> list[dict[str, Any]]:
    keys = ("factor", "level", "baseline_level", "metric")
    rows_a, rows_b = (
        {tuple(row[key] for key in keys): row for row in rows_of(ablation_table(run.records, metric))} for run in (a, b)
    )
    rows = []
    for key in dict.fromkeys([*rows_a, *rows_b]):
        row = dict(zip(keys, key, strict=True))
        for side, own in (("a", rows_a), ("b", rows_b)):
            found = own.get(key, {"n_pairs": 0, "verdict": ""})
            row |= {f"{name}_{side}": found.get(name) for name in ("n_pairs", "delta", "p_holm", "verdict")}
        rows.append(row | {"agree": _agree({row["verdict_a"], row["verdict_b"]})})
    return rows


def _agree(verdicts: set[str]) -> str:
    if verdicts & {"", TOO_FEW}:
        return UNKNOWN
    if len(verdicts) == 1:
        return AGREE
    return PARTLY if UNCLEAR in verdicts and verdicts & {BETTER, WORSE} else DISAGREE
