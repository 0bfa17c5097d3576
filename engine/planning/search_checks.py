"""Checks a search before Ray starts: every bound, every choice and every condition of its space."""

from collections.abc import Collection, Iterable, Sequence

from core.yaml_text import MOST_FAULTS
from engine.planning.effect_checks import idle_in_search
from engine.planning.trial_factory import TrialFactory
from search_spaces.space_edges import edge_points, never_active
from search_spaces.spaces import Settings, random_points
from search_spaces.study import SearchStudy
from trainables.config import ConfigError, TrialConfig

DRAWS = 64
PATIENCE = "training.patience"
Point = tuple[str, Settings, TrialConfig]


def checked_search(
    study: SearchStudy, factory: TrialFactory, counting: Collection[str] | None
) -> tuple[TrialConfig | None, list[str]]:
    """(the baseline's configuration, faults): of the baseline, else of the space at its edges and at random points.

    The edges are exact: each is a proposal that the search may make. The random points find what only the meeting of
    settings makes impossible.
    """
    try:
        baseline = factory.config({})
    except ConfigError as error:
        return None, error.faults
    if faults := factory.faults(baseline):
        return baseline, faults
    edges, faults = resolved_edges(study, factory)
    drawn, wrong = _resolved([("", point) for point in random_points(study.space, DRAWS)], factory)
    faults = faults or wrong or idle_in_search(study, baseline, edges, counting)
    if counting is None and factory.options.epochs is None:  # which shortens a study for once
        faults += _idle_patience(study, [baseline, *(config for _, _, config in edges)])
    for _, _, config in [] if faults else [*edges, *drawn]:
        if found := factory.faults(config):
            return baseline, [f"space: {fault}" for fault in found]
    return baseline, faults


def _idle_patience(study: SearchStudy, configs: Sequence[TrialConfig]) -> list[str]:
    """A patience that no trial's budget outlasts; where the space varies it, that some proposal's budget does not."""
    pairs = [(config.training.patience, config.training.epochs) for config in configs]
    idle = [(patience, epochs) for patience, epochs in pairs if patience >= epochs]
    if not idle or (PATIENCE not in study.varied and len(idle) < len(pairs)):
        return []
    patience, epochs = idle[0]
    return [
        f"{'space: ' * (PATIENCE in study.varied)}{PATIENCE} = {patience} has no effect: training.epochs is {epochs}; "
        f"allowed: up to {epochs - 1}"
    ]


def resolved_edges(study: SearchStudy, factory: TrialFactory) -> tuple[list[Point], list[str]]:
    """(the parameter, the point and the configuration of every edge of the space, what is wrong with others)."""
    never = sorted(never_active(study.space))
    faults = [f"space: {key}: the conditions of its `when` never hold together" for key in never]
    resolved, wrong = _resolved(edge_points(study.space), factory)
    return resolved, faults + wrong


def _resolved(points: Iterable[tuple[str, Settings]], factory: TrialFactory) -> tuple[list[Point], list[str]]:
    """(points with their configurations, what is wrong with the others: each setting's each kind of fault once).

    It ends at MOST_FAULTS: a space of settings that do not exist has as many faults in each of thousands of points.
    """
    found, faults = [], dict[str, str]()
    for key, point in points:
        if len(faults) >= MOST_FAULTS:
            break
        try:
            found.append((key, point, factory.config(point)))
        except ConfigError as error:
            for fault in error.faults:
                component = f"{fault.partition('.')[0]}.name"
                told = component not in point or fault.startswith(component)
                where = "" if told else f"where {component} is {point[component]!r}"
                said = f"{fault}, {where}" if where else fault
                if where and key and fault.startswith(f"{key}: unknown setting"):
                    said = f"{key}: there is none {where}; say by its `when` where it exists"
                faults.setdefault(fault.partition(" (")[0], f"space: {said}")
    return found, list(faults.values())
