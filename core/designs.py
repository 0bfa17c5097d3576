"""What the analysis has to know of a study's design, so that it decides nothing by a design's name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class DesignTraits:
    """How the rows of an ablation are read; study.json holds them as `traits`.

    `rows`: a row compares the levels of a factor, or whole cells, whose names say what was changed. `against`: what a
    row is compared with first, the baseline, the cell before (the first one beside it), or the first cell. `question`:
    which tables answer first: one a factor, main effects and interactions, the rungs of a ladder, or the steps that
    were chosen.
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
"""of the designs of runs that were made before study.json held traits"""


def traits_of(study: Mapping[str, Any]) -> DesignTraits:
    """The traits of a study.json's design; those of a plain one for a search."""
    if known := study.get("traits"):
        return DesignTraits(**known)
    return BY_NAME.get(study.get("design") or "", DesignTraits())
