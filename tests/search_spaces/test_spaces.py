"""One space, three readings: Optuna's trials, Ray's variants, and the grid all keep its bounds and conditions."""

import itertools
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from core.component import Range
from search_spaces.spaces import AnyParameter, Choice, Number, Space, grid, order_faults, random_points, size
from tests.conftest import ROOT
from trainables.config import domain

SPACE: Space = (
    Choice(key="optimizer.name", choices=("sgd", "adam")),
    Number(key="optimizer.lr", low=1e-4, high=1e-1, log=True),
    Number(key="optimizer.momentum", low=0.5, high=0.99, when={"optimizer.name": ("sgd",)}),
    Choice(key="model.dropout_after", choices=([], ["conv1"], ["conv1", "conv2"])),
    Number(key="model.dropout_rate", when={"model.dropout_after": (["conv1"], ["conv1", "conv2"])}),
    Number(key="training.batch_size", kind="int"),
    Number(key="model.hidden", kind="int", low=3, high=5, when={"model.dropout_rate": ()}),
)
CHOICES: Space = (
    Choice(key="optimizer.name", choices=("sgd", "adam", "adamw")),
    Choice(key="optimizer.momentum", choices=(0.0, 0.9), when={"optimizer.name": ("sgd",)}),
    Choice(key="optimizer.nesterov", choices=(False, True), when={"optimizer.momentum": (0.9,)}),
    Choice(key="model.bn_after", choices=([], ["conv1"])),
)


def expected_keys(space: Space, drawn: dict[str, Any]) -> set[str]:
    """By the words of the docstring: a parameter exists where every one it depends on exists with an allowed value."""
    keys: set[str] = set()
    for parameter in space:
        if all(key in keys and drawn.get(key) in values for key, values in parameter.when.items()):
            keys.add(parameter.key)
    return keys


def test_conditions_hold_and_every_side_of_them_is_drawn() -> None:
    drawn = random_points(SPACE, 200)
    for config in drawn:
        assert set(config) == expected_keys(SPACE, config)
        assert "model.hidden" not in config
    for key in ("optimizer.momentum", "model.dropout_rate"):
        assert 0 < sum(key in config for config in drawn) < len(drawn)


def test_bounds_hold_and_are_approached() -> None:
    drawn = random_points(SPACE, 400)
    rates = [config["optimizer.lr"] for config in drawn]
    assert 1e-4 <= min(rates) < 1.5e-4
    assert 0.07 < max(rates) <= 1e-1
    assert np.median(np.log10(rates)) == pytest.approx(-2.5, abs=0.25)  # log scale: as many below 10^-2.5 as above
    sizes = [config["training.batch_size"] for config in drawn]
    assert all(isinstance(value, int | np.integer) for value in sizes)
    assert 16 <= min(sizes) < 20
    assert 200 < max(sizes) <= 256
    assert {json.dumps(config["model.dropout_after"]) for config in drawn} == {"[]", '["conv1"]', '["conv1", "conv2"]'}


@pytest.mark.parametrize("log", [False, True])
def test_whole_numbers_reach_both_of_their_bounds(log: bool) -> None:
    space = (Number(key="model.hidden", kind="int", low=2, high=5, log=log),)
    assert {int(config["model.hidden"]) for config in random_points(space, 200)} == {2, 3, 4, 5}


def test_the_same_seed_proposes_the_same_and_another_seed_does_not() -> None:
    assert random_points(SPACE, 20) == random_points(SPACE, 20) != random_points(SPACE, 20, seed=1)


ANOTHER_PROCESS = """
import json
from search_spaces.spaces import random_points
from tests.search_spaces.test_spaces import SPACE
print(json.dumps(random_points(SPACE, 20)))
"""


def test_the_same_seed_proposes_the_same_in_another_process() -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    printed = subprocess.check_output([sys.executable, "-c", ANOTHER_PROCESS], cwd=ROOT, env=environment)
    assert json.loads(printed) == random_points(SPACE, 20)


def test_a_parameter_without_bounds_takes_those_written_beside_the_setting() -> None:
    assert domain("optimizer.weight_decay") == Range(1e-6, 1e-2, log=True)
    number = Number(key="optimizer.weight_decay")
    assert (*number.bounds, number.log) == (1e-6, 1e-2, True)
    assert not Number(key="optimizer.weight_decay", log=False).log
    assert Number(key="optimizer.weight_decay", low=0.1, high=0.2).bounds == (0.1, 0.2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"key": "optimizer.nonsense"}, "optimizer.nonsense: no range is written beside this setting"),
        ({"key": "optimizer.lr", "low": 0.1}, "low 0.1 and high None are no range"),
        ({"key": "optimizer.lr", "low": 0.2, "high": 0.1}, "low 0.2 and high 0.1 are no range"),
        ({"key": "optimizer.lr", "low": 0.1, "high": 0.1}, "are no range"),
        ({"key": "optimizer.lr", "low": 0.0, "high": 0.1, "log": True}, "are no range of logs"),
        ({"key": "model.hidden", "kind": "int", "low": 0.5, "high": 3.0}, "low 0.5 and high 3.0 are no whole numbers"),
        ({"key": "optimizer.lr", "lo": 0.1}, "Extra inputs"),
        ({"key": "optimizer.lr", "low": float("nan"), "high": 1.0}, "finite"),
    ],
)
def test_a_number_that_is_no_range_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Number.model_validate(settings)


def test_a_choice_of_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 1"):
        Choice(key="optimizer.name", choices=())


@pytest.mark.parametrize("parameter", SPACE, ids=lambda parameter: parameter.key)
def test_a_parameter_of_every_kind_comes_back_from_its_json(parameter: Number | Choice) -> None:
    adapter = TypeAdapter(AnyParameter)
    again = adapter.validate_json(json.dumps(parameter.model_dump(mode="json")))
    assert again.model_dump(mode="json") == parameter.model_dump(mode="json")
    assert type(again) is type(parameter)


def test_the_spaces_of_these_tests_hold_every_kind_of_parameter() -> None:
    kinds = {parameter.kind for parameter in SPACE}
    assert kinds == {"float", "int", "choice"}


def brute_force(space: Space) -> Iterator[dict[str, Any]]:
    """Every assignment of a value or nothing to every parameter, kept where the conditions allow exactly that."""
    absent = object()
    for values in itertools.product(*[(*parameter.choices, absent) for parameter in space]):
        config = {p.key: value for p, value in zip(space, values, strict=True) if value is not absent}
        if set(config) == expected_keys(space, config):
            yield config


def canonical(configs: Any) -> list[str]:
    return sorted(json.dumps(config, sort_keys=True) for config in configs)


def test_the_grid_is_every_distinct_configuration_once() -> None:
    assert canonical(grid(CHOICES)) == canonical(brute_force(CHOICES))
    assert size(CHOICES) == len(list(brute_force(CHOICES))) == 2 * (1 + 2 + 2)


def test_a_space_with_a_range_has_no_size() -> None:
    assert size(SPACE) is None
    assert size((Number(key="model.hidden", kind="int", low=2, high=5),)) is None
    assert size((*CHOICES, Number(key="optimizer.lr"))) is None


def test_choices_given_twice_count_once() -> None:
    assert size((Choice(key="optimizer.name", choices=("sgd", "sgd", "adam")),)) == 2


def test_a_choice_is_the_same_number_however_it_is_written() -> None:
    mixup = Choice(key="training.mixup", choices=(0, 0.2))
    assert mixup.holds(0.0)
    assert mixup.encode(0.0) == mixup.encode(0) == "0"
    assert not mixup.holds(False)
    assert mixup.never("0") is not None
    assert Choice(key="augmentation.crop_scale", choices=([0.5, 1.0],)).holds([0.5, 1])
    assert Choice(key="k", choices=(0.0, 0)).encode(0) == "0"


def test_every_point_of_a_small_grid_is_drawn() -> None:
    assert set(canonical(random_points(CHOICES, 300))) == set(canonical(grid(CHOICES)))


def test_a_space_in_order_has_no_faults() -> None:
    assert not [*order_faults(SPACE), *order_faults(CHOICES)]


def test_every_parameter_out_of_order_or_twice_is_named() -> None:
    name, momentum, nesterov, norm = CHOICES
    assert list(order_faults((momentum, name))) == [
        (0, "space: optimizer.momentum depends on optimizer.name, which must stand before it")
    ]
    assert list(order_faults((name, nesterov, norm, name))) == [
        (1, "space: optimizer.nesterov depends on optimizer.momentum, which must stand before it"),
        (3, "space: optimizer.name stands twice"),
    ]


@pytest.mark.parametrize("seed", range(40))
def test_the_size_of_a_space_is_what_its_grid_holds_whatever_the_conditions(seed: int) -> None:
    draw = random.Random(seed)
    space: list[Choice | Number] = []
    for i in range(draw.randint(1, 6)):
        before = draw.sample(space, draw.randint(0, min(2, len(space))))
        when = {each.key: tuple(draw.sample(list(each.values), draw.randint(1, 2))) for each in before}
        if draw.random() < 0.5:
            space.append(Choice(key=f"model.k{i}", choices=tuple(draw.sample([1, 2, "a", [3]], 3)), when=when))
        else:
            space.append(Number(key=f"model.k{i}", low=0, high=draw.randint(1, 3) / 2, step=0.5, when=when))
    held = len(list(grid(space)))
    assert size(space) == held
    assert [size(space, most) for most in (1, held, held + 1)] == [1, held, held]


def test_a_billion_billion_configurations_are_counted_at_once_and_conditions_that_cannot_be_are_refused() -> None:
    many = [Choice(key=f"model.k{i}", choices=tuple(range(100))) for i in range(9)]
    assert (size(many), size(many, 10**6)) == (10**18, 10**6)
    first = [Choice(key=f"model.a{i}", choices=(0, 1)) for i in range(16)]
    last = [Choice(key=f"model.b{i}", choices=(0,), when={f"model.a{i}": (0,)}) for i in range(16)]
    with pytest.raises(ValueError, match="more than 20,000 combinations; allowed: fewer samples"):
        size([*first, *last], 10**6)
    assert size([*first, *last], 1000) == 1000
