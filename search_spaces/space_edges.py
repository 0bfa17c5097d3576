"""Points of a search space at its edges: every bound and every choice, under every condition that bears on it."""

import itertools
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from search_spaces.spaces import Choice, Number, Settings, Space
from trainables.config import needed_by

MOST = 256  # combinations of what decides on one parameter, or of two; of more, those of any two, or each value once
MOST_POINTS = 5000  # beside those of single parameters: a configuration takes a fifth of a millisecond
FEW = 8  # choices of which all are combined with others'; of more numbers, only the ends, zero and those of conditions

Values = Mapping[str, list[Any]]
"""by parameter, some of its values"""
Conditions = Mapping[str, Values]
"""by parameter, the values that others must have for it to exist"""


def edge_points(space: Space) -> Iterator[tuple[str, Settings]]:
    """(parameter, a point of the space in which it has a bound or a choice), each once; none of a parameter whose
    conditions never hold together.

    Of each parameter the edges by themselves, then under each combination of the parameters that decide whether it
    exists or counts, and the edges of any two parameters together: of these, MOST_POINTS. All other parameters are in
    the middle of theirs.
    """
    conditions = _conditions(space)
    values = {each.key: _values(each, _named(each.key, conditions)) for each in space}
    few = {each.key: _few(values[each.key], _named(each.key, conditions)) for each in space}
    alone = (found for each in space for found in _points(space, conditions, [each.key], [each], values))
    together = itertools.islice(_together(space, conditions, few), MOST_POINTS)
    seen = set()
    for key, point in filter(None, itertools.chain(alone, together)):
        if (found := (key, json.dumps(point, sort_keys=True))) not in seen:
            seen.add(found)
            yield key, point


def never_active(space: Space) -> list[str]:
    """The parameters whose conditions never hold together."""
    conditions = _conditions(space)
    return [parameter.key for parameter in space if _needed(conditions, [parameter.key]) is None]


def _conditions(space: Space) -> Conditions:
    known = {parameter.key: parameter for parameter in space}
    return {each.key: {key: known[key].among(held) for key, held in each.when.items()} for each in space}


def _named(key: str, conditions: Conditions) -> list[Any]:
    """The values of a parameter that conditions of others name."""
    return [value for held in conditions.values() for value in held.get(key, ())]


def _together(space: Space, conditions: Conditions, values: Values) -> Iterator[tuple[str, Settings] | None]:
    """Edges of several parameters at once; None for several that never exist together."""
    for parameter in space:
        deciding = _deciding(parameter.key, space)
        needed = _needed(conditions, [parameter.key]) or {}
        if math.prod(len(needed.get(other.key, values[other.key])) for other in deciding) <= MOST:
            yield from _points(space, conditions, [parameter.key], [*deciding, parameter], values)
        else:
            for two in itertools.combinations(deciding, 2):
                varied = [*two, parameter]
                yield from _points(space, conditions, [each.key for each in varied], varied, values)
    for pair in itertools.combinations(space, 2):
        yield from _points(space, conditions, [each.key for each in pair], pair, values)


def _points(
    space: Space, conditions: Conditions, must: Sequence[str], varied: Space, values: Values
) -> Iterator[tuple[str, Settings] | None]:
    """(the last of `must`, a point) for all values of some parameters, in points in which those of `must` exist; for
    very many combinations, for each value once. None where they never exist together.
    """
    if (needed := _needed(conditions, must)) is None:
        yield None
        return
    own = [needed.get(each.key, values[each.key]) for each in varied]
    many = math.prod(map(len, own)) > MOST * FEW
    combined = zip(*map(itertools.cycle, own), strict=False) if many else itertools.product(*own)
    for chosen in itertools.islice(combined, max(map(len, own)) if many else None):
        fixed = dict(zip((each.key for each in varied), chosen, strict=True))
        point: Settings = {}
        for parameter in space:
            if parameter.active(point):
                first = needed.get(parameter.key, [parameter.at(0.5)])[0]
                point[parameter.key] = fixed.get(parameter.key, first)
        yield must[-1], point


def _needed(conditions: Conditions, keys: Collection[str]) -> Values | None:
    """By parameter, the values that it must have for others to exist together; None where they never do."""
    found: dict[str, list[Any]] = {}
    open_ = list(keys)
    while open_:
        for other, own in conditions[open_.pop()].items():
            allowed = [value for value in found[other] if value in own] if other in found else own
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


def _values(parameter: Number | Choice, named: Sequence[Any]) -> list[Any]:
    """The values of a parameter that matter: its edges, and those that a condition names."""
    return list({json.dumps(value): value for value in [*parameter.edges, *named]}.values())


def _few(values: list[Any], named: Sequence[Any]) -> list[Any]:
    """Of more than FEW values, without most numbers: the ends, zero and those that a condition names stay."""
    numbers = sorted(value for value in values if _is_number(value))
    if len(values) <= FEW or not numbers:
        return values
    ends = (numbers[0], numbers[-1], 0)
    return [value for value in values if not _is_number(value) or value in ends or value in named]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
