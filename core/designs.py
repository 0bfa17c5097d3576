"""What the analysis needs to know of a study's design, so that it never branches on a design's name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class DesignTraits:
    """How to read the rows of an ablation table; study.json holds this as `traits`.

    `rows`: a row compares two levels of a factor, or two cells, whose names say what was changed. `against`: the cell
    that a row is compared with: the baseline, the previous cell (and then the first), or the first cell. `question`:
    the tables that come first: one per factor, main effects and interactions, a ladder's rungs, or a path's steps.
    """

    rows: Literal["levels", "cells"] = "levels"
    against: Literal["baseline", "previous", "first"] = "baseline"
    question: Literal["factors", "effects", "rungs", "steps"] = "factors"


BY_NAME = {
    "one_at_a_time": DesignTraits(),
    "leave_one_out": DesignTraits(),
    "factorial": DesignTraits(question="effects"),
    "ladder": DesignTraits("cells", "previous", "rungs"),
    "path": DesignTraits("cells", "previous", "steps"),
    "confirm": DesignTraits("cells", "first"),
}
"""by design name, for runs made before study.json held traits"""


def traits_of(study: Mapping[str, Any]) -> DesignTraits:
    """The traits of a study.json's design; the default ones for a search."""
    if known := study.get("traits"):
        return DesignTraits(**known)
    return BY_NAME.get(study.get("design") or "", DesignTraits())
