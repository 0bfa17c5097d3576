"""Turns the differences between a search's winner and the default configuration into factors, one per setting.

A conditional setting shares a factor with the one it depends on, as do settings that are invalid without each other.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import permutations
from typing import Any

from search_spaces.factors import Factor
from search_spaces.spaces import Space

ABSENT = object()
Group = list[str]
"""dotted names of the settings that one factor changes; the first one names the factor"""


def factors_between(
    space: Space, point: Mapping[str, Any], default: Mapping[str, Any], possible: Callable[[Group], bool]
) -> tuple[Factor, ...]:
    """A factor for each setting of `space` in which the configuration of `point` differs from the default one.

    `default`: the default configuration as a nested dict. The first level of a factor changes nothing, the second sets
    the point's values. `possible`: whether the default with these settings of the point is a valid configuration.
    """
    short = short_names([parameter.key for parameter in space])
    standard = _default_point(space, default)
    groups = _joined(_groups(space, point, default, standard), lambda group: possible([k for k in group if k in point]))
    return tuple(
        Factor.of(
            short[group[0]],
            {
                _level(group, standard, point, short): {},
                _level(group, point, standard, short): {key: point[key] for key in group if key in point},
            },
        )
        for group in groups
    )


def find(tree: Mapping[str, Any], key: str) -> Any:
    """A setting of a nested dict by its dotted name, or ABSENT."""
    node: Any = tree
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return ABSENT
        node = node[part]
    return node


def _default_point(space: Space, default: Mapping[str, Any]) -> dict[str, Any]:
    """The default configuration's values of the space's active parameters."""
    chosen: dict[str, Any] = {}
    for parameter in space:
        value = find(default, parameter.key)
        if value is not ABSENT and parameter.active(chosen):
            chosen[parameter.key] = value
    return chosen


def _groups(
    space: Space, point: Mapping[str, Any], default: Mapping[str, Any], standard: Mapping[str, Any]
) -> list[Group]:
    """The settings that differ, each grouped with all settings that depend on it, directly or not."""
    groups: list[Group] = []
    for parameter in space:
        if parameter.key not in {**standard, **point}:
            continue
        above = [group for group in groups if not parameter.when.keys().isdisjoint(group)]
        if above:
            groups = [group for group in groups if group not in above[1:]]
            above[0] += [*(key for group in above[1:] for key in group), parameter.key]
        elif parameter.key in point and find(default, parameter.key) != point[parameter.key]:
            groups.append([parameter.key])
    return groups


def _joined(groups: list[Group], possible: Callable[[Group], bool]) -> list[Group]:
    """The groups, merged where one cannot be turned on, or off again, without another."""

    def needed(first: Group, second: Group) -> bool:
        rest = [key for group in groups if group is not first for key in group]
        less = [key for key in rest if key not in second]
        return (not possible(first) and possible(first + second)) or (not possible(rest) and possible(less))

    while pair := next(((a, b) for a, b in permutations(groups, 2) if needed(a, b)), None):
        first, second = sorted(pair, key=groups.index)
        groups = [first + second if group is first else group for group in groups if group is not second]
    return groups


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Dotted names as tables show them: `lr` for optimizer.lr and `schedule` for schedule.name, if unambiguous."""

    def short(key: str) -> str:
        kind, _, name = key.rpartition(".")
        return kind if name == "name" and kind else name

    counts = Counter(map(short, keys))
    return {key: short(key) if counts[short(key)] == 1 else key for key in keys}


def _level(group: Iterable[str], own: Mapping[str, Any], other: Mapping[str, Any], short: Mapping[str, str]) -> str:
    """A level's name from the values of a group's settings in `own`; differs from the name for `other`."""
    first, *others = group
    texts = {key: _text(own[key], other.get(key, ABSENT)) for key in (first, *others) if key in own}
    beside = "; ".join(f"{short[key]} {texts[key]}" for key in others if key in texts)
    return f"{texts.get(first, 'none')} ({beside})" if beside else texts.get(first, "none")


def _text(value: Any, other: Any) -> str:
    """A value as text; numbers have four digits, or all if `other` would look the same."""
    if isinstance(value, float):
        rounded = f"{value:.4g}"
        same = isinstance(other, int | float) and other != value and f"{other:.4g}" == rounded
        return repr(value) if same else rounded
    if isinstance(value, list | tuple):
        return "+".join(map(str, value)) or "none"
    return value if isinstance(value, str) else json.dumps(value)
