"""Points of a search space at its edges: every bound and every choice, under every condition that bears on it."""

import itertools
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from search_spaces.spaces import Choice, Number, Settings, Space
from trainables.config import needed_by

MOST = 256  # combinations of what decides on one parameter; of more, those of any two are taken


def edge_points(space: Space) -> Iterator[tuple[str, Settings]]:
    """(parameter, a point of the space in which it has a bound or a choice), each once; none of a parameter whose
    conditions never hold together.

    Of each parameter the edges, under each combination of the parameters that decide whether it exists or counts; and
    the edges of any two parameters together. All other parameters are in the middle of theirs.
    """
    seen = set()
    pairs = ((pair[1].key, pair, pair) for pair in itertools.combinations(space, 2))
    for key, must, varied in itertools.chain(_under_conditions(space), pairs):
        for point in _points(space, [parameter.key for parameter in must], varied):
            if (found := (key, json.dumps(point, sort_keys=True))) not in seen:
                seen.add(found)
                yield key, point


def _under_conditions(space: Space) -> Iterator[tuple[str, Space, Space]]:
    """(a parameter, those that must exist, those whose values are combined): it, and what decides on it."""
    for parameter in space:
        deciding = _deciding(parameter.key, space)
        needed = _needed(space, [parameter.key]) or {}
        if math.prod(len(needed.get(other.key, _values(other, space))) for other in deciding) <= MOST:
            yield parameter.key, [parameter], [*deciding, parameter]
        else:
            for two in itertools.combinations(deciding, 2):
                yield parameter.key, [*two, parameter], [*two, parameter]


def _points(space: Space, must: Collection[str], varied: Space) -> Iterator[Settings]:
    """All values of some parameters, in points in which others must exist."""
    if (needed := _needed(space, must)) is None:
        return
    for values in itertools.product(*(needed.get(each.key, _values(each, space)) for each in varied)):
        fixed = dict(zip((each.key for each in varied), values, strict=True))
        point: Settings = {}
        for parameter in space:
            if parameter.active(point):
                first = needed.get(parameter.key, [parameter.at(0.5)])[0]
                point[parameter.key] = fixed.get(parameter.key, first)
        yield point


def _needed(space: Space, keys: Collection[str]) -> Mapping[str, Sequence[Any]] | None:
    """By parameter, the values that it must have for others to exist together; None where they never do."""
    known = {parameter.key: parameter for parameter in space}
    found: dict[str, list[Any]] = {}
    open_ = list(keys)
    while open_:
        for other, values in known[open_.pop()].when.items():
            own = known[other].among(values)
            allowed = [value for value in found.get(other, own) if value in own]
            if not allowed:
                return None
            found[other] = allowed
            open_.append(other)
    return found


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
    """The values of a parameter that matter: its edges, and those that a condition names."""
    named = [value for other in space for value in parameter.among(other.when.get(parameter.key, ()))]
    values = [*parameter.edges, *named]
    return [value for i, value in enumerate(values) if value not in values[:i]]
