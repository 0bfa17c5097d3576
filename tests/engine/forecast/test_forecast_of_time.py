"""How long a plan's command takes: the whole of it, as a range, and what that rests on."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.forecast.forecast import DRAWS, WIDEST, Forecast, forecast, forecast_line
from engine.forecast.plan_text import plan_record
from engine.forecast.probe import ProbeError
from engine.planning.plan import Plan
from search_spaces.factors import Factor
from search_spaces.spaces import Choice, Number
from search_spaces.study import SearchStudy
from search_spaces.trial_schedulers import ASHA
from tests.engine.fake_probes import FakeProbes
from tests.engine.forecast.test_earlier_figures import logged
from tests.engine.planning.test_plan import MOMENTUM, ablation, planned

pytestmark = pytest.mark.usefixtures("probes")
LR = Number(key="optimizer.lr", low=0.01, high=0.1)


def search(**fields: Any) -> SearchStudy:
    known: dict[str, Any] = {"space": (LR,), "samples": 12, "epochs": 9, "sampler": "random"}
    return SearchStudy(name="t", workload="digits", **{**known, **fields})


def made(plan: Plan) -> Forecast:
    found = forecast(plan)
    assert found.seconds is not None
    assert found.seconds_low is not None
    assert found.seconds_high is not None
    assert found.seconds * (1 - WIDEST) - 1e-9 <= found.seconds_low < found.seconds < found.seconds_high
    assert found.seconds_high <= found.seconds * (1 + WIDEST) + 1e-9
    assert json.loads(json.dumps(vars(found))) == vars(found)
    return found


def test_the_parts_make_the_whole_and_trials_wait_for_a_place(tmp_path: Path, probes: type[FakeProbes]) -> None:
    found = made(planned(ablation(MOMENTUM, epochs=10), tmp_path, seeds=3, max_concurrent=2))
    assert found.training_seconds == pytest.approx(5 * (1 + 10 * 2), rel=0.01)  # 9 trials on 2 places
    parts = (found.start_seconds, found.training_seconds, found.report_seconds)
    assert found.seconds == pytest.approx(sum(part for part in parts if part))
    assert all(part and part > 0 for part in parts)
    assert {number for number, *_ in probes.asked} == {2}


def test_every_cell_that_costs_otherwise_is_timed_once(tmp_path: Path, probes: type[FakeProbes]) -> None:
    batch = Factor.of("batch", {"64": {}, "32": {"training.batch_size": 32}})
    lr = Factor.of("lr", {"a": {}, "b": {"optimizer.lr": 0.5}})
    found = made(planned(ablation(batch, lr, design="factorial"), tmp_path, seeds=3))
    assert [size for _, size, _ in probes.asked] == [64, 32]
    assert found.probed == 2
    assert found.based_on.startswith("2 configurations timed here")


def test_a_search_over_batch_sizes_times_draws_from_its_space(tmp_path: Path, probes: type[FakeProbes]) -> None:
    sizes = [8, 16, 32]
    study = search(space=(LR, Choice(key="training.batch_size", choices=tuple(sizes))), samples=40)
    found = made(planned(study, tmp_path))
    assert 2 <= found.probed <= min(DRAWS, len(sizes))
    assert {size for _, size, _ in probes.asked} <= set(sizes)


def test_a_trial_scheduler_shortens_the_forecast(tmp_path: Path) -> None:
    whole, stopped = (
        made(planned(search(trial_scheduler=scheduler), tmp_path)) for scheduler in ({"name": "none"}, ASHA())
    )
    assert stopped.training_seconds is not None
    assert whole.training_seconds is not None
    assert stopped.training_seconds < 0.8 * whole.training_seconds


def test_a_time_budget_is_the_most_that_training_takes(tmp_path: Path) -> None:
    assert made(planned(search(), tmp_path, time_budget="30s")).training_seconds == 30


@pytest.mark.parametrize(("fields", "most"), [({"baseline": {"training.patience": 2}}, True), ({}, False)])
def test_what_may_end_earlier_is_said_to_be_the_most(tmp_path: Path, fields: dict[str, Any], most: bool) -> None:
    plan = planned(search(**fields), tmp_path)
    found = made(plan)
    assert found.upper_bound is most
    assert ("at most" in forecast_line(plan, found)) is most


def test_processes_that_differ_widen_the_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(ablation(MOMENTUM), tmp_path, seeds=3)
    calm = made(plan)
    monkeypatch.setattr(FakeProbes, "apart", 0.5)
    wild = made(plan)
    assert (calm.seconds_high or 0) < (wild.seconds_high or 0)


def test_epochs_of_an_earlier_run_count_before_what_is_timed(tmp_path: Path) -> None:
    logged(planned(ablation(MOMENTUM), tmp_path / "a", max_concurrent=1), [0.5, 0.5])
    plan = planned(ablation(MOMENTUM, epochs=100), tmp_path / "b", max_concurrent=1, seeds=1)
    found = made(plan)
    assert found.based_on == f"from 2 epochs of {tmp_path / 'a'}, 1 configuration timed here"
    assert found.training_seconds == pytest.approx(1 * (1 + 100 * 0.5) + 2 * (1 + 100 * 2), rel=0.01)
    assert found.based_on in forecast_line(plan, found)


def test_epochs_that_are_trained_already_are_not_counted_again(tmp_path: Path) -> None:
    plan = planned(ablation(MOMENTUM, epochs=3), tmp_path, max_concurrent=1, seeds=1)
    before = made(plan)
    logged(plan, [2.0, 2.0, 2.0], status="failed")  # so that it has no end, and three epochs
    after = made(plan)
    assert before.training_seconds is not None
    assert after.training_seconds is not None
    assert before.training_seconds - after.training_seconds == pytest.approx(6.0, abs=0.1)


def test_a_finished_run_takes_no_time_and_times_nothing(tmp_path: Path, probes: type[FakeProbes]) -> None:
    plan = planned(ablation(Factor.of("lr", {"a": {}, "b": {"optimizer.lr": 0.02}}), epochs=2), tmp_path, seeds=1)
    ended = [spec.trial for spec in plan.trials]
    logged(plan, [2.0, 2.0])
    log = (tmp_path / "log.jsonl").read_text()
    (tmp_path / "log.jsonl").write_text(log + log.replace(ended[0], ended[1]))
    found = forecast(plan)
    assert (found.finished, found.seconds, found.probed) == (2, 0.0, 0)
    assert not probes.asked


def test_where_no_step_can_be_timed_the_forecast_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(self: FakeProbes, spec: Any, seconds: float) -> Any:
        raise ProbeError("OutOfMemoryError: too large")

    monkeypatch.setattr(FakeProbes, "cost", failing)
    plan = planned(ablation(MOMENTUM), tmp_path, seeds=3)
    record = plan_record(plan)["forecast"]
    assert record["seconds"] is None
    assert record["trials"] == 9
    assert forecast_line(plan, forecast(plan)).startswith(
        "forecast: none, no steps could be timed: OutOfMemoryError: too large; "
    )


def test_the_line_says_range_share_and_cluster(tmp_path: Path) -> None:
    plan = planned(ablation(MOMENTUM, epochs=30), tmp_path, seeds=3, max_concurrent=1, address="head:6379")
    line = forecast_line(plan, made(plan))
    assert line.startswith("forecast on this machine (the cluster head:6379 is not asked): ")
    assert "(start and report included), 1 at a time; 1.0 GiB memory" in line
