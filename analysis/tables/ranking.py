"""The ranking of cells: of an ablation by its primary metric, of a search by the validation counterpart.

Only finished trials enter the statistics; a cell without one comes last, with nulls, but is listed and counted, and one
whose trials all diverged is noted as `unstable`. A cell
with trials stopped by a scheduler comes after those without: a value after 3 epochs is not comparable with one after
20, and the seeds that were not stopped bias their cell's mean.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.records.columns import metric_values, within
from analysis.records.run_records import Records
from analysis.records.schema import CONFIG_PREFIX, COSTS, DIVERGED, FINISHED, STOPPED
from analysis.records.search_space import sampled_settings, settings_of
from analysis.statistics.hypothesis_tests import half_width
from analysis.statistics.multiple_comparisons import UNSTABLE, always_diverged
from analysis.tables.formatting import DIGITS, number, reached
from analysis.tables.spec import BROKEN, METRIC, PAPER, REFERENCE, Column, Row, TableSpec, interval_column, register
from core.metrics import counterpart, maximised, split_of

# After the settings, and only where a trial was stopped; the mean is of the ranked metric at the last epoch reached.
STOPPED_COLUMNS = ("n_stopped", "stopped_mean", "stopped_epochs")


def _costs_differ(table: pd.DataFrame) -> bool:
    return table["multiply_adds"].nunique() > 1


def _mean(row: Row) -> str | None:
    """The text for a cell whose trials were all stopped (`reached`); None for others, shown as the number."""
    if pd.isna(row["mean"]) and pd.notna(row.get("stopped_mean")):
        return reached(row, number(row["stopped_mean"]))
    return None


def _footnote(table: pd.DataFrame) -> str:
    if "n_stopped" not in table:
        return ""
    stopped = int(table["n_stopped"].sum())
    were = "1 trial was" if stopped == 1 else f"{stopped} trials were"
    return f"{were} stopped early by the trial scheduler: such cells stand behind the finished ones"


RANKING = register(
    TableSpec(
        "ranking",
        (
            Column("rank", "count", css="num faint", terminal="rank"),
            Column("cell", "text", terminal="cell"),
            Column("n", "count", terminal="n"),
            *(replace(column, terminal=column.head) for column in BROKEN),
            METRIC,
            Column("mean", terminal="mean [95 %]", terminal_digits=DIGITS, band=True, text=_mean),
            Column("std", lesser=True),
            *interval_column(),
            Column("min", shown=()),
            Column("max", shown=()),
            Column(
                "val_mean",
                head="validation",
                terminal="validation",
                terminal_digits=DIGITS,
                when=lambda table: not _is_metric(table, "val"),
            ),
            Column("val_std", shown=()),
            Column(
                "test_mean",
                head="test",
                terminal="test",
                terminal_digits=DIGITS,
                when=lambda table: not _is_metric(table, "test"),
            ),
            Column("test_std", shown=()),
            replace(REFERENCE, shown=(PAPER,)),
            Column("note", "text"),
            Column("n_stopped", "count", "stopped", terminal="stopped"),
            Column("stopped_mean", shown=()),
            Column("stopped_epochs", shown=()),
            *(Column(name, "count", lesser=True, when=_costs_differ) for name in COSTS),
        ),
        "{metric} of each cell: mean over seeds ({n}) with its 95 % t interval; the best mean is bold.",
        footnote=_footnote,
    )
)
COLUMNS = tuple(column.key for column in RANKING.columns if column.key not in (*STOPPED_COLUMNS, *COSTS, "note"))


def _is_metric(table: pd.DataFrame, split: str) -> bool:
    """Whether the ranked metric is of this split, so that column `mean` holds it already."""
    return bool(len(table)) and split_of(str(table["metric"].iloc[0]))[0] == split


def ranking_table(records: Records) -> pd.DataFrame:
    """One row per cell, best first; behind the figures stand the levels of factors or a search's varied settings, then
    what the cell's network costs."""
    metric = records.ranked_metric
    cells = pd.Index(list(records.cells), dtype="str")
    table = pd.DataFrame({"cell": cells, "metric": metric})
    broken = [list(records.broken(cell).values()) for cell in cells]
    table[["n_failed", "n_diverged"]] = np.array(broken, dtype="int64").reshape(-1, 2)
    figures = ["count", "mean", "std", "min", "max"]
    table[["n", *figures[1:]]] = _by_cell(records, metric, FINISHED, figures)
    table["n"] = table["n"].fillna(0).astype("int64")
    half = half_width(table["std"], table["n"])
    table["ci_low"], table["ci_high"] = table["mean"] - half, table["mean"] + half
    for split in ("val", "test"):
        beside = _by_cell(records, counterpart(metric, split), FINISHED, ["mean", "std"])
        table[[f"{split}_mean", f"{split}_std"]] = beside
    seen = table["cell"].isin(records.seen_validation)
    table.loc[seen, ["val_mean", "val_std"]] = float("nan")
    noted = {
        "validation was trained on": seen,
        UNSTABLE: pd.Series([_always_diverged(records, cell) for cell in cells], dtype="bool"),
    }
    if any(where.any() for where in noted.values()):
        table["note"] = [", ".join(text for text, where in noted.items() if where[i]) for i in table.index]
    table["reference"] = pd.Series([cell.get("reference") for cell in records.cells.values()], dtype="str")
    stopped = _stopped(records, metric)
    order = _order(table.join(stopped), maximised(metric))
    table = table.join(settings_columns(records))
    if stopped["n_stopped"].any():
        table = table.join(stopped)
    table = table.join(_costs(records))
    table = table.loc[order].reset_index(drop=True)
    table["rank"] = range(1, len(table) + 1)
    return table[[*COLUMNS, *(name for name in table if name not in COLUMNS)]]


def _always_diverged(records: Records, cell: str) -> bool:
    """Whether a cell has diverged trials and none that finished or that a scheduler stopped."""
    return always_diverged(records.count(cell, FINISHED) + records.count(cell, STOPPED), records.count(cell, DIVERGED))


def _by_cell(records: Records, metric: str, status: str, figures: Sequence[str]) -> NDArray[np.float64]:
    """Statistics of a metric over the trials of one status [cell, figure]; null where no trial recorded the metric."""
    rows = records.of_status(status)
    by_cell = metric_values(rows, metric).groupby(rows["cell"])
    table = pd.DataFrame({figure: by_cell.agg(figure) for figure in figures})
    return table.reindex([records.resolve(cell) for cell in records.cells]).to_numpy("float64")


def _stopped(records: Records, metric: str) -> pd.DataFrame:
    """How many trials of each cell were stopped, the mean of their metric and of the epochs that they trained."""
    figures = _by_cell(records, metric, STOPPED, ["size", "mean"])
    epochs = _by_cell(records, "epochs", STOPPED, ["mean"])
    table = pd.DataFrame(np.hstack([figures, epochs]), columns=list(STOPPED_COLUMNS))
    return table.assign(n_stopped=table["n_stopped"].fillna(0).astype("int64"))


def _costs(records: Records) -> pd.DataFrame:
    """What the network of each cell costs; null where no trial recorded it."""
    first = records.trials.groupby("cell")[list(COSTS)].first()
    return first.reindex([records.resolve(cell) for cell in records.cells]).astype("Int64").reset_index(drop=True)


def _order(table: pd.DataFrame, maximise: bool) -> pd.Index:
    """Cells whose trials finished by mean, then those with some stopped, then those with all stopped, then the rest."""
    nothing = table["mean"].isna()
    keys = pd.DataFrame({"nothing": nothing, "cut": (table["n_stopped"] > 0) & ~nothing})
    keys[["mean", "stopped"]] = table[["mean", "stopped_mean"]] * (-1 if maximise else 1)
    return keys.sort_values([*map(str, keys)], na_position="last", kind="stable").index


def settings_columns(records: Records) -> pd.DataFrame:
    """One column per factor (ablation) or varied setting (search), one row per cell in the order of `records.cells`.

    A setting is missing where its condition does not hold. A factor with the name of a column of the ranking is called
    `factor NAME`.
    """
    if records.is_search:
        return _varied_settings(records)
    levels = [cell.get("levels") or {} for cell in records.cells.values()]
    names = dict.fromkeys([*records.levels, *(name for row in levels for name in row)])
    taken = {*COLUMNS, *STOPPED_COLUMNS, *COSTS, "note"}
    columns: dict[str, pd.Series] = {}
    for name in names:
        free = name
        while free in taken or free in columns or (free != name and free in names):
            free = f"factor {free}"
        columns[free] = pd.Series([row.get(name) for row in levels], dtype="str")
    return pd.DataFrame(columns)


def _varied_settings(records: Records) -> pd.DataFrame:
    first = records.trials.drop_duplicates("cell").set_index("cell").reindex(list(records.cells))
    configs = first.filter(regex=f"^{CONFIG_PREFIX}").rename(columns=lambda name: name.removeprefix(CONFIG_PREFIX))
    varied = [domain["key"] for domain in records.study.get("space", [])]
    names = dict.fromkeys(name for key in varied for name in map(str, configs) if within(name, [key]))
    table = configs[list(names)]
    # A configuration shows the default of a setting whose condition does not hold.
    conditional = [setting for setting in settings_of(records) if setting.when]
    if conditional:
        there = sampled_settings(records, settings_of(records)).set_index("cell").notna().reindex(table.index)
        for setting in conditional:
            table[setting.key] = table[setting.key].where(there[setting.key])
    return table.reset_index(drop=True)


def settings_of_cells(ranking: pd.DataFrame) -> list[str]:
    """The columns of a ranking that are settings or factors."""
    return [str(name) for name in ranking if name not in (*COLUMNS, *STOPPED_COLUMNS, *COSTS)]


def best_cell(records: Records, ranking: pd.DataFrame) -> str | None:
    """The first cell of the ranking, for a path the last chosen step; None while no such cell has finished.

    A path's ranking also holds the candidates that validation rejected: one of them may lead it by its test metric.
    """
    measured = [str(cell) for cell in ranking.loc[ranking["mean"].notna(), "cell"]]
    if records.traits.question == "steps":
        taken = {str(comparison["cell"]): None for comparison in records.comparisons}
        measured = [cell for cell in reversed(taken) if cell in measured]
    return records.resolve(measured[0]) if measured else None


def best_word(records: Records) -> str:
    """What the cell of `best_cell` is called: a path's last step need not be its best."""
    return "last step" if records.traits.question == "steps" else "best"
