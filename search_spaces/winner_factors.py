"""From a search's winner to factors: what it changed of the default configuration, a factor a setting.

A conditional setting moves with the one it depends on, and settings that cannot be without each other move together.
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
"""settings that one factor changes, by their dotted names; the first one names it"""


def factors_between(
    space: Space, point: Mapping[str, Any], default: Mapping[str, Any], possible: Callable[[Group], bool]
) -> tuple[Factor, ...]:
    """A factor for everything of `space` in which the configuration of `point` differs from the default one.

    `default` is that configuration as a nested dict. Of each factor the first level changes nothing and the second has
    the point's values. `possible` says whether the default with these settings of the point is a configuration.
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
    """The default configuration as a point of the space, as far as it is one."""
    chosen: dict[str, Any] = {}
    for parameter in space:
        value = find(default, parameter.key)
        if value is not ABSENT and parameter.active(chosen):
            chosen[parameter.key] = value
    return chosen


def _groups(
    space: Space, point: Mapping[str, Any], default: Mapping[str, Any], standard: Mapping[str, Any]
) -> list[Group]:
    """The settings that differ, each with those of either configuration that depend on it, and so on down."""
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
    """The groups, of which any that cannot be turned on, or back, without a certain other is one with it."""

    def needed(first: Group, second: Group) -> bool:
        rest = [key for group in groups if group is not first for key in group]
        less = [key for key in rest if key not in second]
        return (not possible(first) and possible(first + second)) or (not possible(rest) and possible(less))

    while pair := next(((a, b) for a, b in permutations(groups, 2) if needed(a, b)), None):
        first, second = sorted(pair, key=groups.index)
        groups = [first + second if group is first else group for group in groups if group is not second]
    return groups


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Dotted names as tables show them: `lr` for optimizer.lr and `schedule` for schedule.name, where only one is."""

    def short(key: str) -> str:
        kind, _, name = key.rpartition(".")
        return kind if name == "name" and kind else name

    counts = Counter(map(short, keys))
    return {key: short(key) if counts[short(key)] == 1 else key for key in keys}


def _level(group: Iterable[str], own: Mapping[str, Any], other: Mapping[str, Any], short: Mapping[str, str]) -> str:
    """What the settings of a group are in `own`, in words that differ from those of `other`."""
    first, *others = group
    texts = {key: _text(own[key], other.get(key, ABSENT)) for key in (first, *others) if key in own}
    beside = "; ".join(f"{short[key]} {texts[key]}" for key in others if key in texts)
    return f"{texts.get(first, 'none')} ({beside})" if beside else texts.get(first, "none")


def _text(value: Any, other: Any) -> str:
    """A setting as a level's name; four digits of a number, or more where `other` would look the same."""
    if isinstance(value, float):
        rounded = f"{value:.4g}"
        same = isinstance(other, int | float) and other != value and f"{other:.4g}" == rounded
        return repr(value) if same else rounded
    if isinstance(value, list | tuple):
        return "+".join(map(str, value)) or "none"
    return value if isinstance(value, str) else json.dumps(value)
