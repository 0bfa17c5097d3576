"""The epoch that a trial is judged at, by its selection rule."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from core.metrics import maximised

if TYPE_CHECKING:
    from trainables.config import Selection


def selected_epoch(selection: "Selection", rows: Sequence[dict[str, Any]]) -> int | None:
    """The epoch that the rule chooses among the rows so far; the first of equals."""
    if selection.rule == "last":
        return rows[-1]["epoch"] if rows else None
    if selection.rule == "epoch":
        return selection.epoch if any(row["epoch"] == selection.epoch for row in rows) else None
    sign = -1 if maximised(selection.metric) else 1
    scored = [(sign * row[selection.metric], row["epoch"]) for row in rows if row[selection.metric] is not None]
    return min(scored)[1] if scored else None
