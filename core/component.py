"""The base of every settings class: frozen, strict at every depth, unknown keys refused.

A component is one named choice of a kind (one optimizer, one loss, one data set): its fields are its settings,
its defaults and domains stand on the fields, and its `name` literal is what `--set KIND.name=…` chooses by.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from pydantic import BaseModel, ConfigDict


class Component(BaseModel):
    """Immutable settings; a wrong type, an unknown key and a value outside the domain are all errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


@dataclass(frozen=True)
class Range:
    """Where a search looks for a setting, written on the field beside its default: `Annotated[float, Range(…)]`."""

    low: float
    high: float
    log: bool = False


def did_you_mean(value: object, allowed: Iterable[str]) -> str:
    """`allowed: a, b, c; did you mean 'b'?` for an error message; the question only where a name is near."""
    names = [str(name) for name in allowed]
    near = get_close_matches(str(value), names, n=1)
    return f"allowed: {', '.join(names)}" + (f"; did you mean {near[0]!r}?" if near else "")
