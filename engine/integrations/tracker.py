"""The interface of trackers, such as TensorBoard and MLflow, which receive every event of a run's log.

At each start of a run they receive all events from the first one and skip those they already have: so a killed run is
complete there too, and `report` can send an old one.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from core.splits import SPLITS


class Tracker(Protocol):
    name: str

    def event(self, event: Mapping[str, Any]) -> None:
        """Take one event of the log."""

    def close(self) -> None: ...


def scalars(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """(tag, value) of an epoch row's metrics; `val_accuracy` becomes `accuracy/val`, so that splits share a chart."""
    for name, value in row.items():
        if name in ("epoch", "trial", "event", "lanes") or not _real(value):
            continue
        split, _, metric = name.partition("_")
        yield (f"{metric}/{split}" if split in SPLITS else name), float(value)


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
