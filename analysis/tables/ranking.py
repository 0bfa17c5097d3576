"""Cells in order of merit. An ablation is ranked by its primary metric, a search by the validation counterpart.

Only finished trials enter the figures; a cell without one comes last, with nulls, but is listed and counted. A cell
with trials that a scheduler stopped comes after those without: a value after 3 epochs is not comparable with one after
20, and the seeds that were let go on flatter their cell.
"""

from collections.abc import Sequence

import pandas as pd

from analysis.records.columns import metric_values
from analysis.records.run_records import Records
from analysis.records.schema import CONFIG_PREFIX, DIVERGED, FAILED, FINISHED, STOPPED
from analysis.records.search_space import sampled_settings, settings_of
from analysis.statistics.hypothesis_tests import half_width
from core.metrics import counterpart, maximised

COLUMNS = (
    *("rank", "cell", "n", "n_failed", "n_diverged", "metric", "mean", "std", "ci_low", "ci_high", "min"),
    *("max", "val_mean", "val_std", "test_mean", "test_std", "reference"),
)
# Behind the settings, and only where a trial was stopped; the mean is of the ranked metric at the epochs they reached.
STOPPED_COLUMNS = ("n_stopped", "stopped_mean", "stopped_epochs")


def ranking_table(records: Records) -> pd.DataFrame:
    """One row a cell, best first, then the levels of each factor (ablation) or the varied settings (search)."""
    metric = records.ranked_metric
    own = records.trials
    cells = pd.Index(list(records.cells), dtype="str")
    source = [records.resolve(cell) for cell in cells]
    table = pd.DataFrame({"cell": cells, "metric": metric})
    for status, name in ((FAILED, "n_failed"), (DIVERGED, "n_diverged")):
        table[name] = own.loc[own["status"] == status].groupby("cell").size().reindex(source, fill_value=0).to_numpy()
    figures = _by_cell(records, metric, FINISHED, ["count", "mean", "std", "min", "max"]).reindex(source)
    table["n"] = figures["count"].fillna(0).astype("int64").to_numpy()
    for name in ("mean", "std", "min", "max"):
        table[name] = figures[name].to_numpy()
    half = half_width(table["std"], table["n"])
    table["ci_low"], table["ci_high"] = table["mean"] - half, table["mean"] + half
    for split in ("val", "test"):
        beside = _by_cell(records, counterpart(metric, split), FINISHED, ["mean", "std"]).reindex(source)
        table[f"{split}_mean"], table[f"{split}_std"] = beside["mean"].to_numpy(), beside["std"].to_numpy()
    seen = table["cell"].isin(records.seen_validation)
    if seen.any():
        table.loc[seen, ["val_mean", "val_std"]] = float("nan")
        table["note"] = seen.map({True: "validation was trained on", False: ""})
    table["reference"] = pd.Series([cell.get("reference") for cell in records.cells.values()], dtype="str")
    stopped = _stopped(records, metric, source)
    order = _order(table.join(stopped), maximised(metric))
    table = table.join(settings_columns(records))
    if stopped["n_stopped"].any():
        table = table.join(stopped)
    table = table.loc[order].reset_index(drop=True)
    table["rank"] = range(1, len(table) + 1)
    return table[[*COLUMNS, *(name for name in table if name not in COLUMNS)]]


def _by_cell(records: Records, metric: str, status: str, figures: Sequence[str]) -> pd.DataFrame:
    """Statistics of a metric over the trials of one status, by cell; empty where nobody recorded the metric."""
    trials = records.trials
    rows = trials.loc[trials["status"] == status]
    by_cell = metric_values(rows, metric).groupby(rows["cell"])
    return pd.DataFrame({figure: by_cell.agg(figure) for figure in figures})


def _stopped(records: Records, metric: str, cells: Sequence[str]) -> pd.DataFrame:
    """How many trials of each cell were stopped, the mean of their metric and of the epochs that they trained."""
    figures = _by_cell(records, metric, STOPPED, ["size", "mean"]).reindex(list(cells))
    epochs = _by_cell(records, "epochs", STOPPED, ["mean"]).reindex(list(cells))
    columns = (figures["size"].fillna(0).astype("int64"), figures["mean"], epochs["mean"])
    return pd.DataFrame({name: column.to_numpy() for name, column in zip(STOPPED_COLUMNS, columns, strict=True)})


def _order(table: pd.DataFrame, maximise: bool) -> pd.Index:
    """Cells whose trials finished by mean, then those with some stopped, then those with all stopped, then the rest."""
    sign = -1 if maximise else 1
    keys = pd.DataFrame(
        {
            "nothing": table["mean"].isna(),
            "cut": table["n_stopped"] > 0,
            "mean": sign * table["mean"],
            "stopped": sign * table["stopped_mean"],
        }
    )
    keys.loc[keys["nothing"], "cut"] = False
    return keys.sort_values(["nothing", "cut", "mean", "stopped"], na_position="last", kind="stable").index


def _without_inactive(records: Records, settings: pd.DataFrame) -> pd.DataFrame:
    """The settings by cell without those whose condition does not hold, which configurations show by their default."""
    conditional = [setting.key for setting in settings_of(records) if setting.when]
    if conditional:
        there = sampled_settings(records, settings_of(records)).set_index("cell").notna().reindex(settings.index)
        for key in conditional:
            settings[key] = settings[key].where(there[key])
    return settings


def settings_columns(records: Records) -> pd.DataFrame:
    """A column a factor (ablation) or a varied setting (search), a row a cell in the order of `records.cells`.

    A setting that a configuration does not have, because its condition does not hold, is missing.
    A factor that has the name of a column of the table is called `factor NAME`.
    """
    if records.is_search:
        first = records.trials.drop_duplicates("cell").set_index("cell").reindex(list(records.cells))
        varied = [domain["key"] for domain in records.study.get("space", [])]
        names = [
            name
            for key in varied
            for name in map(str, first)
            if name == f"{CONFIG_PREFIX}{key}" or name.startswith(f"{CONFIG_PREFIX}{key}.")
        ]
        settings = first[list(dict.fromkeys(names))].rename(columns=lambda name: name.removeprefix(CONFIG_PREFIX))
        return _without_inactive(records, settings).reset_index(drop=True)
    levels = [cell.get("levels") or {} for cell in records.cells.values()]
    named = [factor["name"] for factor in records.study.get("factors", [])]
    names = list(dict.fromkeys([*named, *(name for row in levels for name in row)]))
    taken = {*COLUMNS, *STOPPED_COLUMNS, "note"}
    return pd.DataFrame(
        {
            f"factor {name}" if name in taken else name: pd.Series([row.get(name) for row in levels], dtype="str")
            for name in names
        }
    )


def best_cell(records: Records, ranking: pd.DataFrame) -> str | None:
    """The cell that leads the ranking, of a path the last chosen step; None while no such cell has finished.

    A path's ranking also holds the candidates that validation rejected: one of them may lead it by its test metric.
    """
    measured = [str(cell) for cell in ranking.loc[ranking["mean"].notna(), "cell"]]
    if records.design == "path":
        taken = {str(comparison["cell"]): None for comparison in records.comparisons}
        measured = [cell for cell in reversed(taken) if cell in measured]
    return records.resolve(measured[0]) if measured else None


def best_word(records: Records) -> str:
    """What the cell of `best_cell` is called: a path's last step need not be its best."""
    return "last step" if records.design == "path" else "best"
