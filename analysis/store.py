"""From study.json and log.jsonl to one row a trial and one row an epoch; the log is the source of truth.

The Parquet files are derived and may be deleted at any time. A torn last line of the log, which a kill leaves behind,
is no error: it was never acknowledged, and its epoch runs again.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import schema
from analysis.schema import RunDirectory
from analysis.selection import selected_epochs, steadiness
from core.files import write_atomically
from core.metrics import SPLITS

CHUNK = 50_000


@dataclass(frozen=True)
class Records:
    """What a run has recorded: its study, one row a trial, one row a trial and epoch."""

    study: dict[str, Any]
    trials: pd.DataFrame
    epochs: pd.DataFrame

    @property
    def is_search(self) -> bool:
        return bool(self.study["kind"] == "search")

    @cached_property
    def cells(self) -> dict[str, dict[str, Any]]:
        """Cells by name: the study's in its order, then those that only the log names (a search's configurations)."""
        cells = {cell["name"]: cell for cell in self.study.get("cells", [])}
        for name in self.trials["cell"].unique():
            cells.setdefault(name, {"name": name, "levels": {}})
        return cells

    @cached_property
    def _by_cell(self) -> dict[str, pd.DataFrame]:
        return {str(cell): rows for cell, rows in self.trials.groupby("cell", sort=False)}

    @cached_property
    def seen_validation(self) -> set[str]:
        """Cells that trained on their validation data: what they score there says nothing."""
        flag = self.trials.get("config/dataset.train_on_validation")
        if flag is None:
            return set()
        own = set(self.trials.loc[flag.astype("boolean").fillna(False), "cell"])
        return {cell for cell in self.cells if self.resolve(cell) in own}

    def resolve(self, cell: str) -> str:
        """The cell whose trials stand for `cell`: itself, unless it resolved to another cell's configuration."""
        seen = {cell}
        while (other := self.cells.get(cell, {}).get("identical_to")) and other not in seen:
            cell = str(other)
            seen.add(cell)
        return cell

    def rows(self, cell: str) -> pd.DataFrame:
        """The trials of a cell, of any status."""
        return self._by_cell.get(self.resolve(cell), self.trials.iloc[:0])

    def values(self, cell: str, metric: str) -> pd.Series:
        """A metric by seed over the cell's finished trials that have it."""
        if metric not in self._values:
            self._values[metric] = self._by_seed(metric)
        return self._values[metric].get(self.resolve(cell), pd.Series(dtype="float64"))

    @cached_property
    def _values(self) -> dict[str, dict[str, pd.Series]]:
        return {}

    def _by_seed(self, metric: str) -> dict[str, pd.Series]:
        if metric not in self.trials:
            return {}
        finished = self.trials.loc[self.trials["status"] == schema.FINISHED, ["cell", "seed", metric]]
        known = finished.dropna(subset=metric)
        column = known[metric].astype("float64").set_axis(known["seed"])
        return {str(cell): values for cell, values in column.groupby(known["cell"].to_numpy())}

    def count(self, cell: str, status: str) -> int:
        return self._counts.get((self.resolve(cell), status), 0)

    @cached_property
    def _counts(self) -> dict[tuple[str, str], int]:
        pairs = zip(self.trials["cell"], self.trials["status"], strict=True)
        return dict(Counter(pairs))


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """Events in order. A torn last line is left out; a bad line before it is a ValueError naming file and line."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                event = _parse(line)
            except ValueError as error:
                if file.read(1):
                    raise ValueError(f"{path}:{number}: {error}") from None
                return
            yield event


def _parse(line: bytes) -> dict[str, Any]:
    event = json.loads(line.decode())
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        raise ValueError("not a JSON object with an `event`")
    return event


def repair_tail(path: Path) -> int:
    """Cut a torn last line off the log, so that the next line can be appended; returns the number of bytes cut."""
    if not path.exists() or not path.stat().st_size:
        return 0
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        begin = _start_of_last_line(file.fileno(), size)
        line = os.pread(file.fileno(), size - begin, begin)
        try:
            _parse(line)
            torn = not line.endswith(b"\n")
        except ValueError:
            torn = True
        if not torn:
            return 0
        file.truncate(begin)
        file.flush()
        os.fsync(file.fileno())
        return size - begin


def _start_of_last_line(descriptor: int, size: int, block: int = 1 << 16) -> int:
    """Offset behind the last newline that is not the file's final byte; 0 if there is none."""
    end = size - 1
    while end > 0:
        begin = max(0, end - block)
        found = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def read_study(run_dir: Path) -> dict[str, Any]:
    path = RunDirectory(run_dir).study
    if not path.exists():
        raise FileNotFoundError(f"{run_dir} is not a run directory: it holds no study.json")
    try:
        study: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return study


def read_records(run_dir: Path) -> Records:
    """Everything recorded in `run_dir`, whatever state the run is in."""
    study = read_study(run_dir)
    history = _History(RunDirectory(run_dir).log)
    history.read(study)
    order = _order(study, history)
    epochs = _tidy_epochs(history.epochs, order)
    return Records(study, _trials(study, history, epochs, order), epochs)


def write_parquet(run_dir: Path) -> Records:
    """(Re)write trials.parquet and epochs.parquet from the log, each in one step."""
    records = read_records(run_dir)
    run = RunDirectory(run_dir)
    write_atomically(run.trials, lambda path: records.trials.to_parquet(path, index=False))
    write_atomically(run.epochs, lambda path: records.epochs.to_parquet(path, index=False))
    return records


@dataclass
class _History:
    """The log, gathered by trial; epoch rows are turned into frames in chunks, which keeps a million of them small."""

    log: Path
    first: dict[str, dict[str, Any]] = field(default_factory=dict)
    last: dict[str, dict[str, Any]] = field(default_factory=dict)
    ends: dict[str, dict[str, Any]] = field(default_factory=dict)
    epochs: pd.DataFrame = field(default_factory=pd.DataFrame)

    def read(self, study: Mapping[str, Any]) -> None:
        planned = {trial["trial"]: trial for trial in study.get("trials", [])}
        chunks: list[pd.DataFrame] = []
        rows: list[dict[str, Any]] = []
        number = 0
        try:
            for number, event in enumerate(read_log(self.log), 1):  # noqa: B007
                kind = event["event"]
                if kind == schema.EPOCH:
                    self._know(event["trial"], planned)
                    event["epoch"] = int(event["epoch"])
                    rows.append(event)
                elif kind == schema.START:
                    # Under another design the same trial is another cell's.
                    cell = planned.get(event["trial"], event).get("cell")
                    self._start({**event, "cell": cell} if cell else event)
                elif kind == schema.END:
                    self._end(event, planned)
                if len(rows) >= CHUNK:
                    chunks.append(pd.DataFrame(rows))
                    rows = []
        except KeyError as error:
            raise ValueError(f"{self.log}:{number}: field {error} is missing") from None
        except _EventError as error:
            raise ValueError(f"{self.log}:{number}: {error}") from None
        self.epochs = pd.concat([*chunks, pd.DataFrame(rows)], ignore_index=True) if chunks else pd.DataFrame(rows)

    def _know(self, trial: str, planned: Mapping[str, dict[str, Any]]) -> None:
        if trial in self.first:
            return
        if trial not in planned:
            raise _EventError(f"trial {trial!r} has no start event before it and study.json does not list it")
        self.first[trial] = self.last[trial] = planned[trial]

    def _start(self, event: dict[str, Any]) -> None:
        trial = event["trial"]
        for name in ("cell", "seed", "config"):
            if name not in event:
                raise KeyError(name)
        if "config" not in self.first.get(trial, {}):
            self.first[trial] = event
        self.last[trial] = event
        if trial in self.ends and self.ends[trial]["status"] == schema.FAILED:
            del self.ends[trial]

    def _end(self, event: dict[str, Any], planned: Mapping[str, dict[str, Any]]) -> None:
        self._know(event["trial"], planned)
        if event["status"] not in schema.STATUSES:
            raise _EventError(f"status {event['status']!r} is none of {', '.join(schema.STATUSES)}")
        self.ends[event["trial"]] = event


class _EventError(ValueError):
    """A line that is JSON but says something impossible."""


def _order(study: Mapping[str, Any], history: _History) -> list[str]:
    """Trials in table order: an ablation's by cell and seed, a search's as they started.

    Of two trials of one cell and seed (the budget was extended) study.json's counts, else the one started last.
    """
    planned = {trial["trial"] for trial in study.get("trials", [])}
    holder: dict[tuple[str, int], str] = {}
    for trial, start in history.first.items():
        place = (start["cell"], start["seed"])
        if trial in planned or holder.get(place) not in planned:
            holder[place] = trial
    kept = set(holder.values())
    trials = [trial for trial in history.first if trial in kept]
    if study["kind"] == "search":
        return trials
    rank = {cell["name"]: position for position, cell in enumerate(study.get("cells", []))}

    def place_of(trial: str) -> tuple[int, int]:
        start = history.first[trial]
        return rank.get(start["cell"], len(rank)), start["seed"]

    return sorted(trials, key=place_of)


def _tidy_epochs(rows: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """One row a trial and epoch (the last one written), in table order, the fixed columns first and seconds last."""
    rows = rows.drop(columns=["event", "time"], errors="ignore")
    for name in (*schema.EPOCH_COLUMNS, "seconds"):
        if name not in rows:
            rows[name] = pd.Series(dtype="str" if name == "trial" else "int64" if name == "epoch" else "float64")
    position = rows["trial"].map({trial: index for index, trial in enumerate(order)})
    rows = rows.assign(position=position).dropna(subset=["position"])
    rows = rows.drop_duplicates(["trial", "epoch"], keep="last").sort_values(["position", "epoch"], kind="stable")
    accuracies = [f"{split}_accuracy" for split in SPLITS if f"{split}_accuracy" in rows]
    leading = [*schema.EPOCH_COLUMNS, *accuracies]
    fused = ["lanes"] if "lanes" in rows else []  # of the program that trained the epoch, where there is one
    rows = rows.assign(**{name: rows[name].fillna(1).astype("int64") for name in fused})
    others = sorted(set(map(str, rows)) - {*leading, *fused, "seconds", "position"}, key=_metric_order)
    rows = rows[[*leading, *others, *fused, "seconds"]].reset_index(drop=True)
    for name in rows.columns.difference(["trial", "epoch"]):
        if rows[name].isna().all():
            rows[name] = rows[name].astype("float64")
        elif not pd.api.types.is_numeric_dtype(rows[name]):
            rows[name] = column(rows[name].tolist())
    return rows


def _metric_order(name: str) -> tuple[str, int]:
    """Metrics by name, each in the order of the splits."""
    head, _, rest = name.partition("_")
    return (rest, SPLITS.index(head)) if head in SPLITS else (name, len(SPLITS))


def metric_columns(epochs: pd.DataFrame) -> list[str]:
    """The numeric columns of an epoch table that measure something."""
    fixed = {"trial", "epoch", "lr", "lanes", "seconds"}
    return [name for name in map(str, epochs) if name not in fixed and pd.api.types.is_numeric_dtype(epochs[name])]


def _trials(study: Mapping[str, Any], history: _History, epochs: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    first = [history.first[trial] for trial in order]
    ends = [history.ends.get(trial, {}) for trial in order]
    latest = [{**history.last[trial], **history.ends.get(trial, {})} for trial in order]
    table = pd.DataFrame({"trial": column(order, "str")})
    table["cell"] = column([start["cell"] for start in first], "str")
    table["seed"] = pd.Series([start["seed"] for start in first], dtype="int64")
    table["status"] = column([end.get("status", schema.RUNNING) for end in ends], "str")
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
    return pd.concat([table, _config_columns([start.get("config", {}) for start in first])], axis=1)


def _at_selected_epoch(study: Mapping[str, Any], table: pd.DataFrame, epochs: pd.DataFrame) -> pd.DataFrame:
    """selected_epoch, each metric there, and the steadiness of the curve; nothing for diverged and failed trials."""
    void = table.loc[table["status"].isin([schema.DIVERGED, schema.FAILED]), "trial"]
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
    columns = {f"{schema.CONFIG_PREFIX}{name}": column([row.get(name) for row in rows]) for name in names}
    return pd.DataFrame(columns, index=range(len(configs)))


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every setting; an empty mapping is a value."""
    for name, value in config.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def column(values: list[Any], dtype: str | None = None) -> pd.Series:
    """Values as one Parquet type: whole numbers, numbers, truth values or text; mixed or nested ones as JSON text."""
    kinds = {type(value) for value in values if value is not None and value == value}
    known: dict[str, set[type]] = {"boolean": {bool}, "Int64": {int}, "float64": {int, float}, "str": {str}}
    if dtype is None and kinds:
        dtype = next((name for name, types in known.items() if kinds <= types), None)
        if dtype == "Int64" and any(value is not None and abs(value) >= 2**63 for value in values):
            dtype = None
        values = values if dtype else [_json(value) for value in values]
    return pd.Series(values, dtype=dtype or "str")


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)
