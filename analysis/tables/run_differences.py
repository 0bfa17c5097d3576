"""The configurations of two runs' cells as plain values, and everything that differs between the runs.

Columns of settings are typed run by run, so that 1 may be 1.0 or JSON text in another run: values are normalised first.
"""

import json
from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.records.columns import metric_columns, rows_of, within
from analysis.records.run_records import Records
from analysis.records.schema import CONFIG_PREFIX
from analysis.tables.formatting import progress_in_words, selection_in_words
from analysis.tables.spec import Column, TableSpec, register

DIFFERENCES = register(
    TableSpec(
        "compare_differences",
        (
            Column("what", "text", terminal="what"),
            Column("a", "text", "A", terminal="A"),
            Column("b", "text", "B", terminal="B"),
        ),
        "What differs between run A and run B.",
        title=lambda table: "what differs",
    )
)
NONE, NOT_RECORDED = "none", "not recorded"
# Settings not compared: paths (the fingerprint stands for the data), and what changes no result.
PLACES = ("dataset.path", "dataset.image_root", "inspect", "training.evaluate_test")
# Options not listed: paths, and those whose effect is listed under a name of its own.
SILENT_OPTIONS = {"data_root", "cache_dir", "seeds", "epochs", "samples", "levels", "settings", "design"}

Config = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """The records of a run with the configurations of its cells."""

    directory: Path
    records: Records

    @cached_property
    def configs(self) -> dict[str, Config]:
        """The settings of every cell that has started, by dotted name, without those that do not apply."""
        first = self.records.trials.drop_duplicates("cell")
        own = dict(zip(first["cell"], _configs(first), strict=True))
        cells = self.records.cells
        return {cell: own[source] for cell in cells if (source := self.records.resolve(cell)) in own}

    @cached_property
    def recorded(self) -> set[str]:
        """Every setting that a trial of the run recorded; earlier versions of the program had fewer settings."""
        names = (str(name) for name in self.records.trials)
        return {name.removeprefix(CONFIG_PREFIX) for name in names if name.startswith(CONFIG_PREFIX)}

    @cached_property
    def varied(self) -> list[str]:
        """Dotted settings that the run varies: a search's space, or what the levels of an ablation set."""
        study = self.records.study
        levels = (level for factor in study.get("factors", []) for level in factor["levels"])
        keys = [domain["key"] for domain in study.get("space", [])]
        return list(dict.fromkeys([*keys, *(key for level in levels for key in level.get("settings", {}))]))

    @property
    def fingerprint(self) -> str | None:
        return (self.records.study.get("data") or {}).get("fingerprint")

    def finished(self, settings: Container[str]) -> dict[tuple[str, int], dict[str, Any]]:
        """Finished trials by configuration (its `settings` only) and seed."""
        rows = self.records.finished
        both = zip(_configs(rows), rows_of(rows), strict=True)
        return {(text_of(config, settings), row["seed"]): row for config, row in both}

    def baseline(self) -> Config:
        """Settings of an ablation's first cell, or those that all configurations of a search share."""
        if not self.records.is_search or not self.configs:
            return self.configs.get(next(iter(self.records.cells), ""), {})
        first, *others = self.configs.values()
        return {name: value for name, value in first.items() if all(config.get(name) == value for config in others)}


def same_data(a: Run, b: Run) -> bool:
    return a.fingerprint is not None and a.fingerprint == b.fingerprint


def same_configuration(a: Run, b: Run, cell_a: str, cell_b: str) -> bool:
    """Whether two cells agree in every setting that both runs recorded."""
    common = a.recorded & b.recorded
    return text_of(a.configs.get(cell_a, {}), common) == text_of(b.configs.get(cell_b, {}), common)


def text_of(config: Mapping[str, Any], settings: Container[str]) -> str:
    """The chosen settings of a configuration as JSON text, without paths; equal for equal settings."""
    kept = {name: value for name, value in sorted(config.items()) if name in settings and not within(name, PLACES)}
    return json.dumps(kept)


def whole(value: Any) -> Any:
    """4 rather than 4.0, in lists too."""
    if isinstance(value, list):
        return [whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _configs(trials: pd.DataFrame) -> list[Config]:
    names = [str(name) for name in trials if str(name).startswith(CONFIG_PREFIX)]
    return [
        {name.removeprefix(CONFIG_PREFIX): plain for name in names if (plain := _plain(row[name])) is not None}
        for row in rows_of(trials)
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return json.loads(value, parse_int=float)
        except ValueError:
            return value
    if value is None or pd.isna(value):
        return None
    return bool(value) if isinstance(value, bool | np.bool_) else float(value)


def differences_table(a: Run, b: Run) -> pd.DataFrame:
    """The two runs' directories, and as text what differs between them apart from results; nothing equal is listed."""
    # Before its first trial a run has only its study's settings, which are not comparable with resolved ones.
    settings = _resolved if a.configs and b.configs else _asked
    facts_a, facts_b = _facts(a) | settings(a), _facts(b) | settings(b)
    rows = [
        {"what": name, "a": facts_a.get(name, NOT_RECORDED), "b": facts_b.get(name, NOT_RECORDED)}
        for name in dict.fromkeys([*facts_a, *facts_b])
        if facts_a.get(name, NONE) != facts_b.get(name, NONE)
    ]
    where = {"what": "directory", "a": str(a.directory), "b": str(b.directory)}
    return DIFFERENCES.frame([where, *rows])


def _asked(run: Run) -> dict[str, str]:
    baseline = run.records.study.get("baseline") or {}
    return {f"setting {name}": _in_words(value) for name, value in baseline.items()}


def _resolved(run: Run) -> dict[str, str]:
    """The baseline's settings, "none" for those that only other cells have; but not the varied ones of a search."""
    baseline, varied = run.baseline(), run.varied if run.records.is_search else []
    names = sorted(name for name in run.recorded if name != "training.epochs" and not within(name, varied))
    return {f"setting {name}": _in_words(baseline.get(name)) for name in names}


def _facts(run: Run) -> dict[str, str]:
    study = run.records.study
    options = (study.get("request") or {}).get("options") or {}
    objectives = study.get("objectives") or []
    facts: dict[str, Any] = {name: study.get(name) for name in ("name", "kind", "design", "epochs", "samples")}
    facts |= {
        "seeds": ", ".join(map(str, study.get("seeds", []))),
        "objectives": ", ".join(objectives) if len(objectives) > 1 else "",
        "selection": selection_in_words(study["selection"]),
        "trials": progress_in_words(run.records),
        "device": ", ".join(sorted(set(run.records.trials["device"].dropna()))),
    }
    facts |= {f"levels of {name}": ", ".join(map(str, levels)) for name, levels in run.records.levels.items()}
    for domain in study.get("space", []):
        facts[f"space of {domain['key']}"] = {name: value for name, value in domain.items() if name != "key"}
    facts |= {f"option {name}": value for name, value in options.items() if name not in SILENT_OPTIONS}
    told = {"classes", "audit", "leaks"}
    facts |= {f"data {name}": value for name, value in (study.get("data") or {}).items() if name not in told}
    for group, prefix in (("versions", "version"), ("git", "git"), ("machine", "machine")):
        facts |= {f"{prefix} {name}": value for name, value in (study.get(group) or {}).items()}
    return {name: _in_words(value) for name, value in facts.items()}


def _in_words(value: Any) -> str:
    if value is None or value == "":
        return NONE
    return value if isinstance(value, str) else json.dumps(whole(value))


def notes(a: Run, b: Run) -> list[str]:
    """Notes: whether the data are the same, the progress of unfinished runs, how many trials were repeated exactly."""
    said = [] if same_data(a, b) else ["The runs used different data, so no seeds are paired."]
    for name, run in (("A", a), ("B", b)):
        if run.records.is_unfinished:
            said.append(f"{name} is not finished: {progress_in_words(run.records)}.")
    return [*said, *_repeated(a, b)]


def _repeated(a: Run, b: Run) -> list[str]:
    common = a.recorded & b.recorded
    finished_a, finished_b = a.finished(common), b.finished(common)
    both = [key for key in finished_a if key in finished_b] if same_data(a, b) else []
    if not both:
        return []
    metrics = [name for name in metric_columns(a.records.epochs) if name in metric_columns(b.records.epochs)]
    equal = sum(all(_equal(finished_a[key][name], finished_b[key][name]) for name in metrics) for key in both)
    trials = "1 finished trial stands" if len(both) == 1 else f"{len(both)} finished trials stand"
    return [
        f"{trials} in both runs with the same data, seed and settings (of those that both recorded); {equal} of them "
        "with the same numbers in every metric."
    ]


def _equal(one: Any, other: Any) -> bool:
    return bool(one == other) or bool(pd.isna(one) and pd.isna(other))
