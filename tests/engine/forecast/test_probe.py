"""What the processes say that time steps beside each other."""

import math
from dataclasses import astuple
from pathlib import Path

import pytest

from engine.forecast.probe import ProbeError, Probes, time_evaluation, time_training
from tests.engine.planning.test_plan import MOMENTUM, ablation, planned
from tests.trainables.small_trials import small_learner

NOTHING = {"folders": {}, "code": []}


def test_two_processes_time_a_trial_beside_each_other(tmp_path: Path) -> None:
    plan = planned(ablation(MOMENTUM, baseline={"diagnostics": True}), tmp_path / "run")
    spec = plan.factory.spec("probe", plan.baseline, 0, plan.directory)
    lost = plan.factory.spec("probe", plan.baseline, 0, plan.directory).to_dict() | {
        "dataset_file": "",
        "data_root": "/",
    }
    with Probes(2, NOTHING, 0.0) as probes:
        assert len(probes.processes) == 2
        cost, apart = probes.cost(spec, 0.2)
        with pytest.raises(ProbeError, match="Error"):
            probes.cost(type(spec)(**{**lost, "fingerprint": "another"}), 0.2)
    assert all(0 < value < math.inf for value in astuple(cost))
    assert cost.epoch > cost.diagnostics
    assert probes.start > 0.1
    assert 0 <= apart < 1
    assert all(each.poll() is not None for each in probes.processes)
    assert not plan.directory.exists()


def test_code_that_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(ProbeError, match="nowhere"),
        Probes(1, {"folders": {}, "code": [str(tmp_path / "nowhere.py")]}, 0),
    ):
        pass


def test_rows_are_timed_within_about_the_seconds_given() -> None:
    cold, each = time_training(small_learner(), 0.05)
    assert 0 <= cold < math.inf
    assert 0 < each < 0.05
    assert 0 < time_evaluation(small_learner(), 0.05) < 0.05
