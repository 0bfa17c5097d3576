"""How trials are handed to Ray: long ones one by one, short ones in bundles that shrink towards the end.

Where trials are fused, a bundle holds one kind of them.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher

from engine.search.trial_queue import BUNDLE_SECONDS, TrialQueue
from trainables.trial.spec import TrialSpec


def spec(number: int) -> TrialSpec:
    return TrialSpec(str(number), "c", 0, {}, "", "", str(Path.cwd()))


def handed_out(queue: TrialQueue, seconds: float) -> Iterator[tuple[list[str], int | str]]:
    """The trials of every bundle and its lanes; all end after `seconds` before the next one is asked for."""
    while isinstance(config := queue.suggest("ray"), dict):
        trials = [item["spec"]["trial"] for item in config["bundle"]]
        yield trials, config["lanes"]
        for trial in trials:
            queue.note_duration(seconds)
            queue.on_trial_end(trial)
    assert config == Searcher.FINISHED


def all_of(queue: TrialQueue, seconds: float) -> list[list[str]]:
    """The trials of every bundle."""
    return [trials for trials, _ in handed_out(queue, seconds)]


def queue_of(n: int, processes: int | None) -> TrialQueue:
    queue = TrialQueue(spec(number) for number in range(n))
    queue.processes = processes
    return queue


def of_kind(kind: str, number: int) -> TrialSpec:
    """A trial that shares a program with those of its kind: `kind` is the network's, the rest differs."""
    config = {
        "dataset": {"name": "digits"},
        "model": {"name": kind, "dropout_rate": 0.01 * number},
        "loss": {"name": "ce"},
        "sampler": {"name": "uniform"},
        "optimizer": {"lr": 0.1 * number},
        "training": {"batch_size": 32, "precision": "fp32", "epochs": 1 + number},
    }
    return TrialSpec(f"{kind}{number}", "c", number, config, "", "", str(Path.cwd()))


def kinds(fuse: Any, processes: int | None = 2, **amounts: int) -> TrialQueue:
    """A queue of so many trials of each kind, a1 b1 a2 b2 and so on."""
    rows = zip_longest(*([of_kind(kind, number + 1) for number in range(n)] for kind, n in amounts.items()))
    queue = TrialQueue(spec for row in rows for spec in row if spec)
    queue.processes, queue.fuse = processes, fuse
    return queue


def names(kind: str, n: int) -> list[str]:
    return [f"{kind}{number + 1}" for number in range(n)]


def handed_of(bundles: list[list[str]], kind: str) -> list[str]:
    return [trial for bundle in bundles for trial in bundle if trial.startswith(kind)]


def test_every_trial_is_handed_out_once_and_in_order() -> None:
    bundles = all_of(queue_of(200, 2), 0.0)
    assert [trial for bundle in bundles for trial in bundle] == [str(number) for number in range(200)]


def test_bundles_wait_for_a_first_measure_and_shrink_towards_the_end() -> None:
    sizes = [len(bundle) for bundle in all_of(queue_of(1000, 2), 0.1)]
    assert sizes[:2] == [1, 1]
    assert max(sizes) == sizes[2] == BUNDLE_SECONDS / 0.1
    assert sizes[2:] == sorted(sizes[2:], reverse=True)
    assert sizes[-2:] == [1, 1]


def test_long_trials_and_those_that_a_scheduler_decides_on_go_alone() -> None:
    assert {len(bundle) for bundle in all_of(queue_of(50, 2), BUNDLE_SECONDS)} == {1}
    assert {len(bundle) for bundle in all_of(queue_of(50, None), 0.0)} == {1}


def test_one_long_trial_among_short_ones_lets_the_next_go_alone() -> None:
    queue = queue_of(50, 2)
    for seconds in (*[0.1] * 19, 3600.0):
        queue.note_duration(seconds)
    first: Any = queue.suggest("ray")
    assert len(first["bundle"]) == 1


def test_while_a_bundle_runs_the_queue_waits_for_what_it_may_give_back() -> None:
    queue = queue_of(9, 1)
    queue.note_duration(0.0)
    first: Any = queue.suggest("ray")
    assert len(first["bundle"]) == 4
    while isinstance(last := queue.suggest("ray"), dict):
        for item in last["bundle"]:
            queue.on_trial_end(item["spec"]["trial"])
    assert last is None
    for item in first["bundle"][:2]:
        queue.on_trial_end(item["spec"]["trial"])
    queue.requeue(first["bundle"][3:])
    queue.on_trial_end(first["bundle"][2]["spec"]["trial"])
    again: Any = queue.suggest("ray")
    assert again["bundle"] == first["bundle"][3:]
    queue.on_trial_end(again["bundle"][0]["spec"]["trial"])
    assert queue.suggest("ray") == Searcher.FINISHED


@pytest.mark.parametrize("seconds", [0.0, BUNDLE_SECONDS], ids=["short", "long"])
def test_trials_that_are_fused_by_a_number_share_a_bundle_with_their_kind_only(seconds: float) -> None:
    handed = list(handed_out(kinds(4, a=23, b=14), seconds))
    bundles = [trials for trials, _ in handed]
    assert {lanes for _, lanes in handed} == {4}
    assert all(len({trial[0] for trial in bundle}) == 1 for bundle in bundles)
    for kind, n in (("a", 23), ("b", 14)):
        assert handed_of(bundles, kind) == names(kind, n)


def test_a_bundle_of_long_trials_fills_its_lanes_and_none_waits_behind_another() -> None:
    """By hand, in the order of the queue: 10 of one kind are 4 + 4 + 2, 5 of the other 4 + 1."""
    bundles = all_of(kinds(4, a=10, b=5), BUNDLE_SECONDS)
    assert [(bundle[0][0], len(bundle)) for bundle in bundles] == [("a", 4), ("b", 4), ("a", 4), ("b", 1), ("a", 2)]


def test_a_bundle_of_short_trials_is_a_multiple_of_its_lanes_but_for_the_last_of_a_kind() -> None:
    bundles = all_of(kinds(4, a=203, b=101), 0.0)
    last = {bundle[-1]: len(bundle) % 4 for bundle in bundles if bundle[-1] in ("a203", "b101")}
    whole = [len(bundle) for bundle in bundles if bundle[-1] not in last]
    assert last == {"a203": 203 % 4, "b101": 101 % 4}
    assert {size % 4 for size in whole} == {0}
    assert max(whole) > 4, "short trials were handed out as if they were long"


def test_auto_leaves_every_process_its_share_of_a_kind() -> None:
    """By hand: 40 for two processes are at most 20 for the first, of which a program takes 16; of 24, 12; of 12, 6."""
    handed = list(handed_out(kinds("auto", a=40), BUNDLE_SECONDS))
    assert [len(trials) for trials, _ in handed] == [16, 12, 6, 3, 2, 1]
    assert [lanes for _, lanes in handed] == ["auto"] * 5 + [1]


@pytest.mark.parametrize("seconds", [0.0, 0.5, BUNDLE_SECONDS])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_auto_takes_no_more_than_that_whatever_else_waits(processes: int, seconds: float) -> None:
    left = Counter(a=61, b=18, c=3)
    bundles, fused = [], 0
    for trials, lanes in handed_out(kinds("auto", processes, **left), seconds):
        bundles.append(trials)
        if lanes == "auto":
            (kind,) = {trial[0] for trial in trials}
            assert 2 <= len(trials) <= -(-left[kind] // processes)
            fused += 1
        else:
            assert lanes == 1
        left -= Counter(trial[0] for trial in trials)
    assert fused > 1
    for kind, n in (("a", 61), ("b", 18), ("c", 3)):
        assert handed_of(bundles, kind) == names(kind, n)


@pytest.mark.parametrize("seconds", [0.0, BUNDLE_SECONDS])
def test_with_auto_trials_without_mates_go_as_if_nothing_was_fused(seconds: float) -> None:
    alone = {f"{kind}": 1 for kind in "abcdefghijklmnopqrstuvwxyz"}
    handed = list(handed_out(kinds("auto", **alone), seconds))
    assert handed == list(handed_out(kinds(1, **alone), seconds))
    assert {lanes for _, lanes in handed} == {1}


@pytest.mark.parametrize("fuse", [4, "auto"])
def test_trials_that_a_scheduler_decides_on_are_never_fused(fuse: Any) -> None:
    handed = list(handed_out(kinds(fuse, None, a=20, b=5), 0.0))
    assert [len(trials) for trials, _ in handed] == [1] * 25
    assert {lanes for _, lanes in handed} == {1}


@pytest.mark.parametrize(
    ("fuse", "seconds", "lanes"),
    [
        (4, 0.0, 4),
        (4, BUNDLE_SECONDS, 4),
        ("auto", BUNDLE_SECONDS, 1),
        ("auto", 0.0, 1),
    ],
)
def test_what_comes_back_apart_is_handed_out_alone(fuse: Any, seconds: float, lanes: int) -> None:
    """A number of lanes stays what it is, so that the trial's numbers do; `auto` has nothing to fuse it with."""
    queue = kinds(fuse, a=21, b=1)
    first: Any = queue.suggest("ray")
    given_back = {item["spec"]["trial"] for item in first["bundle"]}
    assert len(given_back) >= 4
    queue.requeue(first["bundle"], apart=True)
    assert not queue.running
    handed = list(handed_out(queue, seconds))
    assert sorted(trial for trials, _ in handed for trial in trials) == sorted(names("a", 21) + names("b", 1))
    assert [(len(trials), own) for trials, own in handed if given_back & set(trials)] == [(1, lanes)] * len(given_back)
