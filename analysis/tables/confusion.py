"""Confusion counts and accuracy per class, from the predictions of finished trials.

A trial whose file is missing, unreadable or holds no classes (landmarks) is left out; nothing else depends on it.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from analysis.records.columns import read_parquet, unless_damaged
from analysis.records.run_directory import RunDirectory
from analysis.records.run_records import Records
from analysis.statistics.prediction_errors import has_integers
from analysis.tables.spec import TableSpec, register

register(TableSpec("per_class", caption="Test accuracy by class, mean over seeds ({n})."))
register(TableSpec("confusion", caption="Test examples by true and predicted class, summed over seeds."))
CONFUSION_COLUMNS = ("cell", "target", "prediction", "count")
MAXIMUM_CELLS = 300  # each has one file to read per seed
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
    known = [
        counts.assign(cell=cell, trial=trial)
        for cell in read
        for trial in records.finished_trials(cell).values()
        if (counts := _counted(run.prediction(trial))) is not None
    ]
    if not known:
        return pd.DataFrame(columns=list(CONFUSION_COLUMNS)), pd.DataFrame(columns=list(PER_CLASS_COLUMNS))
    every = pd.concat(known, ignore_index=True)
    every["cell"] = pd.Categorical(every["cell"], read)  # sorts groups in the order of the cells, then of the classes
    confusion = every.groupby(["cell", "target", "prediction"], observed=True)["count"].sum().reset_index()
    hit = every["count"].where(every["target"] == every["prediction"], 0)
    by_trial = every.assign(hit=hit).groupby(["cell", "trial", "target"], sort=False, observed=True, as_index=False)
    totals = by_trial[["count", "hit"]].sum()
    totals["accuracy"] = totals["hit"] / totals["count"]
    per_class = totals.groupby(["cell", "target"], observed=True).agg(
        n=("trial", "size"), accuracy=("accuracy", "mean"), std=("accuracy", "std"), examples=("count", "max")
    )
    per_class = per_class.reset_index().rename(columns={"target": "class"})
    for table, columns in ((confusion, ["target", "prediction"]), (per_class, ["class"])):
        table["cell"] = table["cell"].astype("str")
        table[columns] = table[columns].map(records.class_name)
    return confusion[list(CONFUSION_COLUMNS)], per_class[list(PER_CLASS_COLUMNS)]


@unless_damaged
def _counted(path: Path) -> pd.DataFrame | None:
    """The file's examples counted by target and prediction; None if it is unreadable or has no classes."""
    table = read_parquet(path, "target", "prediction")
    if table is None or not has_integers(table, "target", "prediction"):
        return None
    known = table.loc[(table >= 0).all(axis=1)]
    return known.groupby(["target", "prediction"]).size().reset_index(name="count")
