"""What a search's winner changed, as factors: against groups and names written by hand, and configurations resolved."""

import importlib
from collections.abc import Mapping
from typing import Any

import pytest

from search_spaces.factors import Factor
from search_spaces.registry import STUDIES
from search_spaces.spaces import Choice, Number, Space
from search_spaces.study import SearchStudy
from search_spaces.winner_factors import ABSENT, factors_between, find, short_names
from tests.search_spaces.test_every_study import points
from trainables.config import ConfigError, TrialConfig, resolve
from trainables.registry import WORKLOADS

HOME = {"dataset.name": "digits", "model.name": "small_cnn"}
SCHEDULE = (
    Choice(key="schedule.name", choices=("constant", "step", "cosine")),
    Number(key="schedule.gamma", when={"schedule.name": ("step",)}),
)
DROPOUT = (
    Choice(key="model.dropout_after", choices=([], ["flatten"], ["relu_fc1"])),
    Number(key="model.dropout_rate", low=0.1, high=0.9, when={"model.dropout_after": (["flatten"], ["relu_fc1"])}),
)


def between(space: Space, point: Mapping[str, Any], **baseline: Any) -> tuple[Factor, ...]:
    """Factors from the default of `baseline` (dots written as __) to the point."""
    base = {**HOME, **{key.replace("__", "."): value for key, value in baseline.items()}}

    def possible(group: list[str]) -> bool:
        try:
            resolve(base, {key: point[key] for key in group})
        except ConfigError:
            return False
        return True

    return factors_between(space, point, resolve(base).model_dump(mode="json"), possible)


def words(factors: tuple[Factor, ...]) -> dict[str, tuple[str, str]]:
    return {factor.name: tuple(level.name for level in factor.levels) for factor in factors}  # type: ignore[misc]


def test_only_what_differs_is_a_factor() -> None:
    space = (Number(key="optimizer.lr"), Number(key="optimizer.momentum"), Number(key="optimizer.weight_decay"))
    made = between(space, {"optimizer.lr": 0.0312345, "optimizer.momentum": 0.0, "optimizer.weight_decay": 0.001})
    assert words(made) == {"lr": ("0.01", "0.03123"), "weight_decay": ("0", "0.001")}
    assert [level.settings for level in made[0].levels] == [{}, {"optimizer.lr": 0.0312345}]


def test_a_condition_s_settings_move_with_the_one_they_depend_on() -> None:
    point = {
        "schedule.name": "step",
        "schedule.gamma": 0.5,  # the default's own, and yet of no use without the schedule
        "model.dropout_after": ["relu_fc1"],
        "model.dropout_rate": 0.3,
    }
    made = between((*SCHEDULE, *DROPOUT), point)
    assert words(made) == {
        "schedule": ("constant", "step (gamma 0.5)"),
        "dropout_after": ("none", "relu_fc1 (dropout_rate 0.3)"),
    }
    assert made[0].levels[1].settings == {"schedule.name": "step", "schedule.gamma": 0.5}
    assert made[1].levels[1].settings == {"model.dropout_after": ["relu_fc1"], "model.dropout_rate": 0.3}


def test_a_condition_s_setting_alone_is_a_factor_of_its_own() -> None:
    point = {"schedule.name": "step", "schedule.gamma": 0.1}
    made = between(SCHEDULE, point, schedule__name="step")
    assert words(made) == {"gamma": ("0.5", "0.1")}


def test_what_the_winner_turned_off_is_named_with_what_went_with_it() -> None:
    made = between(SCHEDULE, {"schedule.name": "cosine"}, schedule__name="step", schedule__gamma=0.25)
    assert words(made) == {"schedule": ("step (gamma 0.25)", "cosine")}
    assert made[0].levels[1].settings == {"schedule.name": "cosine"}


def test_conditions_move_down_every_generation_also_past_one_that_did_not_change() -> None:
    space = (
        Choice(key="optimizer.name", choices=("sgd", "adam")),
        Number(key="optimizer.momentum", when={"optimizer.name": ("sgd",)}),
        Choice(key="optimizer.nesterov", choices=(True, False), when={"optimizer.momentum": (0.0, 0.5)}),
    )
    point = {"optimizer.name": "sgd", "optimizer.momentum": 0.5, "optimizer.nesterov": True}
    made = between(space, point, optimizer__name="adam")
    assert words(made) == {"optimizer": ("adam", "sgd (momentum 0.5; nesterov true)")}


def test_a_setting_of_two_that_changed_makes_them_one() -> None:
    space = (
        Choice(key="model.bn_after", choices=([], ["conv1"])),
        Choice(key="schedule.name", choices=("constant", "cosine")),
        Number(key="optimizer.lr", when={"model.bn_after": (["conv1"],), "schedule.name": ("cosine",)}),
    )
    made = between(space, {"model.bn_after": ["conv1"], "schedule.name": "cosine", "optimizer.lr": 0.5})
    assert words(made) == {"bn_after": ("none (schedule constant)", "conv1 (schedule cosine; lr 0.5)")}


def test_settings_that_cannot_be_without_each_other_move_together_though_no_condition_says_so() -> None:
    space = (
        Choice(key="optimizer.name", choices=("sgd", "rmsprop")),
        Number(key="optimizer.lr"),
        Number(key="optimizer.momentum"),  # adam, the default, has none
    )
    point = {"optimizer.name": "sgd", "optimizer.lr": 0.1, "optimizer.momentum": 0.9}
    made = between(space, point, optimizer__name="adam")
    assert words(made) == {"optimizer": ("adam", "sgd (momentum 0.9)"), "lr": ("0.001", "0.1")}
    space = (Choice(key="optimizer.nesterov", choices=(True, False)), Number(key="optimizer.momentum"))
    made = between(space, {"optimizer.nesterov": True, "optimizer.momentum": 0.9})
    assert words(made) == {"nesterov": ("false (momentum 0)", "true (momentum 0.9)")}


def test_numbers_that_look_alike_are_written_out() -> None:
    made = between((Number(key="optimizer.lr"),), {"optimizer.lr": 0.010000001})
    assert words(made) == {"lr": ("0.01", "0.010000001")}


def test_names_are_short_where_that_says_which() -> None:
    assert short_names(["optimizer.lr", "schedule.name", "optimizer.name", "training.epochs"]) == {
        "optimizer.lr": "lr",
        "schedule.name": "schedule",
        "optimizer.name": "optimizer",
        "training.epochs": "epochs",
    }
    assert short_names(["a.rate", "b.rate"]) == {"a.rate": "a.rate", "b.rate": "b.rate"}


def test_the_default_itself_leaves_nothing() -> None:
    assert between(SCHEDULE, {"schedule.name": "constant"}) == ()


@pytest.mark.parametrize("name", [name for name, study in STUDIES.items() if isinstance(study, SearchStudy)])
def test_of_every_search_all_factors_together_make_the_winner_and_each_alone_is_a_configuration(name: str) -> None:
    study = STUDIES[name]
    assert isinstance(study, SearchStudy)
    for point in points(name, 30):
        tree = configuration(name).model_dump(mode="json")
        standard = {key: value for key in point if (value := find(tree, key)) is not ABSENT}
        assert configuration(name, standard) == configuration(name)

        def possible(group: list[str], standard: Any = standard, point: Any = point) -> bool:
            try:
                configuration(name, standard, {key: point[key] for key in group})
            except ConfigError:
                return False
            return True

        made = factors_between(study.space, point, tree, possible)
        settings = [factor.levels[1].settings for factor in made]
        for each in settings:
            configuration(name, standard, each)
        together = {key: value for each in settings for key, value in each.items()}
        assert configuration(name, standard, together) == configuration(name, point)


def configuration(name: str, *layers: Mapping[str, Any]) -> TrialConfig:
    study = STUDIES[name]
    module, _, attribute = WORKLOADS[study.workload][0].partition(":")
    defaults = getattr(importlib.import_module(module), attribute).defaults()
    place = {"dataset.path": "pictures"} if study.workload.startswith("folder") else {}
    return resolve(defaults, {"training.epochs": study.epochs}, study.baseline, place, *layers)
