"""Factors and their levels; "off" is an ordinary level and the first level is the baseline."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from core.component import Component


class Level(Component):
    """A factor's named value: the dotted settings it changes (none for an "off" that equals the baseline)."""

    name: str = Field(min_length=1)
    settings: dict[str, Any] = {}


class Factor(Component):
    name: str = Field(min_length=1)
    levels: tuple[Level, ...] = Field(min_length=2)

    @classmethod
    def of(cls, name: str, levels: Mapping[str, Mapping[str, Any]]) -> Self:
        """`Factor.of("momentum", {"off": {}, "0.9": {"optimizer.momentum": 0.9}})`."""
        return cls(name=name, levels=tuple(Level(name=key, settings=dict(value)) for key, value in levels.items()))

    @classmethod
    def switch(cls, name: str, settings: Mapping[str, Any]) -> Self:
        """Two levels: off, which changes nothing, and on, with these settings."""
        return cls.of(name, {"off": {}, "on": settings})

    @classmethod
    def values(cls, name: str, key: str, *values: Any) -> Self:
        """A level for each value of one setting, named by it."""
        return cls.of(name, {str(value): {key: value} for value in values})

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [level.name for level in self.levels]
        if len(set(names)) < len(names):
            raise ValueError(f"factor {self.name!r} names a level twice: {', '.join(names)}")
        return self

    @property
    def keys(self) -> set[str]:
        """Every dotted setting that some level changes."""
        return {key for level in self.levels for key in level.settings}
