"""Helpers for tables: typed columns, metric columns, rows, evenly spaced rows."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray


def metric_columns(epochs: pd.DataFrame) -> list[str]:
    """The numeric columns of an epoch table that hold metrics."""
    fixed = {"trial", "epoch", "lr", "lanes", "seconds"}
    return [name for name in map(str, epochs) if name not in fixed and pd.api.types.is_numeric_dtype(epochs[name])]


def metric_values(rows: pd.DataFrame, metric: str) -> "pd.Series[float]":
    """A metric of each row; NaN where it was not recorded."""
    return rows[metric].astype("float64") if metric in rows else pd.Series(float("nan"), index=rows.index)


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every setting; an empty mapping is a value."""
    for name, value in config.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def within(name: str, keys: Iterable[str]) -> bool:
    """Whether a dotted setting is one of `keys` or lies below one."""
    return any(name == key or name.startswith(f"{key}.") for key in keys)


def column(values: list[Any], dtype: str | None = None) -> pd.Series:
    """Values as a column of one Parquet type: integers, floats, booleans or text; mixed or nested ones as JSON text."""
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


MOST_VALUES = 2 * 10**8
"""that a Parquet file may hold; a megabyte can say that it holds a thousand times as many"""


def read_parquet(path: Path, *columns: str) -> pd.DataFrame | None:
    """A Parquet file, or these columns of it; None if it is missing, torn, too large or has no such columns."""
    try:
        with pq.ParquetFile(path) as file:
            about = file.metadata
            groups = map(about.row_group, range(about.num_row_groups))
            values = sum(group.column(i).num_values for group in groups for i in range(group.num_columns))
            if max(values, about.num_rows * len(columns or file.schema_arrow)) > MOST_VALUES:
                return None
        return pd.read_parquet(path, columns=list(columns) or None)
    except (OSError, ValueError, pa.ArrowException, MemoryError, RecursionError):
        return None


Read = TypeVar("Read")


def unless_damaged(read: Callable[[Path], Read]) -> Callable[[Path], Read | None]:
    """A reader of a file that a trial left, which gives None, as for a file that is missing, where columns hold what
    they cannot hold. Anybody may have written it, so no list of their faults is whole."""

    @wraps(read)
    def reader(path: Path) -> Read | None:
        try:
            with np.errstate(all="ignore"):
                return read(path)
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, MemoryError, pa.ArrowException):
            return None

    return reader


def last_epochs(rows: pd.DataFrame, *keys: str) -> "pd.Series[bool]":
    """Mask of the rows of the last epoch in each group of equal `keys`."""
    return rows["epoch"] == rows.groupby(list(keys))["epoch"].transform("max")


def evenly_spaced(n: int, limit: int) -> NDArray[np.int64]:
    """At most `limit` of the positions 0 … n − 1, evenly spaced, with the first and the last."""
    return np.unique(np.linspace(0, n - 1, min(n, limit)).round().astype("int64"))


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
