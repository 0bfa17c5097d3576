"""A run's records in memory, with the queries of all tables: cells, their trials and values, the ranking metric."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from analysis.records.columns import metric_values
from analysis.records.log import Finding
from analysis.records.outputs import Lost
from analysis.records.schema import DIVERGED, FAILED, FINISHED, RUNNING
from core.designs import DesignTraits, traits_of
from core.metrics import counterpart


@dataclass(frozen=True)
class Records:
    """A run's records: its study.json, one row per trial, one row per trial and epoch."""

    study: dict[str, Any]
    trials: pd.DataFrame
    epochs: pd.DataFrame
    findings: tuple[Finding, ...] = ()
    """what is damaged; trials that they name are left out"""
    last_session: tuple[frozenset[str], bool] = (frozenset(), False)
    """the trials that the last driver of the run began, whether it spent its time budget"""
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    """by trial that has ended the digests of the files that it has left (`analysis.records.outputs`)"""
    lost: tuple[Lost, ...] = ()
    """those of them that a report would need and that are missing or damaged"""

    @property
    def is_search(self) -> bool:
        return bool(self.study["kind"] == "search")

    @property
    def design(self) -> str | None:
        """An ablation's design, such as "ladder"; None for a search."""
        return self.study.get("design")

    @property
    def traits(self) -> DesignTraits:
        """How to read the rows of the design's table."""
        return traits_of(self.study)

    @property
    def compares_cells(self) -> bool:
        """Whether rows compare whole cells, each with a baseline of its own."""
        return self.traits.rows == "cells"

    @property
    def metric(self) -> str:
        """The primary metric."""
        return str(self.study["metric"])

    @property
    def ranked_metric(self) -> str:
        """The metric that cells are ranked by: test data never chooses among a search's configurations."""
        return counterpart(self.metric, "val") if self.is_search else self.metric

    @property
    def levels(self) -> dict[str, list[str]]:
        """The names of each factor's levels."""
        factors = self.study.get("factors", [])
        return {factor["name"]: [level["name"] for level in factor["levels"]] for factor in factors}

    @property
    def objectives(self) -> list[str]:
        """The objectives of a search, in order; at most one unless it has several."""
        return list(dict.fromkeys(map(str, self.study.get("objectives") or [])))

    @property
    def comparisons(self) -> list[dict[str, Any]]:
        """An ablation's comparisons of a cell with its baseline, in the study's order."""
        return list(self.study.get("comparisons", []))

    @cached_property
    def class_names(self) -> list[str]:
        """The data set's classes by index; empty if it has none."""
        return [str(name) for name in self.study.get("data", {}).get("classes", [])]

    def class_name(self, index: int) -> str:
        return self.class_names[index] if 0 <= index < len(self.class_names) else str(index)

    def in_class_order(self, classes: Iterable[str]) -> list[str]:
        """Class names without duplicates, in the data set's order, then unknown ones."""
        found = dict.fromkeys(classes)
        return [name for name in dict.fromkeys([*self.class_names, *found]) if name in found]

    @property
    def planned_trials(self) -> int:
        seeds = len(self.study.get("seeds") or [0])
        known = len(self.study.get("trials") or []) + int(self.study.get("trials_ahead") or 0)
        return known or (self.study.get("configurations") or self.study.get("samples") or 0) * seeds

    @property
    def all_tried(self) -> str:
        """Says that a search's space holds fewer configurations than were asked for; else empty."""
        held, asked = self.study.get("configurations"), self.study.get("samples")
        fewer = held and asked and held < asked
        return f"{held} of the {asked} configurations asked for: the space holds no more" if fewer else ""

    @property
    def is_unfinished(self) -> bool:
        planned = {trial["trial"] for trial in self.study.get("trials", [])}
        running = bool((self.trials["status"] == RUNNING).any())
        waiting = bool(planned - set(self.trials["trial"])) or bool(self.study.get("trials_ahead"))
        return running or waiting or self.trials.empty

    @cached_property
    def cells(self) -> dict[str, dict[str, Any]]:
        """Cells by name: the study's in its order, then those that only the log names (a search's configurations)."""
        cells = {cell["name"]: cell for cell in self.study.get("cells", [])}
        for name in self.trials["cell"].unique():
            cells.setdefault(name, {"name": name, "levels": {}})
        return cells

    @property
    def baseline_cell(self) -> str | None:
        """The first comparison's baseline cell, such as a ladder's first rung; None for a search."""
        return self.resolve(str(self.comparisons[0]["baseline_cell"])) if self.comparisons else None

    def of_status(self, *statuses: str) -> pd.DataFrame:
        """The trials that have one of these statuses."""
        return self.trials.loc[self.trials["status"].isin(statuses)]

    @cached_property
    def finished(self) -> pd.DataFrame:
        """The finished trials."""
        return self.of_status(FINISHED)

    @cached_property
    def _by_cell(self) -> dict[str, pd.DataFrame]:
        return {str(cell): rows for cell, rows in self.trials.groupby("cell", sort=False)}

    @cached_property
    def seen_validation(self) -> set[str]:
        """Cells that trained on their validation data, so that their validation metrics mean nothing."""
        flag = self.trials.get("config/dataset.train_on_validation")
        if flag is None:
            return set()
        own = set(self.trials.loc[flag.astype("boolean").fillna(False), "cell"])
        return {cell for cell in self.cells if self.resolve(cell) in own}

    def resolve(self, cell: str) -> str:
        """The cell that holds the trials of `cell`: itself, unless it is identical to another cell."""
        seen = {cell}
        while (other := self.cells.get(cell, {}).get("identical_to")) and other not in seen:
            cell = str(other)
            seen.add(cell)
        return cell

    def rows(self, cell: str) -> pd.DataFrame:
        """The trials of a cell, of any status."""
        return self._by_cell.get(self.resolve(cell), self.trials.iloc[:0])

    def finished_trials(self, cell: str, *others: str) -> dict[int, str]:
        """The cell's trials that are finished, or have one of the `others` statuses, by seed, ascending."""
        rows = self.rows(cell)
        rows = rows.loc[rows["status"].isin([FINISHED, *others])].sort_values("seed")
        return dict(zip(rows["seed"].tolist(), rows["trial"].tolist(), strict=True))

    def first_trial(self, cell: str, has: Callable[[str], bool]) -> str | None:
        """The cell's first finished trial, by seed, for which `has` is true."""
        return next(filter(has, self.finished_trials(cell).values()), None)

    def values(self, cell: str, metric: str) -> pd.Series:
        """A metric by seed, of the cell's finished trials that have it."""
        if metric not in self._values:
            known = self.finished[["cell", "seed"]].assign(value=metric_values(self.finished, metric)).dropna()
            by_cell = known.set_index("seed").groupby("cell")["value"]
            self._values[metric] = {str(name): values for name, values in by_cell}
        return self._values[metric].get(self.resolve(cell), pd.Series(dtype="float64"))

    @cached_property
    def _values(self) -> dict[str, dict[str, pd.Series]]:
        return {}

    def count(self, cell: str, status: str) -> int:
        return self._counts[self.resolve(cell), status]

    def broken(self, cell: str) -> dict[str, int]:
        return {"n_failed": self.count(cell, FAILED), "n_diverged": self.count(cell, DIVERGED)}

    @cached_property
    def _counts(self) -> Counter[tuple[str, str]]:
        return Counter(zip(self.trials["cell"], self.trials["status"], strict=True))
