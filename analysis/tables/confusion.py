"""Confusion counts and accuracy per class, from the predictions of finished trials.

A trial whose file is missing, unreadable or holds no classes (landmarks) is left out; nothing else depends on it.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.records.run_directory import RunDirectory
from analysis.records.run_records import Records
from analysis.records.schema import FINISHED

CONFUSION_COLUMNS = ("cell", "target", "prediction", "count")
MAXIMUM_CELLS = 300  # each has a file to read a seed
PER_CLASS_COLUMNS = ("cell", "class", "n", "accuracy", "std", "examples")


def confusion_and_per_class(
    records: Records, run: RunDirectory, cells: Iterable[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Counts by cell, target and prediction, summed over seeds; and accuracy by cell and class, averaged over seeds.

    Of the first MAXIMUM_CELLS `cells`, and the baseline if it comes later. `n` counts seeds, `examples` is the number
    of test examples of the class (of one seed).
    """
    every_cell, baseline = list(cells), records.baseline_cell
    read = [*every_cell[:MAXIMUM_CELLS], *(cell for cell in every_cell[MAXIMUM_CELLS:] if cell == baseline)]
    counts = [_counted(trial, cell, path) for cell, trial, path in _files(records, run, read)]
    known = [frame for frame in counts if frame is not None]
    if not known:
        return pd.DataFrame(columns=list(CONFUSION_COLUMNS)), pd.DataFrame(columns=list(PER_CLASS_COLUMNS))
    every = pd.concat(known, ignore_index=True)
    summed = every.groupby(["cell", "target", "prediction"], sort=False)["count"].sum().reset_index()
    confusion = _in_order(summed, ["target", "prediction"])
    hit = every["count"].where(every["target"] == every["prediction"], 0)
    by_trial = every.assign(hit=hit).groupby(["cell", "trial", "target"], sort=False, as_index=False)
    totals = by_trial[["count", "hit"]].sum()
    totals["accuracy"] = totals["hit"] / totals["count"]
    by_class = totals.groupby(["cell", "target"], sort=False)
    per_class = by_class.agg(
        n=("trial", "size"), accuracy=("accuracy", "mean"), std=("accuracy", "std"), examples=("count", "max")
    )
    per_class = _in_order(per_class.reset_index(), ["target"]).rename(columns={"target": "class"})
    names = records.class_names
    for table, columns in ((confusion, ("target", "prediction")), (per_class, ("class",))):
        for column in columns:
            table[column] = [class_name(names, index) for index in table[column]]
    return confusion[list(CONFUSION_COLUMNS)], per_class[list(PER_CLASS_COLUMNS)]


def _files(records: Records, run: RunDirectory, cells: Iterable[str]) -> Iterator[tuple[str, str, Path]]:
    for cell in cells:
        rows = records.rows(cell)
        for trial in rows.loc[rows["status"] == FINISHED, "trial"]:
            path = run.predictions / f"{trial}.parquet"
            if path.exists():
                yield cell, trial, path


def _counted(trial: str, cell: str, path: Path) -> pd.DataFrame | None:
    """How often each class was taken for which; None if the file cannot say."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if not {"target", "prediction"} <= set(pq.read_schema(path).names):
            return None
        table = pq.read_table(path, columns=["target", "prediction"]).to_pandas()
    except (OSError, pa.ArrowInvalid):
        return None
    if not all(pd.api.types.is_integer_dtype(kind) for kind in table.dtypes):
        return None
    table = table.loc[(table >= 0).all(axis=1)]
    width = int(table.to_numpy().max(initial=0)) + 1
    counts = np.bincount(table["target"] * width + table["prediction"], minlength=width * width)
    target, prediction = np.divmod(np.flatnonzero(counts), width)
    return pd.DataFrame(
        {"cell": cell, "trial": trial, "target": target, "prediction": prediction, "count": counts[counts > 0]}
    )


def _in_order(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Cells in the order they came, and within a cell by class index."""
    position = {cell: place for place, cell in enumerate(table["cell"].unique())}
    keyed = table.assign(position=table["cell"].map(position)).sort_values(["position", *columns], kind="stable")
    return keyed.drop(columns="position").reset_index(drop=True)


def class_name(names: list[str], index: int) -> str:
    return names[index] if 0 <= index < len(names) else str(index)
