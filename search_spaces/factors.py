"""Factors and their levels; "off" is an ordinary level and the first level is the baseline."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from core.component import Component
from search_spaces.names import Misfit, Name, twice

MOST_SETTINGS = 500  # of a baseline, or a level
MOST_LEVELS = 10_000


class Level(Component):
    """A factor's named value: the dotted settings it changes (none for an "off" that equals the baseline)."""

    name: Name
    settings: Annotated[dict[str, Any], Field(max_length=MOST_SETTINGS)] = {}

    @field_validator("name", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        """A number is a name too: YAML reads `name: 0.9` as one."""
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


class Factor(Component):
    name: Name
    levels: tuple[Level, ...] = Field(min_length=2, max_length=MOST_LEVELS)

    @classmethod
    def of(cls, name: str, levels: Mapping[str, Mapping[str, Any]]) -> Self:
        """`Factor.of("momentum", {"off": {}, "0.9": {"optimizer.momentum": 0.9}})`."""
        return cls(name=name, levels=tuple(Level(name=key, settings=dict(value)) for key, value in levels.items()))

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if found := twice(f"factor {self.name!r} names a level", [level.name for level in self.levels]):
            raise Misfit((("levels", i, "name"), fault) for i, fault in found)
        return self

    @property
    def keys(self) -> set[str]:
        """Every dotted setting that some level changes."""
        return {key for level in self.levels for key in level.settings}
