"""A search's settings and results: one row per configuration, with its settings as the search sampled them.

A setting that did not exist in a configuration, because its `when` did not hold, is missing there, even if the resolved
configuration has a default for it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.records.columns import evenly_spaced, metric_values
from analysis.records.run_records import Records
from analysis.records.schema import CONFIG_PREFIX, FINISHED, STOPPED
from core.metrics import maximised, metric_label

MINIMUM_CONFIGURATIONS = 10
POPULATION = (
    "What each setting matters cannot be told: members of a population change their settings while they train, so that "
    "no value of one stands for a trial."
)


@dataclass(frozen=True)
class Setting:
    """One dotted setting of a search's space: a range (`low` to `high`, `whole` numbers, a `log` scale) or `choices`.

    `step`: between the values of a range; 0 for one without. `choices`: labels of the values, in the order of the
    space; empty for a range. `when`: by setting that this one depends on, the values (labels of a choice) for which
    this one exists.
    """

    key: str
    low: float = float("nan")
    high: float = float("nan")
    log: bool = False
    whole: bool = False
    step: float = 0.0
    choices: tuple[str, ...] = ()
    when: Mapping[str, tuple[Any, ...]] | None = None

    @property
    def condition(self) -> str:
        """When the setting exists, in words; empty if always."""
        return " and ".join(
            f"{key} is {' or '.join(value if isinstance(value, str) else f'{value:g}' for value in values)}"
            for key, values in (self.when or {}).items()
        )

    def scaled(self, values: "pd.Series | NDArray[np.float64]") -> NDArray[np.float64]:
        """A range's values on its own scale: logarithms to base 10 if `log`."""
        numbers = np.asarray(values, dtype="float64")
        return np.log10(numbers) if self.log else numbers

    def active(self, table: pd.DataFrame) -> "pd.Series[bool]":
        """Mask of the rows in which this setting exists, in a table with one column per setting."""
        held = pd.Series(True, index=table.index)
        for key, values in (self.when or {}).items():
            if key in table:
                held &= table[key].isin(list(values))
        return held


@dataclass(frozen=True)
class Observations:
    """Results of configurations. `table` has one row per configuration, in the order of the proposals: `cell`, `value`
    (mean of `metric` over its seeds), `n` (seeds), and one column per setting: a number or a choice's label, missing
    where the setting did not exist.

    `epoch`: None if values are those of finished trials at their selected epochs; else the epoch of all values.
    """

    metric: str
    epoch: int | None
    settings: tuple[Setting, ...]
    table: pd.DataFrame
    void: str = ""  # why this search cannot show the effect of settings at all; empty if it can

    @property
    def too_little(self) -> str:
        """Why the effect of settings cannot be estimated, as a sentence; empty if it can."""
        if self.void:
            return self.void
        n = len(self.table)
        if n < MINIMUM_CONFIGURATIONS:
            have = "1 configuration has" if n == 1 else f"{n or 'no'} configurations have"
            return (
                f"What each setting matters needs {MINIMUM_CONFIGURATIONS} configurations with a {self.metric} to "
                f"compare; {have} one."
            )
        if self.table["value"].nunique() == 1:
            return f"What each setting matters cannot be told: all {n} configurations have the same {self.metric}."
        return ""

    @property
    def basis(self) -> str:
        """The configurations that the values are from, as part of a sentence."""
        n = len(self.table)
        if self.epoch is None:
            return f"{n} finished configurations"
        return f"{n} configurations{self.after}, which is as far as all of them came"

    @property
    def after(self) -> str:
        """The suffix " after N epochs" for a noun; empty if values are from selected epochs."""
        return "" if self.epoch is None else " after 1 epoch" if self.epoch == 1 else f" after {self.epoch} epochs"

    @property
    def label(self) -> str:
        """The metric in words, and at which epoch."""
        return f"{metric_label(self.metric)}{self.after}"

    @property
    def then(self) -> str:
        """The suffix " then" for "the best" at `epoch`; empty if values are from selected epochs."""
        return "" if self.epoch is None else " then"


def observe(records: Records, metric: str | None = None) -> Observations:
    """Configurations with their settings and `metric` (default: what the search ranks by).

    Values are those of finished trials at their selected epochs. If a trial scheduler stopped more trials than
    finished, the finished ones are a biased sample; then finished and stopped trials are compared at the epoch of the
    earliest stop. Diverged, failed and running trials have no value.
    """
    metric = metric or records.ranked_metric
    settings = settings_of(records)
    both = (records.of_status(status) for status in (FINISHED, STOPPED))
    finished, stopped = (trials.loc[~trials["cell"].isin(records.seen_validation)] for trials in both)
    epoch = int(stopped["epochs"].min()) if len(stopped) > len(finished) else None
    if epoch is None:
        rows = finished[["cell"]].assign(value=metric_values(finished, metric))
    else:
        counted = pd.concat([finished, stopped])[["trial", "cell"]]
        there = records.epochs.loc[records.epochs["epoch"] == epoch]
        rows = counted.merge(there.assign(value=metric_values(there, metric))[["trial", "value"]], on="trial")
    rows = rows.loc[np.isfinite(rows["value"].to_numpy("float64"))]
    by_cell = rows.groupby("cell")["value"]
    figures = pd.DataFrame({"value": by_cell.mean(), "n": by_cell.size()})
    table = sampled_settings(records, settings).join(figures, on="cell", how="inner").reset_index(drop=True)
    table = table[["cell", "value", "n", *(setting.key for setting in settings)]]
    return Observations(metric, epoch, settings, table, POPULATION if _is_population(records) else "")


def settings_of(records: Records) -> tuple[Setting, ...]:
    """The settings of the space in study.json that are columns of the trials; none for a population."""
    found: dict[str, Setting] = {}
    labels: dict[str, dict[str, str]] = {}
    if _is_population(records):
        return ()
    for domain in records.study.get("space", []):
        key = domain["key"]
        if f"{CONFIG_PREFIX}{key}" not in records.trials or "kind" not in domain:
            continue
        when = {
            parent: tuple(label for value in values if (label := _label_of(value, labels.get(parent))) is not None)
            for parent, values in (domain.get("when") or {}).items()
            if parent in found
        }
        if domain["kind"] == "choice":
            found[key] = Setting(key, choices=_labels(domain["choices"]), when=when)
            labels[key] = dict(zip(map(json.dumps, domain["choices"]), found[key].choices, strict=True))
        else:
            low, high, log = float(domain["low"]), float(domain["high"]), bool(domain.get("log"))
            found[key] = Setting(
                key, low, high, log, domain["kind"] == "int", float(domain.get("step") or 0), when=when
            )
    return tuple(found.values())


def _label_of(value: Any, labels: Mapping[str, str] | None) -> str | float | None:
    """A value of a setting as the table of `Observations` holds it; None for one that is not in the space."""
    if labels is not None:
        return labels.get(json.dumps(value))
    return float(value) if isinstance(value, int | float) else None


def evenly(table: pd.DataFrame, limit: int, maximise: bool) -> pd.DataFrame:
    """At most `limit` rows, evenly spaced in the order of `value`, with the best and the worst."""
    if len(table) <= limit:
        return table
    order = np.argsort(table["value"].to_numpy("float64") * (-1 if maximise else 1), kind="stable")
    return table.iloc[np.sort(order[evenly_spaced(len(table), limit)])]


def best_last(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows from worst to best `value`, so that the best is drawn on top; of equals the first is the best."""
    return table.sort_values("value", ascending=not maximised(metric), kind="stable").iloc[::-1]


def _is_population(records: Records) -> bool:
    return (records.study.get("trial_scheduler") or {}).get("name") == "pbt"


def sampled_settings(records: Records, settings: Sequence[Setting]) -> pd.DataFrame:
    """`cell` and one column per setting, as in `Observations`, of every configuration in the order of the records."""
    first = records.trials.drop_duplicates("cell")
    table = pd.DataFrame({"cell": first["cell"]})
    choices = {domain["key"]: domain.get("choices") for domain in records.study.get("space", [])}
    for setting in settings:
        column = first[f"{CONFIG_PREFIX}{setting.key}"]
        if setting.choices:
            known = _lookup(choices[setting.key], setting.choices)
            found = [known.get(None if pd.isna(value) else value) for value in column]
            values = pd.Series(found, index=first.index, dtype="str")
        else:
            values = pd.to_numeric(column, errors="coerce").astype("float64")
            values = values.where(values.between(setting.low, setting.high))
        table[setting.key] = values.where(setting.active(table))
    return table


def _lookup(choices: Sequence[Any], labels: Sequence[str]) -> dict[Any, str]:
    """Labels by the value that `columns.column` stores for a choice: itself, or JSON text for lists and mixed types."""
    pairs = list(zip(choices, labels, strict=True))
    known: dict[Any, str] = {None if choice is None else json.dumps(choice): label for choice, label in pairs}
    for choice, label in pairs:
        if isinstance(choice, str | int | float):
            known.setdefault(choice, label)
    return known


def _labels(choices: Sequence[Any]) -> tuple[str, ...]:
    """Choices as short, distinct labels: layer names joined by +, "none" for nothing; JSON if two would be equal."""
    texts = tuple(map(_label, choices))
    return texts if len(set(texts)) == len(texts) else tuple(map(json.dumps, choices))


def _label(choice: Any) -> str:
    if choice is None or choice == []:
        return "none"
    if isinstance(choice, list) and all(isinstance(part, str) for part in choice):
        return "+".join(choice)
    return choice if isinstance(choice, str) else json.dumps(choice)
