"""How long trials take on the places that they share."""

from random import Random

import pytest

from engine.forecast.makespan import SIMULATIONS, Work, makespan, scheduled, stopped_early
from search_spaces.spaces import Number
from search_spaces.study import SearchStudy
from search_spaces.trial_schedulers import ASHA, PBT, TRIAL_SCHEDULERS, Median

LR = Number(key="optimizer.lr", low=0.01, high=0.1)
ONE = Work(0.0, 1, 1.0)


def search(samples: int, epochs: int, **fields: object) -> SearchStudy:
    return SearchStudy(name="t", workload="digits", epochs=epochs, space=(LR,), samples=samples, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(("trials", "places", "rounds"), [(16, 3, 6), (16, 2, 8), (2, 8, 1), (1, 1, 1), (0, 3, 0)])
def test_equal_trials_take_whole_rounds(trials: int, places: int, rounds: int) -> None:
    assert makespan([ONE] * trials, places) == rounds


def test_a_long_trial_that_begins_last_is_waited_for() -> None:
    works = [*[ONE] * 4, Work(1.0, 3, 3.0)]
    assert makespan(works, 2) == 2 + 10
    assert makespan(works[::-1], 2) == 10


def test_a_scheduler_that_stops_nothing_leaves_the_makespan_as_it_is() -> None:
    draws = Random(0)
    for _ in range(20):
        works = [Work(draws.random(), draws.randint(1, 5), draws.random()) for _ in range(draws.randint(1, 12))]
        places = draws.randint(1, 4)
        assert stopped_early(works, places, lambda *_: False) == pytest.approx(makespan(works, places))


def test_a_stopped_trial_gives_its_place_to_the_next() -> None:
    works = [Work(0.5, 10, 1.0)] * 3
    assert stopped_early(works, 1, lambda trial, epoch: trial < 2 and epoch == 2) == 2.5 + 2.5 + 10.5


@pytest.mark.parametrize("scheduler", [ASHA(), ASHA(brackets=2), TRIAL_SCHEDULERS["hyperband"](), Median()])
def test_a_trial_scheduler_saves_time_but_not_the_first_epochs(scheduler: object) -> None:
    works = [Work(0.0, 18, 1.0)] * 24
    found = scheduled(search(24, 18, trial_scheduler=scheduler), works, 2)
    assert len(found) == SIMULATIONS
    assert all(24 * 2 / 2 <= seconds < 24 * 18 / 2 for seconds in found)


def test_a_sampler_that_learns_has_more_trials_that_go_on() -> None:
    works = [Work(0.0, 27, 1.0)] * 60
    random, tpe = (
        scheduled(search(60, 27, trial_scheduler=ASHA(), sampler=name), works, 2) for name in ("random", "tpe")
    )
    assert sum(tpe) > sum(random)


def test_a_population_waits_for_its_last_member_after_each_generation() -> None:
    study = search(5, 10, sampler="random", trial_scheduler=PBT(interval=0.5))
    assert scheduled(study, [Work(1.0, 10, 1.0)] * 5, 2) == [2 * 3 * (1 + 5)]


def test_the_rest_of_a_population_s_member_takes_its_last_epochs_alone() -> None:
    study = search(4, 10, sampler="random", trial_scheduler=PBT(interval=0.5))
    assert scheduled(study, [Work(1.0, 3, 1.0)] * 4, 2) == [2 * (1 + 3)]
