"""Adam, then SGD: the switch happens where it should, and a resumption anywhere around it changes nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainables.small_trials import finish, run_epochs, small_learner, small_spec

SWITCH: dict[str, Any] = {
    "optimizer.name": "adam_then_sgd",
    "optimizer.lr": 0.01,
    "optimizer.sgd_lr": 0.003,
    "optimizer.switch": 0.5,
    "schedule.name": "cosine",
    "training.epochs": 6,
}


def test_adam_trains_the_first_share_under_the_schedule_and_sgd_the_rest_at_its_own_rate() -> None:
    learner = small_learner(SWITCH)
    kinds, rates = [], []
    for _ in range(6):
        learner.train_epoch()
        kinds.append(type(learner.optimizer).__name__)
        rates.append(learner.lr)
    assert kinds == ["Adam"] * 3 + ["SGD"] * 3
    adam = torch.optim.Adam([torch.zeros(1)], lr=0.01)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, T_max=3)
    expected = []
    for _ in range(3):
        expected += cosine.get_last_lr()
        adam.step()
        cosine.step()
    assert rates == pytest.approx([*expected, 0.003, 0.003, 0.003])


@pytest.mark.parametrize("epoch", [1, 2, 3, 4, 5])
def test_a_trial_cut_before_at_and_after_the_switch_ends_bit_equal(epoch: int, tmp_path: Path) -> None:
    undisturbed = finish(small_spec(tmp_path / "whole", SWITCH))
    cut = small_spec(tmp_path / "cut", SWITCH)
    run_epochs(cut, epoch)
    resumed = finish(cut)
    assert resumed == undisturbed
    assert resumed.verified


def test_a_switch_that_a_short_budget_never_reaches_is_noted() -> None:
    settings = small_learner({**SWITCH, "training.epochs": 1}).config
    assert settings.optimizer.not_reached(1, settings.schedule)
    assert not small_learner({**SWITCH, "schedule.name": "constant"}).config.optimizer.not_reached(
        6, settings.schedule
    )[1:]
