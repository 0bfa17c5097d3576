"""Cells in order of merit. An ablation is ranked by its primary metric, a search by the validation counterpart.

Only finished trials enter the figures; a cell without one comes last, with nulls, but is listed and counted.
"""

from collections.abc import Sequence

import pandas as pd

from analysis.schema import CONFIG_PREFIX, DIVERGED, FAILED, FINISHED, STOPPED, counterpart, maximised
from analysis.statistics import half_width
from analysis.store import Records

COLUMNS = (
    "rank",
    "cell",
    "n",
    "n_failed",
    "n_diverged",
    "metric",
    "mean",
    "std",
    "ci_low",
    "ci_high",
    "min",
    "max",
    "val_mean",
    "val_std",
    "test_mean",
    "test_std",
    "reference",
)


def ranked_metric(records: Records) -> str:
    """The metric that cells are ranked by: test data never chooses among a search's configurations."""
    metric = str(records.study["metric"])
    return counterpart(metric, "val") if records.is_search else metric


def ranking_table(records: Records) -> pd.DataFrame:
    """One row a cell, best first, then the levels of each factor (ablation) or the varied settings (search)."""
    metric = ranked_metric(records)
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
    stopped = _by_cell(records, metric, STOPPED, ["mean"]).reindex(source)["mean"].to_numpy()
    order = _order(table.assign(stopped=stopped), maximised(metric))
    table = table.join(_settings(records)).loc[order].reset_index(drop=True)
    table["rank"] = range(1, len(table) + 1)
    return table[[*COLUMNS, *(name for name in table if name not in COLUMNS)]]


def _by_cell(records: Records, metric: str, status: str, figures: Sequence[str]) -> pd.DataFrame:
    """Statistics of a metric over the trials of one status, by cell; empty where nobody recorded the metric."""
    trials = records.trials
    rows = trials.loc[trials["status"] == status]
    value = rows[metric].astype("float64") if metric in rows else pd.Series(float("nan"), index=rows.index)
    by_cell = value.groupby(rows["cell"])
    return pd.DataFrame({figure: by_cell.agg(figure) for figure in figures})


def _order(table: pd.DataFrame, maximise: bool) -> pd.Index:
    """Finished cells by mean, then those that a trial scheduler stopped by how far they had got, then the rest."""
    sign = -1 if maximise else 1
    keys = pd.DataFrame({"mean": sign * table["mean"], "stopped": sign * table["stopped"]})
    return keys.sort_values(["mean", "stopped"], na_position="last", kind="stable").index


def _settings(records: Records) -> pd.DataFrame:
    """A column a factor (ablation) or a varied setting (search), a row a cell in the order of `records.cells`."""
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
        return settings.reset_index(drop=True)
    levels = [cell.get("levels") or {} for cell in records.cells.values()]
    named = [factor["name"] for factor in records.study.get("factors", [])]
    names = list(dict.fromkeys([*named, *(name for row in levels for name in row)]))
    return pd.DataFrame({name: pd.Series([row.get(name) for row in levels], dtype="str") for name in names})
