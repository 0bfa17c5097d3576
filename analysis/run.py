"""A run in Python or in a notebook: records, predictions, tables and figures, read from its files; nothing is written.

A `Run` is what the files said when it was made, so that its tables agree. Of a run that goes on, make another one.
"""

from copy import deepcopy
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import warn

import pandas as pd

from analysis.records.columns import metric_columns, read_parquet
from analysis.records.lookup import is_run, no_run, trial_key
from analysis.records.run_directory import RunDirectory
from analysis.records.run_records import Records
from analysis.records.schema import DIVERGED, FAILED, FINISHED, STOPPED
from analysis.records.store import read_records
from core.component import did_you_mean
from core.errors import FaultError, PlanError
from core.metrics import CURVES, counterpart, maximised
from core.text import word

if TYPE_CHECKING:
    from analysis.figures.theme import Figure
    from analysis.report.contents import Contents

FOREST = {"forest": "ablation"}  # its name in the literature; the file of the report is called ablation.svg


class RunError(FaultError, ValueError):
    """What a run does not hold; the text says what there is instead."""


class Run:
    """A run directory: a finished run, or the present state of one that goes on.

    RunError for a path that is none, RecordError for a study.json that cannot be read. Damaged trials are left out,
    with a warning that names file and line.
    """

    def __init__(self, directory: str | PathLike[str]) -> None:
        text = fspath(directory)
        if "://" in text:
            what = f"`report {word(text)}` brings a copy here and prints its folder, which Run takes"
            raise RunError(f"{text}: is a URL; {what}")
        self.directory = Path(text).expanduser().resolve()
        if not is_run(self.directory):
            raise RunError(no_run(text, self.directory))
        self._records = read_records(self.directory)
        for finding in self._records.findings:
            warn(f"damaged, and its trial left out: {finding}", stacklevel=2)
        self._made: dict[str | None, Contents] = {}

    def __repr__(self) -> str:
        counts = self._records.trials["status"].value_counts()
        said = ", ".join(f"{count} {status}" for status, count in counts.items()) or "none begun"
        return f"Run({str(self.directory)!r}): {self._records.study['name']}; trials: {said}"

    @property
    def study(self) -> dict[str, Any]:
        """The study as recorded: study.json."""
        return deepcopy(self._records.study)

    @property
    def trials(self) -> pd.DataFrame:
        """A row a trial: trials.parquet."""
        return self._records.trials.copy()

    @property
    def epochs(self) -> pd.DataFrame:
        """A row a trial and epoch: epochs.parquet."""
        return self._records.epochs.copy()

    @property
    def tables(self) -> list[str]:
        """The names that `table` takes; makes all tables."""
        return list(self._contents(None).tables)

    @property
    def figures(self) -> list[str]:
        """The names that `figure` takes; makes all figures."""
        return [figure.name for figure in self._contents(None).figures]

    def predictions(self, trial: str) -> pd.DataFrame:
        """What the selected model of a trial said of the test split: a row an example.

        `trial`: its key, or the beginning of it. RunError if there is no such trial, or it has left no predictions.
        """
        status = dict(zip(self._records.trials["trial"], self._records.trials["status"], strict=True))
        planned = [item["trial"] for item in self._records.study.get("trials", [])]
        try:
            key = trial_key(trial, dict.fromkeys([*status, *planned]), "trial")
        except PlanError as error:
            raise RunError(error.faults) from None
        file = RunDirectory(self.directory).prediction(key)
        table = read_parquet(file)
        if table is None:
            raise RunError(f"trial {key}: has no predictions: {_why_none(status.get(key), file)}")
        return table

    def table(self, name: str, metric: str | None = None) -> pd.DataFrame:
        """A table of the report by its file name, such as "ablation": the numbers of its CSV.

        `metric`: the primary metric that it is made of, any one recorded, in place of the study's. RunError for a table
        or metric that this run does not have, and for a `metric` of a table that is made of none.
        """
        made = self._contents(metric)
        table = made.table(name)
        if table is not None and (metric is None or _is_of(table, metric)):
            return table.copy()
        if metric is not None and self._contents(None).table(name) is not None:
            raise RunError(f"table {name}: is not made of one metric, so it takes none; given: {metric!r}")
        raise RunError(f"table {name}: this run has none{made.lacking(name)}; {did_you_mean(name, made.tables)}")

    def figure(self, name: str) -> "Figure":
        """A figure of the report by its file name, or "forest"; it shows itself in a notebook.

        RunError for a figure that this run does not have.
        """
        from analysis.report.contents import SHOWN

        made, own = self._contents(None), FOREST.get(name, name)
        found = {figure.name: figure for figure in made.figures}
        if own not in found:
            like = SHOWN.get(own) or ("curves" if own.startswith("curves_") else "")
            names = [*(alias for alias, file in FOREST.items() if file in found), *found]
            raise RunError(f"figure {name}: this run has none{made.lacking(like)}; {did_you_mean(name, names)}")
        return found[own]

    def _contents(self, metric: str | None) -> "Contents":
        """Tables and figures with this primary metric; None: the study's."""
        from analysis.report.contents import Contents

        other = None if metric == self._records.metric else metric
        if other not in self._made:
            records = self._records if other is None else _with_metric(self._records, other)
            self._made[other] = Contents(records, RunDirectory(self.directory))
        return self._made[other]


def _with_metric(records: Records, metric: str) -> Records:
    """The records of a study of another primary metric. A source's figures are of its own metric, so they are left out.

    RunError if it is not recorded.
    """
    recorded = [*metric_columns(records.epochs), *CURVES, "seconds"]
    known = [*(name for name in recorded if name.startswith("test_")), *recorded]
    if metric not in known:
        meant = f"test_{metric}" if f"test_{metric}" in known else metric
        raise RunError(f"metric {metric!r}: is not recorded; {did_you_mean(meant, dict.fromkeys(known))}")
    maximised(metric)  # which raises for a metric whose direction is not known
    cells = [{**cell, "reference": None} for cell in records.study.get("cells", [])]
    return replace(records, study={**records.study, "metric": metric, "objectives": [], "cells": cells})


def _is_of(table: pd.DataFrame, metric: str) -> bool:
    """Whether a table is of this metric, or of that which it is ranked by."""
    return "metric" in table and set(table["metric"]) <= {metric, counterpart(metric, "val")}


def _why_none(status: str | None, file: Path) -> str:
    if file.exists():
        return f"{file} is damaged"
    if status == FINISHED:
        return f"{file} is missing"
    if status in (STOPPED, DIVERGED, FAILED):
        return f"it {'was ' if status == STOPPED else ''}{status}"
    return "it was not begun yet" if status is None else "it has not ended yet"
