"""Which epochs of earlier runs a forecast rests on."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from engine.forecast.earlier_figures import Earlier, cost_key, earlier_figures
from engine.planning.plan import Plan
from engine.planning.study_record import study_record
from search_spaces.factors import Factor
from tests.engine.planning.test_plan import MOMENTUM, ablation, planned
from trainables.trial.processor import computer

AT_ONCE = 1
DECAY = Factor.of("decay", {"none": {}, "some": {"optimizer.weight_decay": 0.1}})


def plan_in(folder: Path, **options: Any) -> Plan:
    return planned(ablation(MOMENTUM), folder, max_concurrent=AT_ONCE, **options)


def logged(plan: Plan, seconds: list[float], study: dict[str, Any] | None = None, **end: Any) -> None:
    """A run of the plan's first trial, with these seconds an epoch, in the plan's directory."""
    plan.directory.mkdir(parents=True, exist_ok=True)
    (plan.directory / "study.json").write_text(json.dumps(study_record(plan, []) | (study or {})))
    spec, here = plan.trials[0], computer()
    execution = {"threads": 1, "processor": here["processor"], "torch": here["torch"]}
    execution |= {name: end.pop(name) for name in ("threads", "processor", "torch", "fused") if name in end}
    start = {name: getattr(spec, name) for name in ("trial", "cell", "seed", "config", "code", "fingerprint")}
    events: list[dict[str, Any]] = [{"event": "start", **start, **{k: end.pop(k) for k in list(end) if k in start}}]
    events += [{"event": "epoch", "trial": spec.trial, "epoch": i, "seconds": s} for i, s in enumerate(seconds, 1)]
    events += [{"event": "end", "trial": spec.trial, "status": "finished", "device": here["device"], **end}]
    events[-1]["execution"] = execution
    (plan.directory / "log.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


def found(plan: Plan, at_once: int = AT_ONCE) -> Earlier | None:
    config = plan.baseline
    return earlier_figures(plan, {cost_key(config): config}, at_once).get(cost_key(config))


def test_a_run_beside_this_one_tells_the_median_of_its_epochs(tmp_path: Path) -> None:
    logged(plan_in(tmp_path / "a"), [9.0, 2.0, 3.0])
    assert found(plan_in(tmp_path / "b")) == Earlier(3.0, 3, tmp_path / "a")


def test_a_resumed_run_goes_by_itself_before_a_newer_one(tmp_path: Path) -> None:
    logged(plan_in(tmp_path / "own"), [2.0])
    logged(plan_in(tmp_path / "newer"), [7.0])
    assert found(plan_in(tmp_path / "own")) == Earlier(2.0, 1, tmp_path / "own")


def test_of_other_runs_the_newest_counts(tmp_path: Path) -> None:
    for name, seconds, when in (("a", 5.0, 200), ("b", 1.0, 100)):
        logged(plan_in(tmp_path / name), [seconds])
        os.utime(tmp_path / name / "log.jsonl", (when, when))
    assert found(plan_in(tmp_path / "c")) == Earlier(5.0, 1, tmp_path / "a")


@pytest.mark.parametrize(
    "otherwise",
    [
        {"threads": 2},
        {"processor": "another, AVX512"},
        {"torch": "1.0"},
        {"device": "NVIDIA H200"},
        {"fused": {"lanes": 4, "lane": 0, "kernel": "grouped"}},
        {"fingerprint": "of other pictures"},
        {"code": "of another program"},
        {"status": "failed"},
        {"study": {"machine": {"node": "another", "cpus": 2}}},
    ],
)
def test_epochs_of_other_circumstances_do_not_count(tmp_path: Path, otherwise: dict[str, Any]) -> None:
    logged(plan_in(tmp_path / "a"), [1.0, 2.0], **otherwise)
    assert found(plan_in(tmp_path / "b")) is None


def test_more_trials_at_a_time_are_other_circumstances(tmp_path: Path) -> None:
    logged(plan_in(tmp_path / "a"), [1.0])
    assert found(plan_in(tmp_path / "b"), at_once=2) is None


@pytest.mark.parametrize(
    ("setting", "alike"),
    [
        ({"optimizer.lr": 0.5}, True),
        ({"schedule.name": "cosine"}, True),
        ({"loss.name": "focal"}, True),
        ({"sampler.name": "weighted"}, True),
        ({"training.epochs": 9}, True),
        ({"optimizer.momentum": 0.9}, False),  # of none: a momentum of zero keeps no buffer
        ({"training.batch_size": 16}, False),
        ({"training.precision": "bf16"}, False),
        ({"training.mixup": 0.2}, False),
        ({"model.channels": [4, 4]}, False),
        ({"dataset.limit_train": 100}, False),
        ({"augmentation.flip": True}, False),
    ],
)
def test_settings_that_cost_time_are_told_from_those_that_do_not(
    tmp_path: Path, setting: dict[str, Any], alike: bool
) -> None:
    logged(plan_in(tmp_path / "a"), [1.0])
    other = ablation(DECAY, baseline=setting)
    assert (found(planned(other, tmp_path / "b", max_concurrent=AT_ONCE)) is not None) is alike


@pytest.mark.parametrize("damage", ["study.json", "log.jsonl"])
def test_a_damaged_run_tells_nothing(tmp_path: Path, damage: str) -> None:
    logged(plan_in(tmp_path / "a"), [1.0])
    (tmp_path / "a" / damage).write_text("{}\n{]\n[]\n")
    assert found(plan_in(tmp_path / "b")) is None


def test_a_log_without_its_study_tells_nothing(tmp_path: Path) -> None:
    logged(plan_in(tmp_path / "a"), [1.0])
    (tmp_path / "a" / "study.json").unlink()
    assert found(plan_in(tmp_path / "b")) is None
