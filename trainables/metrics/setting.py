"""The setting of one metric of a whole split: its name, its direction, its column; and its value for given scores."""

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_serializer, model_validator

from core.component import Component, did_you_mean
from core.metrics import BUILT_IN, METRICS
from core.splits import SPLITS
from core.user_code.references import UserCodeError, is_reference
from trainables.metrics.field import FIELD, TOP, UndefinedMetricError
from trainables.metrics.own import own_value

if TYPE_CHECKING:
    from trainables.metrics.field import Scores, Targets

COLUMN = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}")
TRIED = 4  # examples of each class on which a plan tries a function
TAKEN = frozenset(name.casefold() for name in BUILT_IN)


class SplitMetric(Component):
    """A metric of the field, given as its name, or a function of one's own with its direction."""

    name: str
    """of the field, or `FILE.py:FUNCTION`, which takes scores (N, C) and targets (N,) and returns a number"""
    maximise: bool | None = None
    """of a function of one's own: whether larger is better"""
    as_: str = Field("", alias="as")
    """of a function of one's own: the name of its columns; empty: the function's"""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        """A name stands for itself; a function's columns have its name unless `as` says another."""
        if not isinstance(given, str | dict):
            raise ValueError("takes a metric's name, or a mapping with `name` and `maximise`")
        given = {"name": given} if isinstance(given, str) else given
        own = is_reference(given.get("name")) and not given.get("as")
        return {**given, "as": column_of(given)} if own else given

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if faults := self._own_faults() if self.is_own else self._field_faults():
            raise ValueError("; ".join(faults))
        return self

    def _field_faults(self) -> list[str]:
        if self.name not in FIELD:
            recorded = " (what a task records unasked needs no asking)" if self.name in METRICS else ""
            return [f"{self.name!r} is unknown{recorded}; {did_you_mean(self.name, [*FIELD, 'FILE.py:FUNCTION'])}"]
        given = [key for key, value in (("maximise", self.maximise), ("as", self.as_ or None)) if value is not None]
        return [f"{self.name} has a name and a direction; leave out {' and '.join(given)}"] if given else []

    def _own_faults(self) -> list[str]:
        column, faults = self.column, []
        if self.maximise is None:
            faults.append(f"{self.name}: `maximise` is missing; allowed: true (larger is better), false")
        if not COLUMN.fullmatch(column) or column.startswith(tuple(f"{split}_" for split in SPLITS)):
            what = "letters, digits and _, not beginning with a split"
            faults.append(f"{self.name}: {column!r} cannot be the name of a column; allowed by `as`: {what}")
        elif {column.casefold(), *(f"{split}_{column}".casefold() for split in SPLITS)} & TAKEN:
            faults.append(f"{self.name}: the name {column!r} is taken; give another by `as`")
        return faults

    @model_serializer(mode="plain")
    def _short(self) -> Any:
        return {"name": self.name, "maximise": self.maximise, "as": self.as_} if self.is_own else self.name

    @property
    def is_own(self) -> bool:
        """Whether it is a function of the user's."""
        return is_reference(self.name)

    @property
    def own_references(self) -> tuple[str, ...]:
        return (self.name,) if self.is_own else ()

    @property
    def column(self) -> str:
        """Its name in columns, behind that of the split."""
        return self.as_ or self.name

    @property
    def record(self) -> dict[str, Any]:
        """Its name and direction, as study.json holds them."""
        return {"name": self.column, "maximise": self.maximise if self.is_own else METRICS[self.name].maximise}

    def measure(self, scores: "Scores", targets: "Targets", seed: int) -> tuple[float, str]:
        """(its value, ""), or (NaN, why there is none); UserCodeError where a user's function fails.

        `seed`: of what a user's function draws.
        """
        import numpy as np

        try:
            if not len(targets):
                raise UndefinedMetricError("the split is empty")
            if not np.isfinite(scores).all():
                raise UndefinedMetricError("the scores are not finite")
            if self.is_own:
                value = own_value(self.name, scores, targets, seed)
            else:
                with warnings.catch_warnings(action="ignore"):  # an edge case would be told after each epoch
                    value = FIELD[self.name](scores, targets)
        except UndefinedMetricError as error:
            return math.nan, str(error)
        return (value, "") if math.isfinite(value) else (math.nan, f"it came to {value}")

    def fault(self, counts: Mapping[str, Sequence[int]]) -> str | None:
        """What is wrong with it for a data set of `counts` of each class by split; a user's function is tried."""
        if self.name == "top5_accuracy" and len(counts["val"]) <= TOP:
            few = len(counts["val"])
            return f"metrics: top5_accuracy says nothing of {few} classes: it is 1; allowed: from {TOP + 1} on"
        try:
            self._tried(counts)
        except UserCodeError as error:
            return f"metrics: {error}"
        return None

    def remark(self, counts: Mapping[str, Sequence[int]]) -> str | None:
        """What cannot be promised of a user's function; None if all can."""
        if repr(self._tried(counts)) == repr(self._tried(counts)):
            return None
        return (
            f"{self.name}: gives other values for the same scores, so no rerun will be equal bit for bit; draw from "
            "the generators of torch, numpy or random, and not from the clock or the system"
        )

    def _tried(self, counts: Mapping[str, Sequence[int]]) -> list[tuple[float, str]]:
        """A user's function on made scores of validation and of test, with the classes that occur there."""
        import numpy as np

        found = []
        for split in ("val", "test") if self.is_own else ():
            targets = np.repeat(np.arange(len(counts[split])), np.minimum(counts[split], TRIED))
            scores = np.random.default_rng(0).dirichlet(np.ones(len(counts[split])), len(targets)).astype(np.float32)
            found.append(self.measure(scores, targets, seed=0))
        return found


def column_of(entry: Any) -> str:
    """The name of the columns of an entry as a study gives it: what it says by `as`, or the function's."""
    given = entry if isinstance(entry, dict) else {"name": entry}
    return str(given.get("as") or str(given.get("name")).rpartition(":")[2].rpartition(".")[2])
