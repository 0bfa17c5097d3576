"""What a tracker is: a tool that people watch training with, told every event of a run's log.

It is told from the first event at each start of a run, and leaves alone what it has already: so a run that was killed
is whole there too, and an old one can be handed over by `report`.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from core.metrics import SPLITS


class Tracker(Protocol):
    name: str

    def event(self, event: Mapping[str, Any]) -> None:
        """One line of the log."""

    def close(self) -> None: ...


def scalars(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """(tag, value) of an epoch's figures; `val_accuracy` is `accuracy/val`, so that the splits share a chart."""
    for name, value in row.items():
        if name in ("epoch", "trial", "event", "lanes") or not _real(value):
            continue
        split, _, metric = name.partition("_")
        yield (f"{metric}/{split}" if split in SPLITS else name), float(value)


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
