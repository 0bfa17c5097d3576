"""Ranges with a step: no other values, in every sampler, at the edges, in what a population changes, after a resume."""

import json
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState
from pydantic import TypeAdapter, ValidationError

from engine.planning.plan import objectives
from engine.search.sampler import OptunaStudy
from search_spaces.space_edges import edge_points
from search_spaces.spaces import AnyParameter, Choice, Number, grid, random_points, size, suggest, suggest_at
from search_spaces.study import SearchStudy, StudyError, parse_study

MOMENTUM = Number(key="optimizer.momentum", low=0.1, high=0.9, step=0.1)
HIDDEN = Number(key="model.hidden", kind="int", low=16, high=64, step=8)
TENTHS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
SPACE = (MOMENTUM, HIDDEN)


def stepped(low: int, steps: int, step: int, scale: int) -> Number:
    """A range of decimal fractions, as a user writes them."""
    return Number(
        key="optimizer.lr",
        low=float(f"{low}e-{scale}"),
        high=float(f"{low + steps * step}e-{scale}"),
        step=float(f"{step}e-{scale}"),
    )


RANGES = st.builds(stepped, st.integers(-50, 50), st.integers(1, 60), st.integers(1, 30), st.integers(0, 6))


def test_its_values_are_written_as_a_user_writes_them() -> None:
    assert list(MOMENTUM.values) == TENTHS
    assert list(HIDDEN.values) == [16, 24, 32, 40, 48, 56, 64]
    assert all(type(value) is int for value in HIDDEN.values)


@given(RANGES, st.floats(0, 1), st.integers(0, 10**6))
def test_whatever_is_proposed_is_one_of_its_values(number: Number, share: float, seed: int) -> None:
    values = list(number.values)
    assert (values[0], values[-1]) == number.bounds
    assert values == [float(f"{value:.12g}") for value in values] == sorted(set(values))
    assert number.at(share) in values
    assert (number.at(0), number.at(1)) == number.bounds
    (point,) = random_points((number,), 1, seed)
    assert point["optimizer.lr"] in values
    assert all(number.holds(value) and not number.holds(value + 0.3 * number.step) for value in values[:-1])
    assert all(number.distribution()._contains(number.encode(value)) for value in values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step": 0.0}, r"step 0 is none; allowed: above 0"),
        ({"step": -0.1}, r"step -0.1 is none"),
        ({"step": 0.3}, r"step 0.3 does not lead from low 0.1 to high 0.9; the nearest high are 0.7 and 1"),
        ({"step": 2.0}, r"step 2 is longer than the range from 0.1 to 0.9"),
        ({"step": 1e-300}, r"is too short: .* of them lead from 0.1 to 0.9"),
        ({"step": 0.1, "log": True}, r"step 0.1 has no meaning on a log scale; leave it out, or say log: false"),
        ({"kind": "int", "low": 1.0, "high": 9.0, "step": 0.5}, r"step 0.5 is no whole number"),
        ({"kind": "int", "low": 1.0, "high": 9.0, "step": 3.0}, r"the nearest high are 7 and 10"),
    ],
)
def test_a_step_that_is_none_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Number.model_validate({"key": "optimizer.momentum", "low": 0.1, "high": 0.9, **changes})


def test_a_space_of_steps_is_finite_and_a_grid_takes_it() -> None:
    space = (
        *SPACE,
        Choice(key="optimizer.nesterov", choices=(False, True, False), when={"optimizer.momentum": (0.9,)}),
    )
    assert size(space) == len(list(grid(space))) == 8 * 7 + 7 * 2
    assert SearchStudy(**ASKED, space=space, sampler="grid", samples=100).configurations == 70
    mixed = [{"key": "optimizer.lr", "low": 0.1, "high": 0.2}, HIDDEN.model_dump(mode="json")]
    with pytest.raises(StudyError, match=r"optimizer.lr are ranges without; give them a step"):
        parse_study({**ASKED, "space": mixed, "sampler": "grid"}, "s")


def test_a_grid_of_billions_begins_at_once() -> None:
    fine = tuple(Number(key=key, low=0.0, high=1.0, step=1e-9) for key in ("optimizer.lr", "optimizer.momentum"))
    assert next(grid(fine)) == {"optimizer.lr": 0.0, "optimizer.momentum": 0.0}
    assert size(fine, 5) == 5


ASKED: dict[str, Any] = {"name": "s", "workload": "digits", "epochs": 1, "metric": "test_accuracy"}


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "cmaes"])
def test_a_sampler_told_by_the_log_proposes_what_the_one_that_went_on_does(sampler: str) -> None:
    """The log holds 0.3, and Optuna's own sum 0.30000000000000004: a resumed search must not see the difference."""
    study = SearchStudy(**ASKED, space=SPACE, sampler=sampler, samples=40)

    def run(resumed_at: int) -> list[dict[str, Any]]:
        asked, points = OptunaStudy(study, objectives(study), None), list[dict[str, Any]]()
        asked.choose_sampler(0)
        for number in range(25):
            if number == resumed_at and sampler != "cmaes":  # whose state is its own
                asked = OptunaStudy(study, objectives(study), None)
                for point in json.loads(json.dumps(points)):
                    asked.add(point, TrialState.COMPLETE, [loss(point)], {})
            trial = next(asked.candidates(number, lambda point: False))
            points.append(suggest(study.space, trial))
            assert {key: SPACE[i].encode(points[-1][key]) for i, key in enumerate(trial.params)} == trial.params
            asked.tell(trial, TrialState.COMPLETE, [loss(points[-1])])
        return points

    whole = run(-1)
    assert all(MOMENTUM.holds(point["optimizer.momentum"]) and HIDDEN.holds(point["model.hidden"]) for point in whole)
    assert len({point["optimizer.momentum"] for point in whole}) > 3
    assert run(12) == run(20) == whole


def loss(point: dict[str, Any]) -> float:
    return (point["optimizer.momentum"] - 0.3) ** 2 + point["model.hidden"] / 640


def test_sobol_shares_reach_every_value_equally() -> None:
    found = [suggest_at((HIDDEN,), [share]) for share in np.linspace(0, 1, 7001)[:-1]]
    values, counts = np.unique([point["model.hidden"] for point in found], return_counts=True)
    assert values.tolist() == list(HIDDEN.values)
    assert set(counts) == {1000}


def test_a_value_between_two_steps_is_refused_and_both_are_named() -> None:
    points = [{"optimizer.momentum": 0.25, "model.hidden": 17}, {"optimizer.momentum": 1.5}]
    space = [parameter.model_dump(mode="json") for parameter in SPACE]
    with pytest.raises(StudyError) as error:
        parse_study({**ASKED, "space": space, "enqueue": points}, "s")
    first, second, third = error.value.faults
    assert "optimizer.momentum: 0.25 is outside of the space" in first
    assert '"step": 0.1}; the nearest are 0.2 and 0.3' in first
    assert "whole numbers from 16 to 64 in steps of 8; the nearest are 16 and 24" in second
    assert third.endswith('"step": 0.1}')


def test_a_condition_may_name_a_value_of_a_step_and_no_other() -> None:
    assert MOMENTUM.never(0.3) is None
    assert "the nearest are 0.3 and 0.4" in str(MOMENTUM.never(0.35))
    under = Choice(key="optimizer.nesterov", choices=(False, True), when={"optimizer.momentum": (0.3,)})
    points = [point for key, point in edge_points((MOMENTUM, under)) if key == under.key]
    assert {point["optimizer.momentum"] for point in points} == {0.3}


@given(RANGES, st.floats(0, 1), st.sampled_from([0.8, 1.0, 1.2]))
def test_a_population_stays_on_the_steps_and_moves_where_it_can(number: Number, share: float, factor: float) -> None:
    value, values = number.at(share), list(number.values)
    moved = number.times(value, factor)
    assert moved in values
    if factor == 1:
        assert moved == value
    elif moved == value:
        assert value == values[-1 if (factor - 1) * (value or 1) > 0 else 0]


def test_a_range_without_a_step_is_recorded_as_before() -> None:
    free = Number(key="optimizer.lr", low=0.1, high=0.2)
    assert "step" not in free.model_dump(mode="json")
    assert free.times(0.11, 1.2) == 0.11 * 1.2
    again = TypeAdapter(AnyParameter).validate_json(json.dumps(MOMENTUM.model_dump(mode="json")))
    assert again == MOMENTUM
    optuna.distributions.check_distribution_compatibility(free.distribution(), free.distribution())


def test_a_file_gives_a_whole_number_its_steps() -> None:
    tree = {**ASKED, "space": [{"key": "model.hidden", "low": 16, "high": 64, "step": 16}]}
    study = parse_study(tree, "s")
    assert isinstance(study, SearchStudy)
    assert [point["model.hidden"] for point in grid(study.space)] == [16, 32, 48, 64]
