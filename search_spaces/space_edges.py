"""Points of a search space at its edges: every bound and every choice, under every condition that bears on it."""

import itertools
import json
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

from search_spaces.spaces import Choice, Number, Settings, Space
from trainables.config import needed_by

MOST = 256  # combinations of the conditions of one parameter; of more, so many are drawn


def edge_points(space: Space) -> Iterator[tuple[str, Settings]]:
    """(parameter, a point of the space in which it has a bound or a choice), for each of them and each combination of
    the parameters that decide whether it exists or counts; all other parameters are in the middle of theirs."""
    for parameter in space:
        deciding = _deciding(parameter.key, space)
        seen = set()
        for values in _combinations([_values(other, space) for other in deciding]):
            fixed = dict(zip((other.key for other in deciding), values, strict=True))
            for edge in parameter.edges:
                point = _point(space, {**fixed, parameter.key: edge})
                if parameter.key in point and (text := json.dumps(point, sort_keys=True)) not in seen:
                    seen.add(text)
                    yield parameter.key, point


def _deciding(key: str, space: Space) -> list[Number | Choice]:
    """The parameters that decide whether one exists, in which component, and whether it counts; theirs as well."""
    known = {parameter.key: parameter for parameter in space}
    found, open_ = set[str](), [key]
    while open_:
        name = open_.pop()
        direct = {*known[name].when, f"{name.partition('.')[0]}.name", *needed_by(name)} & known.keys()
        open_ += direct - found
        found |= direct
    return [parameter for parameter in space if parameter.key in found - {key}]


def _values(parameter: Number | Choice, space: Space) -> list[Any]:
    """The values of a deciding parameter that matter: its edges, and those that a condition names."""
    named = [value for other in space for value in other.when.get(parameter.key, ())]
    values = [*parameter.edges, *(value for value in named if parameter.holds(value))]
    return [value for i, value in enumerate(values) if value not in values[:i]]


def _combinations(values: Sequence[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    if math.prod(map(len, values)) <= MOST:
        return itertools.product(*values)
    draws = random.Random(0)
    return ([draws.choice(part) for part in values] for _ in range(MOST))


def _point(space: Space, fixed: Settings) -> Settings:
    point: Settings = {}
    for parameter in space:
        if parameter.active(point):
            point[parameter.key] = fixed[parameter.key] if parameter.key in fixed else parameter.at(0.5)
    return point
