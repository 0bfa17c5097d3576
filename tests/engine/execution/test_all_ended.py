"""Ray Tune's loop is left with the last trial where Ray ends next, and never while one may still come."""

from types import SimpleNamespace
from typing import Any

import pytest

from engine.execution.ray_callback import AllEnded, RunLogCallback
from engine.search.trial_queue import TrialQueue


def callback(queue: Any, ray_ends: bool = True, enlarged: Any = ()) -> RunLogCallback:
    log: Any = SimpleNamespace(history=SimpleNamespace(enlarged=set(enlarged)))
    nothing: Any = None
    return RunLogCallback(log, nothing, nothing, 1, queue, ray_ends=ray_ends)


def trials(*finished: bool) -> list[Any]:
    return [SimpleNamespace(is_finished=lambda each=each: each) for each in finished]


def test_a_queue_is_exhausted_once_ray_tune_was_told_so():
    queue = TrialQueue()
    assert not queue.exhausted
    assert queue.suggest("1") == "FINISHED"
    assert queue.exhausted


def test_a_queue_whose_bundle_may_come_back_is_not_exhausted():
    queue = TrialQueue()
    queue.bundled = {"a"}
    assert queue.suggest("1") is None
    assert not queue.exhausted


def test_the_loop_is_left_when_all_trials_have_ended():
    queue = TrialQueue()
    queue.exhausted = True
    with pytest.raises(AllEnded):
        callback(queue).on_step_end(1, trials(True, True))


@pytest.mark.parametrize(
    ("exhausted", "ends", "enlarged", "finished"),
    [
        (False, True, (), (True,)),  # another proposal may come
        (True, False, (), (True,)),  # Ray goes on: on a cluster, its actors have to be stopped
        (True, True, ("a",), (True,)),  # a trial is tried again with more of the machine
        (True, True, (), (True, False)),
    ],
)
def test_it_goes_on_otherwise(exhausted, ends, enlarged, finished):
    queue = TrialQueue()
    queue.exhausted = exhausted
    callback(queue, ends, enlarged).on_step_end(1, trials(*finished))
