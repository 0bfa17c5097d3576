"""Finds settings that a study gives although no trial of it would be any different without them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces.designs import Cell
from search_spaces.spaces import Settings
from search_spaces.study import AblationStudy, SearchStudy
from trainables.config import TrialConfig
from trainables.effects import no_effect


@dataclass(frozen=True)
class Resolved:
    """Settings laid over the baseline, and the configuration that they give."""

    settings: Mapping[str, Any]
    config: TrialConfig

    def idle(self, key: str, value: Any) -> str | None:
        """Why the value that a setting was given lower down counts for nothing here; None if it counts."""
        for other, own in self.settings.items():
            if (other == key and own != value) or key.startswith(f"{other}."):
                return f"it is {own!r} there, by {other}"
        return no_effect(self.config, key)


def idle_in_ablation(
    study: AblationStudy, cells: Sequence[tuple[Cell, TrialConfig]], counting: Collection[str] | None
) -> list[str]:
    """Settings of the baseline that count in no cell, and settings of a level that count in no cell of that level."""
    found = [(cell, Resolved(cell.settings, config)) for cell, config in cells]
    faults = _idle_in_baseline(study.baseline, [resolved for _, resolved in found], counting)
    for factor in study.factors:
        for level in factor.levels if counting is None else ():
            own = [resolved for cell, resolved in found if cell.levels.get(factor.name) == level.name]
            for key, value in level.settings.items():
                if reason := _idle_everywhere(key, value, own):
                    faults.append(f"{factor.name}={level.name}: {key} = {value!r} has no effect: {reason}")
    return faults


def idle_in_search(
    study: SearchStudy,
    baseline: TrialConfig,
    points: Sequence[tuple[str, Settings, TrialConfig]],
    counting: Collection[str] | None,
) -> list[str]:
    """Settings of the baseline that no proposal uses, and parameters that some proposals have without using them.

    `points`: (the parameter that a point is about, the point, its configuration). What the space varies counts in the
    baseline itself, which `confirm` holds the winners against.
    """
    found = [Resolved(point, config) for point, config in [({}, baseline), *((at, own) for _, at, own in points)]]
    faults = _idle_in_baseline(study.baseline, found, counting)
    told = set()
    for key, _, config in points if counting is None else ():
        if key not in told and (reason := no_effect(config, key)):
            told.add(key)
            faults.append(f"space: {key} has no effect where {reason}; say by its `when` where it has one")
    return faults


def _idle_in_baseline(baseline: Settings, found: Sequence[Resolved], counting: Collection[str] | None) -> list[str]:
    return [
        f"{key} = {value!r} has no effect: {reason}"
        for key, value in baseline.items()
        if (counting is None or key in counting) and (reason := _idle_everywhere(key, value, found))
    ]


def _idle_everywhere(key: str, value: Any, found: Sequence[Resolved]) -> str | None:
    """The reasons why a setting counts in none of the configurations; None if it does in one, or there are none."""
    reasons = [resolved.idle(key, value) for resolved in found]
    if not reasons or None in reasons:
        return None
    return "; ".join(dict.fromkeys(filter(None, reasons[:2])))
