"""Reads study.json and log.jsonl into one row per trial and one per trial and epoch; the log is the source of truth.

The Parquet files are derived and may be deleted at any time. A torn last line of the log, which a kill leaves behind,
is no error: it was never acknowledged, and its epoch runs again.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.records.columns import _json, column, flat, metric_columns
from analysis.records.epoch_rows import read_rows
from analysis.records.log import Finding
from analysis.records.outputs import after, outputs_of
from analysis.records.run_directory import RunDirectory
from analysis.records.run_records import Records
from analysis.records.schema import (
    CONFIG_PREFIX,
    COSTS,
    DIVERGED,
    END,
    EPOCH_COLUMNS,
    FAILED,
    REMADE,
    REMOVED,
    RUNNING,
    SESSION,
    SPENT,
    START,
)
from analysis.records.selection import selected_epochs, steadiness
from analysis.records.study_json import read_study
from core.files import write_atomically
from core.splits import SPLITS


def read_records(run_dir: Path) -> Records:
    """All records in `run_dir`, whether the run has ended or not; without its damaged trials, which `findings` name.

    RecordError where study.json cannot be read.
    """
    run = RunDirectory(run_dir)
    study = read_study(run)
    history = _History.read(run.log, study)
    order = _order(study, history)
    epochs = _tidy_epochs(history.epochs, order)
    outputs = {trial: dict(outputs_of(end)) for trial, end in history.ends.items()}
    trials = _trials(study, history, epochs, order)
    return Records(study, trials, epochs, tuple(history.findings), history.session, outputs)


def write_parquet(run_dir: Path) -> Records:
    """(Re)write trials.parquet and epochs.parquet from the log, each atomically."""
    records = read_records(run_dir)
    run = RunDirectory(run_dir)
    write_atomically(run.trials, lambda path: records.trials.to_parquet(path, index=False))
    write_atomically(run.epochs, lambda path: records.epochs.to_parquet(path, index=False))
    return records


@dataclass
class _History:
    """The log by trial."""

    epochs: pd.DataFrame
    findings: list[Finding]
    first: dict[str, dict[str, Any]] = field(default_factory=dict)
    last: dict[str, dict[str, Any]] = field(default_factory=dict)
    ends: dict[str, dict[str, Any]] = field(default_factory=dict)
    session: tuple[frozenset[str], bool] = (frozenset(), False)

    @classmethod
    def read(cls, path: Path, study: Mapping[str, Any]) -> "_History":
        planned = {trial["trial"]: trial for trial in study.get("trials", [])}
        log, epochs = read_rows(path)
        history, damaged = cls(epochs, log.findings), log.damaged
        for event in (event for event in log if event.get("trial") not in damaged):
            if event["event"] == START:
                # Under another design the same trial may belong to another cell.
                cell = planned.get(event["trial"], event).get("cell")
                history._start({**event, "cell": cell} if cell else event)
            elif event["event"] == END:
                history.ends[event["trial"]] = event
            elif event["event"] in (REMADE, REMOVED) and event["trial"] in history.ends:
                history.ends[event["trial"]] = after(history.ends[event["trial"]], event)
        history.session = _last_session(log.events)
        return history

    def _start(self, event: dict[str, Any]) -> None:
        trial = event["trial"]
        if "config" not in self.first.get(trial, {}):
            self.first[trial] = event
        self.last[trial] = event
        if self.ends.get(trial, {}).get("status") == FAILED:
            del self.ends[trial]


def _last_session(events: Iterable[Mapping[str, Any]]) -> tuple[frozenset[str], bool]:
    """`Records.last_session`."""
    begun, spent = set[str](), False
    for event in events:
        if event["event"] == START:
            begun.add(event["trial"])
        elif event["event"] in (SESSION, SPENT):
            begun, spent = set(), event["event"] == SPENT
    return frozenset(begun), spent


def _order(study: Mapping[str, Any], history: _History) -> list[str]:
    """Trials in table order, whatever order they started in: by cell and seed, a search's cells by proposal.

    Cells without a number of a proposal, as in old logs, stand behind the others, by name, which is a hash of the
    configuration. Of two trials of one cell and seed (the budget was extended) study.json's is kept, else the one
    started last.
    """
    planned = {trial["trial"] for trial in study.get("trials", [])}
    starts, holder, proposals = history.first, dict[tuple[str, int], str](), dict[str, float]()
    for trial, start in starts.items():
        cell = start["cell"]
        if trial in planned or holder.get((cell, start["seed"])) not in planned:
            holder[cell, start["seed"]] = trial
        proposals[cell] = min(proposals.get(cell, math.inf), start.get("proposal", math.inf))
    rank = {cell["name"]: position for position, cell in enumerate(study.get("cells", []))}
    places = {cell: (rank.get(cell, len(rank)), number, cell) for cell, number in proposals.items()}
    return sorted(holder.values(), key=lambda trial: (places[starts[trial]["cell"]], starts[trial]["seed"]))


def _tidy_epochs(rows: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """One row per trial and epoch (the last one written), in table order, the fixed columns first and seconds last."""
    rows = rows.drop(columns=["event", "time"], errors="ignore")
    for name in (*EPOCH_COLUMNS, "seconds"):
        if name not in rows:
            rows[name] = pd.Series(dtype="str" if name == "trial" else "int64" if name == "epoch" else "float64")
    position = rows["trial"].map({trial: index for index, trial in enumerate(order)})
    rows = rows.assign(position=position).dropna(subset=["position"])
    rows = rows.drop_duplicates(["trial", "epoch"], keep="last").sort_values(["position", "epoch"], kind="stable")
    accuracies = [f"{split}_accuracy" for split in SPLITS if f"{split}_accuracy" in rows]
    leading = [*EPOCH_COLUMNS, *accuracies]
    fused = ["lanes"] if "lanes" in rows else []  # only if some trials were fused
    rows[fused] = rows[fused].fillna(1).astype("int64")
    others = sorted(set(map(str, rows)) - {*leading, *fused, "seconds", "position"}, key=_metric_order)
    rows = rows[[*leading, *others, *fused, "seconds"]].reset_index(drop=True)
    for name in rows.columns.difference(["trial", "epoch"]):
        if rows[name].isna().all():
            rows[name] = rows[name].astype("float64")
        elif not pd.api.types.is_numeric_dtype(rows[name]):
            rows[name] = column(rows[name].tolist())
    return rows


def _metric_order(name: str) -> tuple[str, int]:
    """Sort key of a column: by metric name, then by split."""
    head, _, rest = name.partition("_")
    return (rest, SPLITS.index(head)) if head in SPLITS else (name, len(SPLITS))


def _trials(study: Mapping[str, Any], history: _History, epochs: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    first = [history.first[trial] for trial in order]
    ends = [history.ends.get(trial, {}) for trial in order]
    latest = [{**history.last[trial], **history.ends.get(trial, {})} for trial in order]
    table = pd.DataFrame({"trial": column(order, "str")})
    table["cell"] = column([start["cell"] for start in first], "str")
    table["seed"] = pd.Series([start["seed"] for start in first], dtype="int64")
    table["status"] = column([end.get("status", RUNNING) for end in ends], "str")
    by_trial = epochs.groupby("trial")
    table["epochs"] = table["trial"].map(by_trial.size()).fillna(0).astype("int64")
    table = table.join(_at_selected_epoch(study, table, epochs), on="trial")
    spent = table["trial"].map(by_trial["seconds"].sum()).astype("float64")
    table["seconds"] = pd.Series([end.get("seconds") for end in ends], dtype="float64").fillna(spent)
    for name in ("node", "device"):
        table[name] = column([event.get(name) for event in latest], "str")
    table["verified"] = pd.Series([end.get("verified") for end in ends], dtype="boolean")
    table["error"] = column([end.get("error") for end in ends], "str")
    table["execution"] = column([_json(end.get("execution")) for end in ends], "str")
    table["started_at"] = column([start.get("time") for start in first], "str")
    table["ended_at"] = column([end.get("time") for end in ends], "str")
    for name in COSTS:
        table[name] = pd.Series([end.get(name) for end in ends], dtype="Int64")
    return pd.concat([table, _config_columns([start.get("config", {}) for start in first])], axis=1)


def _at_selected_epoch(study: Mapping[str, Any], table: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """By trial: selected_epoch, each metric there, steadiness of the curve; diverged and failed trials are absent."""
    void = table.loc[table["status"].isin([DIVERGED, FAILED]), "trial"]
    counted = epochs.loc[~epochs["trial"].isin(void)]
    chosen = selected_epochs(counted, study["selection"]).rename("selected_epoch").astype("Int64")
    rows = counted.merge(chosen.reset_index(), on="trial")
    rows = rows.loc[rows["epoch"] == rows["selected_epoch"]].set_index("trial")
    metrics = rows[["selected_epoch", *metric_columns(epochs)]]
    steady = steadiness(counted).astype({"val_roughness": "float64", "val_jumps": "Int64"})
    return metrics.join(steady, how="outer")


def _config_columns(configs: list[dict[str, Any]]) -> pd.DataFrame:
    rows = [dict(flat(config)) for config in configs]
    names = sorted({name for row in rows for name in row})
    columns = {f"{CONFIG_PREFIX}{name}": column([row.get(name) for row in rows]) for name in names}
    return pd.DataFrame(columns, index=range(len(configs)))
