"""How trials are handed to Ray: long ones one by one, short ones in bundles that shrink towards the end."""

from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from engine.feeder import BUNDLE_SECONDS, Feeder
from trainables.trial import TrialSpec


def spec(number: int) -> TrialSpec:
    return TrialSpec(str(number), "c", 0, {}, "", "", str(Path.cwd()))


def all_of(feeder: Feeder, seconds: float) -> list[list[str]]:
    """The trials of every bundle, each ending after `seconds` before the next but one is handed out."""
    handed: list[list[str]] = []
    while isinstance(config := feeder.suggest("ray"), dict):
        handed.append([item["spec"]["trial"] for item in config["bundle"]])
        for trial in handed[-1]:
            feeder.took(seconds)
            feeder.over(trial)
    assert config == Searcher.FINISHED
    return handed


def queue(n: int, processes: int | None) -> Feeder:
    feeder = Feeder(spec(number) for number in range(n))
    feeder.processes = processes
    return feeder


def test_every_trial_is_handed_out_once_and_in_order() -> None:
    bundles = all_of(queue(200, 2), 0.0)
    assert [trial for bundle in bundles for trial in bundle] == [str(number) for number in range(200)]


def test_bundles_wait_for_a_first_measure_and_shrink_towards_the_end() -> None:
    sizes = [len(bundle) for bundle in all_of(queue(1000, 2), 0.1)]
    assert sizes[:2] == [1, 1]
    assert max(sizes) == sizes[2] == BUNDLE_SECONDS / 0.1
    assert sizes[2:] == sorted(sizes[2:], reverse=True)
    assert sizes[-2:] == [1, 1]


def test_long_trials_and_those_that_a_scheduler_decides_on_go_alone() -> None:
    assert {len(bundle) for bundle in all_of(queue(50, 2), BUNDLE_SECONDS)} == {1}
    assert {len(bundle) for bundle in all_of(queue(50, None), 0.0)} == {1}


def test_one_long_trial_among_short_ones_lets_the_next_go_alone() -> None:
    feeder = queue(50, 2)
    for seconds in (*[0.1] * 19, 3600.0):
        feeder.took(seconds)
    first: Any = feeder.suggest("ray")
    assert len(first["bundle"]) == 1


def test_while_a_bundle_runs_the_feeder_waits_for_what_it_may_give_back() -> None:
    feeder = queue(9, 1)
    feeder.took(0.0)
    first: Any = feeder.suggest("ray")
    assert len(first["bundle"]) == 4
    while isinstance(last := feeder.suggest("ray"), dict):
        for item in last["bundle"]:
            feeder.over(item["spec"]["trial"])
    assert last is None
    for item in first["bundle"][:2]:
        feeder.over(item["spec"]["trial"])
    feeder.take_back(first["bundle"][3:])
    feeder.over(first["bundle"][2]["spec"]["trial"])
    again: Any = feeder.suggest("ray")
    assert again["bundle"] == first["bundle"][3:]
    feeder.over(again["bundle"][0]["spec"]["trial"])
    assert feeder.suggest("ray") == Searcher.FINISHED
