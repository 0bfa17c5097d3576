"""Whether all files of a run are whole: the log, its tables, what trials left, the report, the user's code.

Nothing is written, and nothing but digests and tables is read.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.records.columns import read_parquet, rows_of
from analysis.records.epoch_rows import lines_of
from analysis.records.outputs import (
    NO_MORE_EPOCHS,
    READ,
    TRAINED,
    UNUSED,
    Lost,
    cost,
    here,
    last_of,
    lost,
    model_of,
)
from analysis.records.run_directory import RunDirectory
from analysis.records.run_records import Records
from analysis.records.schema import RUNNING
from analysis.records.store import read_records
from analysis.report import manifest
from analysis.tables.formatting import plural
from core.files import CHECKPOINT, found_digest
from core.user_code.copies import digest

BY_REPORT = "written again by report"
BY_RESUME = "written again by resume"
BEFORE = "goes on from the checkpoint before, or is trained anew"
NO_TRAINING = "no trial can be trained until it is back"


@dataclass(frozen=True)
class Damage:
    """Something damaged or missing, and what it costs."""

    place: str
    what: str
    costs: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}; costs: {self.costs}"


def check(run_dir: Path, at_work: bool = False) -> list[Damage]:
    """All that is damaged or missing in a run's folder; RecordError where its study.json cannot be read. While a driver
    is `at_work`, what it is writing is left out."""
    run, records = RunDirectory(run_dir), read_records(run_dir)
    found = [*_of_log(run, records), *_of_code(run, records)]
    return [*found, *_of_trials(run, records, at_work), *([] if at_work else _of_report(run, records))]


def summary(found: list[Damage], address: str) -> str:
    """What the findings come to, in a line."""
    if not found:
        return "all files are whole"
    costs = {each.costs: sum(other.costs == each.costs for other in found) for each in found}
    said = "; ".join(f"{count} {what}" for what, count in costs.items())
    return f"{plural(len(found), 'finding')}: {said}. `resume {address}` makes again what can be, then the report"


def _of_log(run: RunDirectory, records: Records) -> Iterator[Damage]:
    if not run.log.exists() and (run.checkpoints.is_dir() or run.predictions.is_dir()):
        yield Damage("log.jsonl", "is missing", f"every trial is {READ} or {TRAINED}")
    for each in records.findings:
        place, trial = Path(each.place).name, each.trial
        whole = trial and all(map(here(run), (last_of(trial), model_of(trial))))
        costs = UNUSED if not trial else READ if whole else TRAINED
        yield Damage(place, f"{each.what}{f' (trial {trial})' if trial else ''}", costs)


def _of_code(run: RunDirectory, records: Records) -> Iterator[Damage]:
    for name, recorded in (records.study.get("code") or {}).get("files", {}).items():
        file = run.file(f"code/{name}")
        if not file.is_file():
            yield Damage(f"code/{name}", "is missing", NO_TRAINING)
        elif digest(file.read_bytes(), len(recorded) // 2) != recorded:  # of old records, eight bytes
            yield Damage(f"code/{name}", "was changed since the run began", NO_TRAINING)


def _of_trials(run: RunDirectory, records: Records, at_work: bool) -> Iterator[Damage]:
    """Of what trials left; of those that have not ended their checkpoints."""
    found, used = here(run), set(records.trials["trial"])
    scheduled = bool((records.study.get("trial_scheduler") or {}).get("name", "none") != "none")
    missing: dict[str, list[Lost]] = {}
    for each in lost(records.outputs, found):
        missing.setdefault(each.trial, []).append(each)
    for trial, files in missing.items():
        costs = cost(trial, (each.name for each in files), lambda name: bool(found(name)), not scheduled)
        for each in files:
            own = NO_MORE_EPOCHS if each.name == last_of(trial) else costs
            yield Damage(each.name, each.what, own if trial in used else UNUSED)
    yield from _of_tables(run, records, {each.name for files in missing.values() for each in files})
    yield from _of_lines(run, records)
    if not at_work:
        for trial in used - records.outputs.keys():
            for file in sorted(run.checkpoint(trial).glob(f"[!.]*{CHECKPOINT}")):
                if not found(name := f"checkpoints/{trial}/{file.name}"):
                    yield Damage(name, "is damaged: not as it was written", BEFORE)


def _of_tables(run: RunDirectory, records: Records, told: set[str]) -> Iterator[Damage]:
    """Of predictions whose digest nobody knows: whether they can be read, and are of as many examples as there are."""
    found = here(run)

    def whole(name: str) -> bool:
        return bool(found(name))

    counts = ((records.study.get("data") or {}).get("counts") or {}).get("test") or []
    for trial in records.finished["trial"]:
        name = f"predictions/{trial}.parquet"
        if records.outputs.get(trial, {}).get(name, "known") or name in told:
            continue
        table, costs = read_parquet(run.prediction(trial)), cost(trial, [name], whole, True)
        if table is None or "index" not in table or not table.filter(regex="^(target|true_x0)$").shape[1]:
            yield Damage(name, "cannot be read as predictions", costs)
        elif "target" in table and counts and len(table) != sum(counts) and _of_one_data_set(records):
            yield Damage(name, f"is of {len(table)} examples, and the test split has {sum(counts)}", costs)


def _of_one_data_set(records: Records) -> bool:
    columns = [name for name in records.trials if str(name).startswith("config/dataset.")]
    return all(records.trials[name].nunique(dropna=False) <= 1 for name in columns)


def _of_lines(run: RunDirectory, records: Records) -> Iterator[Damage]:
    """Of each epochs.log of a trial that has ended."""
    ended = {trial for trial, files in records.outputs.items() if any(files.values())}
    for trial, table in ((str(trial), table) for trial, table in records.epochs.groupby("trial")):
        if trial not in ended:
            continue
        rows = ({name: None if pd.isna(value) else value for name, value in row.items()} for row in rows_of(table))
        text, name = lines_of(rows), f"artifacts/{trial}/epochs.log"
        if not (file := run.file(name)).is_file():
            yield Damage(name, "is missing", BY_RESUME)
        elif file.read_bytes() != text.encode():
            yield Damage(name, "is not what the log tells", BY_RESUME)


def _of_report(run: RunDirectory, records: Records) -> Iterator[Damage]:
    """Of trials.parquet and epochs.parquet against the log, and of the report's files as they were written."""
    known = manifest.digests(run.report)
    if known is None:
        if (run.report / manifest.MANIFEST).exists():
            yield Damage(f"report/{manifest.MANIFEST}", "is damaged: not as it was written", BY_REPORT)
        elif run.report.is_dir() or not records.is_unfinished:
            yield Damage(f"report/{manifest.MANIFEST}", "is missing", BY_REPORT)
    for name, frame in (("trials.parquet", records.trials), ("epochs.parquet", records.epochs)):
        if what := _table_fault(run.file(name), frame, (known or {}).get(name), records):
            yield Damage(name, what, BY_REPORT)
    for name, written in (known or {}).items():
        if name.startswith("report/") and (now := found_digest(run.file(name))) != written:
            yield Damage(name, "is missing" if now is None else "is damaged: not as it was written", BY_REPORT)


def _table_fault(file: Path, frame: pd.DataFrame, known: str | None, records: Records) -> str | None:
    """What is wrong with a table that is made from the log; None where it is as it was written and tells the same."""
    if not file.exists():
        return "is missing" if known or not records.is_unfinished else None
    written = io.BytesIO()
    frame.to_parquet(written, index=False)
    if file.read_bytes() == written.getvalue():
        return None
    if known and found_digest(file) != known:
        return "is damaged: not as it was written"
    table = read_parquet(file)
    if table is None:
        return "cannot be read"
    if pd.read_parquet(written).equals(table):  # other versions of pandas or pyarrow wrote it
        return None
    older = records.is_unfinished and _ended(table) <= _ended(records.trials)
    return None if older and known else "does not tell what the log tells"


def _ended(table: pd.DataFrame) -> set[tuple[Any, ...]]:
    if "status" not in table:
        return set()
    rows = table.loc[table["status"] != RUNNING]
    return set(zip(rows["trial"], rows["status"], strict=True))
