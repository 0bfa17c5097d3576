"""The search's sampler: nothing twice, nothing forgotten, outcomes told for what they are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from ray.tune.search import Searcher

from engine.planning.run_options import Options
from engine.planning.trial_factory import TrialFactory
from engine.runlog.history import History
from engine.search.search_queue import SearchQueue
from search_spaces.spaces import Choice, Number
from search_spaces.study import SearchStudy

SMALL = SearchStudy(
    name="small",
    workload="digits",
    epochs=1,
    samples=40,
    space=(
        Choice(key="optimizer.name", choices=("sgd", "adam", "rmsprop")),
        Choice(key="training.batch_size", choices=(16, 32)),
        Choice(key="model.bn_after", choices=([], ["conv1"])),
    ),
)
OPEN = SearchStudy(name="open", workload="digits", epochs=1, samples=6, space=(Number(key="optimizer.lr"),))
KINDS = SearchStudy(
    name="kinds",
    workload="digits",
    epochs=1,
    samples=40,
    space=(Number(key="optimizer.lr"), Choice(key="model.bn_after", choices=([], ["conv1"], ["conv2"]))),
)
State = optuna.trial.TrialState


def sampler(study: SearchStudy, folder: Path, events: list[dict[str, Any]] | None = None) -> SearchQueue:
    return SearchQueue(TrialFactory(study, Options()), study, folder, History.read(events or []))


def drawn(searcher: SearchQueue) -> list[dict[str, Any]]:
    """Everything that the sampler proposes, without outcomes."""
    found = []
    while (config := searcher.suggest(f"ray{len(found)}")) != Searcher.FINISHED:
        found.append(config)
    return found


def item_of(config: Any) -> dict[str, Any]:
    """The one trial of a bundle."""
    (item,) = config["bundle"]
    return item


def spec_of(config: Any) -> dict[str, Any]:
    return item_of(config)["spec"]


def finish(searcher: SearchQueue, trial: str, values: Sequence[float | None], status: str = "finished") -> None:
    """Let a trial end with these values of its epochs, the last of which counts."""
    for epoch, value in enumerate(values, 1):
        searcher.history.add({"event": "epoch", "trial": trial, "epoch": epoch, "val_accuracy": value})
    end = {"event": "end", "trial": trial, "status": status, "selected_epoch": len(values) or None, "seconds": 2.0}
    searcher.history.add(end)
    searcher.on_trial_end(trial)


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_a_finite_space_is_enumerated_once(name: str, tmp_path: Path) -> None:
    study = SMALL.model_copy(update={"sampler": name})
    assert study.configurations == 12
    cells = [spec_of(config)["cell"] for config in drawn(sampler(study, tmp_path))]
    assert len(cells) == len(set(cells)) == 12


def test_outcomes_are_told_as_values_or_as_failures(tmp_path: Path) -> None:
    searcher = sampler(OPEN, tmp_path)
    for values, status in (([0.4], "finished"), ([], "diverged"), ([0.7], "finished"), ([], "failed")):
        finish(searcher, spec_of(searcher.suggest("ray"))["trial"], values, status)
    assert [trial.state for trial in searcher.optuna.study.trials] == [
        State.COMPLETE,
        State.FAIL,
        State.COMPLETE,
        State.FAIL,
    ]
    assert searcher.optuna.study.best_value == 0.7


def test_a_stopped_trial_is_told_as_pruned_with_its_epochs(tmp_path: Path) -> None:
    searcher = sampler(OPEN, tmp_path)
    trial = spec_of(searcher.suggest("ray"))["trial"]
    finish(searcher, trial, [0.2, 0.3], "stopped")
    told = searcher.optuna.study.trials[0]
    assert (told.state, told.intermediate_values, told.value) == (State.PRUNED, {1: 0.2, 2: 0.3}, 0.3)


def test_seeds_of_a_configuration_follow_each_other_and_their_mean_is_told(tmp_path: Path) -> None:
    searcher = sampler(OPEN.model_copy(update={"seeds": 2}), tmp_path)
    first, second = searcher.suggest("a"), searcher.suggest("b")
    assert spec_of(first)["cell"] == spec_of(second)["cell"]
    assert (spec_of(first)["seed"], spec_of(second)["seed"]) == (0, 1)
    finish(searcher, spec_of(second)["trial"], [0.2])
    assert searcher.optuna.study.trials[0].state == State.RUNNING
    finish(searcher, spec_of(first)["trial"], [0.4])
    assert searcher.optuna.study.best_value == pytest.approx(0.3)


def log_of(configs: list[dict[str, Any]], values: dict[int, float | None]) -> list[dict[str, Any]]:
    """The events that a driver would have written for these proposals, of which `values` have ended."""
    events: list[dict[str, Any]] = []
    for i, config in enumerate(configs):
        trial = spec_of(config)["trial"]
        common = {"trial": trial, "seed": 0, **{name: item_of(config)[name] for name in ("point", "proposal")}}
        common |= {name: spec_of(config)[name] for name in ("cell", "config")}
        events.append({"event": "start", **common})
        if i in values:
            value = values[i]
            status = "diverged" if value is None else "finished"
            events.append({"event": "epoch", "trial": trial, "epoch": 1, "val_accuracy": value})
            events.append(
                {
                    "event": "end",
                    "trial": trial,
                    "status": status,
                    "selected_epoch": None if value is None else 1,
                    "seconds": 1.0,
                }
            )
    return events


def test_a_resumed_search_knows_every_proposal_and_outcome(tmp_path: Path) -> None:
    before = sampler(OPEN, tmp_path)
    configs = [before.suggest(f"ray{i}") for i in range(4)]
    after = sampler(OPEN, tmp_path, log_of(configs, {0: 0.4, 1: None, 2: 0.7}))
    assert [t.state for t in after.optuna.study.trials] == [State.COMPLETE, State.FAIL, State.COMPLETE, State.RUNNING]
    assert [t.values for t in after.optuna.study.trials] == [[0.4], None, [0.7], None]
    assert [t.params for t in after.optuna.study.trials] == [t.params for t in before.optuna.study.trials]
    rest = drawn(after)
    assert spec_of(rest[0]) == spec_of(configs[3]), "the unfinished trial goes on first"
    assert len(rest) == 1 + OPEN.samples - 4
    assert not {spec_of(config)["trial"] for config in rest[1:]} & {spec_of(config)["trial"] for config in configs}


def test_a_failed_trial_is_tried_again_on_resume(tmp_path: Path) -> None:
    configs = [sampler(OPEN, tmp_path).suggest("a")]
    events = log_of(configs, {0: 0.5})
    events[-1]["status"] = "failed"
    again = sampler(OPEN, tmp_path, events).suggest("a")
    assert spec_of(again)["trial"] == spec_of(configs[0])["trial"]


def test_the_same_search_proposes_the_same_configurations(tmp_path: Path) -> None:
    points = [[item_of(config)["point"] for config in drawn(sampler(OPEN, tmp_path))] for _ in range(2)]
    assert points[0] == points[1]


@pytest.mark.parametrize("fuse", [1, 4, "auto"])
@pytest.mark.parametrize("name", ["random", "qmc"])
def test_a_search_that_is_killed_amid_its_bundles_goes_on_to_the_same_configurations(
    name: str, fuse: Any, tmp_path: Path
) -> None:
    """Two processes have begun the first trial of each of four bundles; the log knows of none of the others."""
    study = KINDS.model_copy(update={"sampler": name})
    whole = {spec_of(config)["cell"] for config in drawn(sampler(study, tmp_path))}
    killed, begun = sampler(study, tmp_path), []
    killed.processes, killed.fuse = 2, fuse
    for number in range(4):
        bundle: Any = killed.suggest(f"ray{number}")
        begun.append({"bundle": bundle["bundle"][:1]})
        killed.note_duration(0.1)
    resumed = drawn(sampler(study, tmp_path, log_of(begun, {})))
    assert [spec_of(config)["trial"] for config in resumed[:4]] == [spec_of(config)["trial"] for config in begun]
    assert {spec_of(config)["cell"] for config in resumed} == whole


IMPOSSIBLE = SearchStudy(  # half of its points ask for Nesterov's momentum without any
    name="impossible",
    workload="digits",
    epochs=1,
    samples=6,
    space=(
        Number(key="optimizer.lr"),
        Choice(key="optimizer.momentum", choices=(0.0, 0.9)),
        Choice(key="optimizer.nesterov", choices=(False, True)),
    ),
)


@pytest.mark.parametrize("name", ["tpe", "random", "qmc"])
def test_a_proposal_that_cannot_be_fails_alone_and_the_search_goes_on(name: str, tmp_path: Path) -> None:
    study, said = IMPOSSIBLE.model_copy(update={"sampler": name, "samples": 12}), list[str]()
    queue = SearchQueue(TrialFactory(study, Options()), study, tmp_path, History.read([]), say=said.append)
    points = [item_of(config)["point"] for config in drawn(queue)]
    assert len(points) == 12
    assert not any(point["optimizer.nesterov"] and not point["optimizer.momentum"] for point in points)
    assert said
    assert all("cannot be and counts as failed" in text and "needs a momentum above 0" in text for text in said)
    states = [trial.state for trial in queue.optuna.study.trials]
    assert states.count(State.FAIL) == len(said) or name == "qmc"


def test_a_finite_space_of_which_some_points_cannot_be_ends_with_the_others(tmp_path: Path) -> None:
    study = IMPOSSIBLE.model_copy(update={"space": IMPOSSIBLE.space[1:], "sampler": "grid", "samples": 40})
    assert len(drawn(sampler(study, tmp_path))) == 3


def test_a_space_of_which_no_point_can_be_ends_without_a_trial(tmp_path: Path) -> None:
    wrong = (Number(key="optimizer.momentum", low=1.5, high=2.0),)
    study = IMPOSSIBLE.model_copy(update={"space": wrong, "sampler": "random"})
    assert drawn(sampler(study, tmp_path)) == []


def test_a_space_of_billions_of_choices_begins_at_once(tmp_path: Path) -> None:
    keys = ("optimizer.lr", "optimizer.momentum", "optimizer.weight_decay", "training.ema", "training.clip_norm")
    space = tuple(Choice(key=key, choices=tuple(0.001 * (1 + i) for i in range(100))) for key in keys)
    assert len(drawn(sampler(IMPOSSIBLE.model_copy(update={"space": space, "samples": 3}), tmp_path))) == 3
