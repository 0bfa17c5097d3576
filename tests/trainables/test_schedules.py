"""Closed-form schedules against the traces of `torch.optim.lr_scheduler`."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    SequentialLR,
    StepLR,
)

from trainables.registry import SCHEDULES
from trainables.schedules import Constant, Cosine, MultiStep, Schedule, Step, epochs_of

BASE = 0.3
BUDGETS = [1, 2, 3, 5, 10, 30]
SHARES = [0.01, 0.2, 0.4, 0.5, 0.875, 1.0]


def torch_trace(make: Callable[[Optimizer], LRScheduler], epochs: int) -> list[float]:
    """The rate of every epoch, as a loop that steps the scheduler at an epoch's end sees it."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)
    scheduler, rates = make(optimizer), []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def trace(schedule: Schedule, epochs: int) -> list[float]:
    return [schedule.lr(epoch, epochs, BASE) for epoch in range(1, epochs + 1)]


@pytest.mark.parametrize("epochs", BUDGETS)
@pytest.mark.parametrize("share", SHARES)
def test_step_is_torch_s_step_lr(epochs: int, share: float) -> None:
    theirs = torch_trace(lambda o: StepLR(o, max(1, round(share * epochs)), gamma=0.5), epochs)
    assert trace(Step(step_size=share, gamma=0.5), epochs) == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("epochs", BUDGETS)
@pytest.mark.parametrize("shares", [(0.5, 0.75), (0.2, 0.4, 0.6), (0.01, 0.011), (1.0,)])
def test_multistep_is_torch_s_multi_step_lr(epochs: int, shares: tuple[float, ...]) -> None:
    milestones = [max(1, round(share * epochs)) for share in shares]
    theirs = torch_trace(lambda o: MultiStepLR(o, milestones, gamma=0.1), epochs)
    assert trace(MultiStep(milestones=shares, gamma=0.1), epochs) == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("epochs", BUDGETS)
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("eta_min", [0.0, 0.01])
def test_cosine_is_torch_s_cosine_annealing_lr(epochs: int, share: float, eta_min: float) -> None:
    theirs = torch_trace(lambda o: CosineAnnealingLR(o, max(1, round(share * epochs)), eta_min), epochs)
    assert trace(Cosine(t_max=share, eta_min=eta_min), epochs) == pytest.approx(theirs, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("epochs", [2, 3, 5, 10, 30])
@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("name", ["constant", "step", "cosine"])
def test_a_warm_up_is_torch_s_linear_lr_and_then_the_schedule_of_what_is_left(
    epochs: int, share: float, name: str
) -> None:
    warm = max(1, round(share * epochs))
    left = epochs - warm

    def make(optimizer: Optimizer) -> LRScheduler:
        rise = LinearLR(optimizer, start_factor=1 / (warm + 1), total_iters=warm)
        after = {
            "constant": lambda: ConstantLR(optimizer, factor=1.0, total_iters=0),
            "step": lambda: StepLR(optimizer, max(1, round(0.4 * left)), gamma=0.5),
            "cosine": lambda: CosineAnnealingLR(optimizer, max(1, left)),
        }[name]()
        return SequentialLR(optimizer, [rise, after], milestones=[warm])

    ours = trace(SCHEDULES[name](warmup=share), epochs)
    assert ours == pytest.approx(torch_trace(make, epochs), rel=1e-9, abs=1e-9)
    assert ours[:warm] == sorted(ours[:warm])


def test_shares_are_whole_epochs_and_at_least_one() -> None:
    table = {(0.8, 250): 200, (0.875, 400): 350, (0.4, 5): 2, (0.4, 1): 1, (0.001, 10): 1, (1.0, 7): 7}
    assert {case: epochs_of(*case) for case in table} == table


@pytest.mark.parametrize("schedule", [Step(), MultiStep(), Cosine(), Cosine(t_max=0.5)])
def test_a_schedule_that_one_epoch_cannot_show_says_so(schedule: Schedule) -> None:
    assert schedule.not_reached(1) == f"schedule {schedule.name}: not reached in 1 epochs"
    assert schedule.not_reached(10) is None


def test_a_warm_up_does_not_hide_that_the_schedule_behind_it_is_not_reached() -> None:
    assert Step(warmup=0.5).lr(1, 2, BASE) < Step(warmup=0.5).lr(2, 2, BASE) == BASE
    assert "not reached" in str(Step(warmup=0.5).not_reached(2))
    assert "not reached" in str(Constant(warmup=0.5).not_reached(1))
    assert Constant(warmup=0.5).not_reached(2) is None
    assert Constant().not_reached(1) is None


@pytest.mark.parametrize("name", SCHEDULES)
@given(epochs=st.integers(1, 60), warmup=st.floats(0, 0.95))
def test_every_schedule_stays_between_zero_and_its_base_rate(name: str, epochs: int, warmup: float) -> None:
    rates = trace(SCHEDULES[name](warmup=warmup), epochs)
    assert all(0 < rate <= BASE * (1 + 1e-12) for rate in rates)
    if not warmup:
        assert rates[0] == BASE


def test_every_schedule_shows_at_the_default_budget() -> None:
    assert SCHEDULES
    assert [name for name, schedule in SCHEDULES.items() if schedule().not_reached(30)] == []
