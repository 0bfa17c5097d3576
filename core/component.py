"""The base of every settings class: frozen, strict at every depth, unknown keys refused.

A component is one named choice of a kind (one optimizer, one loss, one data set): its fields are its settings with
their defaults and search ranges, and its `name` literal is the value of `--set KIND.name=…` that chooses it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict


class Component(BaseModel):
    """Immutable settings; a wrong type, an unknown key and a value outside the domain are all errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())

    unrecorded: ClassVar[dict[str, Any]] = {}
    """values of settings that records made before them lack, and that do not count in a trial's identity"""

    @property
    def own_references(self) -> tuple[str, ...]:
        """The references to objects of the user's own among the settings."""
        return ()

    @classmethod
    def has_setting(cls, name: str, path: str) -> bool:
        """Whether the component of this name has a setting, `FIELD` or `FIELD.ENTRY` of a mapping."""
        return path.partition(".")[0] in cls.model_fields


C = TypeVar("C", bound=Component)
REFERENCE = re.compile(r"(?:(?P<file>.+\.py)|(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*)):(?P<name>[^\W\d]\w*)")
"""of an object of the user's own: FILE.py:NAME or package.module:NAME"""


class Registry(dict[str, type[C]]):
    """The components of a kind by name. `families` are classes for all names `PREFIX:REST`, by their prefix; `own` is
    the class for references to the user's own objects, where the kind has one."""

    def __init__(
        self, named: Mapping[str, type[C]], families: Mapping[str, type[C]] | None = None, own: type[C] | None = None
    ) -> None:
        super().__init__(named)
        self.families, self.own = dict(families or {}), own

    def find(self, name: object) -> type[C] | None:
        """The class of a component's name; None where there is none."""
        if not isinstance(name, str):
            return None
        prefix, colon, _ = name.partition(":")
        if found := self.get(name) or (self.families.get(prefix) if colon else None):
            return found
        own = REFERENCE.fullmatch(name)
        return self.own if own and not (own["module"] and self._misspelt(own["module"])) else None

    def _misspelt(self, module: str) -> bool:
        """Whether a family is meant by the name of a module that there is not."""
        near = get_close_matches(module.casefold(), self.families, n=1, cutoff=0.8)
        return bool(near) and find_spec(module.partition(".")[0]) is None

    @property
    def forms(self) -> list[str]:
        """What a component's name may be, for an error message."""
        return [*self, *(f"{prefix}:NAME" for prefix in self.families), *(["FILE.py:NAME"] if self.own else [])]

    @property
    def classes(self) -> list[type[C]]:
        return [*self.values(), *self.families.values(), *([self.own] if self.own else [])]


@dataclass(frozen=True)
class Range:
    """Search range of a setting, written in its field's annotation: `Annotated[float, Range(…)]`."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, init=False)
class Needs:
    """Another setting without which one takes no effect, written in its field's annotation.

    `Needs("model.dropout_after")`: it must be on, that is neither false, 0, empty nor null; `Needs(key,
    values=(…))`: it must have one of these values; of several keys one suffices.
    """

    keys: tuple[str, ...]
    values: tuple[object, ...]

    def __init__(self, *keys: str, values: tuple[object, ...] = ()) -> None:
        object.__setattr__(self, "keys", keys)
        object.__setattr__(self, "values", values)

    def met(self, value: object) -> bool:
        return value in self.values if self.values else bool(value)


def did_you_mean(value: object, allowed: Iterable[str]) -> str:
    """`allowed: a, b, c; did you mean 'b'?` for an error message; the question only if a name is similar."""
    names = [str(name) for name in allowed]
    group = str(value).rpartition(".")[0]  # of a dotted setting: that alone makes no two of its names alike
    folded = {name.casefold().removeprefix(f"{group}."): name for name in names}
    given = str(value).casefold().removeprefix(f"{group}.")
    near = get_close_matches(given, folded, n=1, cutoff=0.5 if group else 0.6)
    near = near or [name for name in folded if len(given) > 1 and name.startswith(given)]
    return f"allowed: {', '.join(names)}" + (f"; did you mean {folded[near[0]]!r}?" if near else "")
