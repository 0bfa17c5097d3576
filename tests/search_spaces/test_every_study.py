"""Contracts of every registered study: each of its cells and sampled points is a configuration of its workload."""

import importlib
from typing import Any

import optuna
import pytest

from search_spaces.registry import STUDIES
from search_spaces.spaces import suggest
from search_spaces.study import AblationStudy, SearchStudy
from trainables.config import TrialConfig, flatten, resolve
from trainables.registry import WORKLOADS

ABLATIONS = [name for name, study in STUDIES.items() if isinstance(study, AblationStudy)]
SEARCHES = [name for name, study in STUDIES.items() if isinstance(study, SearchStudy)]


def resolved(name: str, settings: dict[str, Any]) -> TrialConfig:
    """As the plan makes it; where the data lies is the user's to say."""
    study = STUDIES[name]
    module, _, attribute = WORKLOADS[study.workload][0].partition(":")
    owner = getattr(importlib.import_module(module), attribute)
    place = {"dataset.path": "pictures"} if study.workload.startswith("folder") else {}
    return resolve(owner.defaults(), {"training.epochs": study.epochs}, study.baseline, place, settings)


def points(name: str, n: int) -> list[dict[str, Any]]:
    study = STUDIES[name]
    assert isinstance(study, SearchStudy)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    drawing = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [suggest(study.space, drawing.ask()) for _ in range(n)]


def test_the_registry_holds_both_kinds_under_their_own_names() -> None:
    assert ABLATIONS
    assert SEARCHES
    assert all(study.name == name for name, study in STUDIES.items())
    assert all(study.question.endswith("?") for study in STUDIES.values())


@pytest.mark.parametrize("name", STUDIES)
def test_the_workload_exists(name: str) -> None:
    assert STUDIES[name].workload in WORKLOADS


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_cell_resolves_to_a_configuration_of_its_own(name: str) -> None:
    cells = STUDIES[name].layout().cells
    configs = [resolved(name, dict(cell.settings)) for cell in cells]
    assert len(set(map(TrialConfig.model_dump_json, configs))) == len(cells)


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_cell_s_settings_take_effect(name: str) -> None:
    for cell in STUDIES[name].layout().cells:
        found = flatten(resolved(name, dict(cell.settings)))
        for key, value in cell.settings.items():
            assert found[key] == value, f"{cell.name}: {key}"


@pytest.mark.parametrize("name", [name for name in ABLATIONS if STUDIES[name].design != "ladder"])
def test_but_for_the_rungs_of_a_ladder_no_two_factors_set_the_same(name: str) -> None:
    keys = [key for factor in STUDIES[name].factors for key in factor.keys]
    assert len(keys) == len(set(keys)) == len(STUDIES[name].varied)


@pytest.mark.parametrize("name", SEARCHES)
def test_every_point_of_a_space_resolves_with_the_values_that_were_drawn(name: str) -> None:
    for point in points(name, 200):
        found = flatten(resolved(name, point))
        assert {key: found[key] for key in point} == point


@pytest.mark.parametrize("name", SEARCHES)
def test_every_parameter_of_a_space_is_drawn_and_changes_the_configuration(name: str) -> None:
    drawn = points(name, 200)
    for parameter in STUDIES[name].space:
        values = {repr(point[parameter.key]) for point in drawn if parameter.key in point}
        assert len(values) > 1, parameter.key
