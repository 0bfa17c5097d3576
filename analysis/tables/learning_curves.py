"""Metrics by epoch over seeds (curves.csv), and how steadily each cell learns (stability.csv)."""

from collections.abc import Sequence

import pandas as pd

from analysis.records.columns import metric_columns, rows_of
from analysis.records.run_records import Records
from analysis.records.schema import DIVERGED, FAILED
from analysis.statistics.hypothesis_tests import half_width
from analysis.tables.spec import Column, TableSpec, interval_column, register
from core.metrics import counterpart
from core.splits import SPLITS

CURVE_COLUMNS = ("cell", "epoch", "metric", "n", "mean", "std", "ci_low", "ci_high")
register(TableSpec("curves", caption="Mean over seeds ({n}) by epoch, with its 95 % t interval."))
CURVE_WORDS = {"loss", "accuracy", "reference"}


def curve_metrics(records: Records) -> list[str]:
    """Loss, accuracy and reference columns of the epochs; the primary metric and those asked for, on every split."""
    asked = [f"test_{metric['name']}" for metric in records.study.get("metrics", [])]
    primary = {counterpart(metric, split) for metric in (records.metric, *asked) for split in SPLITS}
    columns = metric_columns(records.epochs)
    return [name for name in columns if name in primary or CURVE_WORDS & set(name.split("_"))]


def curves_table(records: Records, cells: Sequence[str]) -> pd.DataFrame:
    """Mean, standard deviation and 95 % interval over seeds, by cell, metric and epoch, without broken trials."""
    metrics = curve_metrics(records)
    rows = epochs_of_cells(records, cells)
    if rows.empty or not metrics:
        return pd.DataFrame(columns=list(CURVE_COLUMNS))
    long = rows.melt(["cell", "epoch"], metrics, var_name="metric", value_name="value").dropna(subset="value")
    table = long.groupby(["cell", "metric", "epoch"])["value"].agg(["count", "mean", "std"]).reset_index()
    table = table.rename(columns={"count": "n"})
    half = half_width(table["std"], table["n"])
    table["ci_low"], table["ci_high"] = table["mean"] - half, table["mean"] + half
    place = {name: index for index, name in enumerate(cells)}
    order = pd.DataFrame(
        {"cell": table["cell"].map(place), "metric": table["metric"].map(metrics.index), "epoch": table["epoch"]}
    ).sort_values(["cell", "metric", "epoch"])
    return table.loc[order.index, list(CURVE_COLUMNS)].reset_index(drop=True)


def epochs_of_cells(records: Records, cells: Sequence[str]) -> pd.DataFrame:
    """The epochs of these cells' trials, without failed and diverged ones."""
    trials = records.trials
    kept = trials.loc[~trials["status"].isin([DIVERGED, FAILED]) & trials["cell"].isin(list(cells))]
    return records.epochs.merge(kept[["trial", "cell"]], on="trial")


STEADINESS = ("val_roughness", "val_jumps")


def _steadiness(metric: str, digits: int | None = None) -> tuple[Column, ...]:
    return (
        Column(f"{metric}_mean", head=metric.removeprefix("val_"), css="num strong", digits=digits),
        Column(f"{metric}_std", head="std", digits=digits),
        *interval_column(f"{metric}_ci_low", f"{metric}_ci_high", digits=digits),
    )


STABILITY = register(
    TableSpec(
        "stability",
        (Column("cell", "text"), Column("n", "count"), *_steadiness("val_roughness"), *_steadiness("val_jumps", 1)),
        "Steadiness of the validation curve: mean size of its steps in log and number of rises by more than half, over "
        "seeds ({n}), with 95 % t intervals.",
    )
)


def stability_table(records: Records, cells: Sequence[str]) -> pd.DataFrame:
    """One row per cell in the order given: mean, deviation and 95 % t interval of STEADINESS over finished trials.

    Cells none of whose finished trials has a long enough curve are left out. An interval may reach below zero although
    neither measure can.
    """
    known = records.finished.dropna(subset="val_roughness")
    by_cell = known.groupby("cell")
    shown = [cell for cell in cells if cell in by_cell.groups]
    table = pd.DataFrame({"cell": pd.Series(shown, dtype="str"), "n": by_cell.size().reindex(shown).to_numpy()})
    for metric in STEADINESS:
        values = known[metric].astype("float64").groupby(known["cell"])
        mean, std = (values.agg(figure).reindex(shown).to_numpy() for figure in ("mean", "std"))
        table[f"{metric}_mean"], table[f"{metric}_std"] = mean, std
        half = half_width(table[f"{metric}_std"], table["n"])
        table[f"{metric}_ci_low"], table[f"{metric}_ci_high"] = mean - half, mean + half
    return STABILITY.frame(rows_of(table))
