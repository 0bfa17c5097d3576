"""A log as its events and a table of its epochs.

A whole log is checked and parsed by columns, in microseconds a line; one with any fault goes the slow road of
`read_log`, which says what is wrong.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from analysis.records.log import Log, missing_epochs, read_log
from analysis.records.log_lines import Event, read_line, sealed
from analysis.records.schema import ANEW, END, EPOCH, START
from analysis.records.untrusted import KEY
from core.text import UNSEEN

LARGEST = 2**32  # bytes of a log that is read at once
BLOCK = 2**24  # bytes that pyarrow parses at a time, in one of its threads
_EPOCH = b'{"event": "epoch", "trial": "'


class _NotWholeError(Exception):
    """The log is not whole, or not in the form in which it is written."""


def read_rows(path: Path) -> tuple[Log, pd.DataFrame]:
    """The log without its epochs, and a row an epoch, in order."""
    try:
        return _whole(path)
    except (_NotWholeError, pa.ArrowException):
        log = read_log(path)
    rows = [event for event in log if event["event"] == EPOCH]
    log.events = [event for event in log if event["event"] != EPOCH]
    return log, pd.DataFrame(rows)


def _whole(path: Path) -> tuple[Log, pd.DataFrame]:
    if path.exists() and path.stat().st_size > LARGEST:
        raise _NotWholeError
    lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    lines.pop()  # torn, or empty
    log, of_epochs, begun, numbered = Log(path, lines=len(lines)), list[bytes](), set[str](), False
    ends: dict[str, Event] = {}
    for number, line in enumerate(lines, 1):
        numbered = numbered or b', "crc": "' in line
        if numbered and not sealed(line, number):
            raise _NotWholeError
        if line.startswith(_EPOCH):
            of_epochs.append(line)
            continue
        read = read_line(line)
        if read.fault or read.event["event"] in (ANEW, EPOCH):
            raise _NotWholeError
        log.events.append(read.event)
        if read.event["event"] == START:
            begun.add(read.event["trial"])
        elif read.event["event"] == END:
            ends[read.event["trial"]] = read.event
    rows = _table(of_epochs)
    found = rows.groupby("trial")["epoch"].agg(["nunique", "max"])
    if not (begun.issuperset(found.index) and begun.issuperset(ends)):
        raise _NotWholeError
    counts = {str(trial): (count, last) for trial, count, last in found.itertuples()}
    if any(missing_epochs(end, *counts.get(trial, (0, 0))) for trial, end in ends.items()):
        raise _NotWholeError
    return log, rows


def _table(lines: Sequence[bytes]) -> pd.DataFrame:
    """Lines of epochs, each of numbers but for its first two fields; _NotWholeError where one is not."""
    if not lines:
        return pd.DataFrame({"trial": pd.Series(dtype="str"), "epoch": pd.Series(dtype="int64")})
    options = pyarrow.json.ReadOptions(block_size=BLOCK)
    table = pyarrow.json.read_json(pa.BufferReader(b"\n".join(lines)), read_options=options)
    known = {"event", "trial", "time", "line", "crc"}
    numbers = [column for name, column in zip(table.column_names, table.columns, strict=True) if name not in known]
    plain = all(map(_is_plain, numbers)) and not UNSEEN.search("".join(table.column_names))
    if table.num_rows != len(lines) or not plain:
        raise _NotWholeError
    rows = table.drop_columns([name for name in ("line", "crc") if name in table.column_names]).to_pandas()
    if not (rows["epoch"].dtype == "int64" and rows["epoch"].between(1, 10**6).all()):
        raise _NotWholeError
    if not all(KEY.fullmatch(trial) for trial in rows["trial"].unique()):
        raise _NotWholeError
    return rows


def _is_plain(column: pa.ChunkedArray) -> bool:
    """Whether a column holds numbers that JSON knows, or nothing."""
    if pa.types.is_floating(column.type):
        return not pc.any(pc.is_nan(column)).as_py()
    return bool(pa.types.is_integer(column.type) or pa.types.is_null(column.type))


def epoch_line(row: Mapping[str, Any]) -> str:
    """One epoch as a line of epochs.log; landmark errors are in pixels."""
    names = ("accuracy", "error_px") if "train_accuracy" in row else ("error_px",)
    figures = [
        f"{split} {name.partition('_')[0]} {row[f'{split}_{name}']:.3f}"
        for name in names
        for split in ("train", "test")
        if row.get(f"{split}_{name}") is not None
    ]
    loss = "diverged" if row["train_loss"] is None else f"{row['train_loss']:.4f}"
    return ", ".join([f"epoch {row['epoch']}", f"loss {loss}", *figures, f"use time {row['seconds']:.3f}"])


def lines_of(rows: Iterable[Mapping[str, Any]]) -> str:
    """The text of epochs.log of these epochs."""
    return "".join(f"{epoch_line(row)}\n" for row in rows)
