"""Optimizers are torch's own: same argument names, same defaults, and a step that moves."""

import inspect

import pytest
import torch
from pydantic import ValidationError

from trainables.eager_optimizers import eager
from trainables.optimizers import SGD, Adam, AdamThenSGD, TorchOptimizer
from trainables.registry import OPTIMIZERS
from trainables.schedules import Constant, Cosine

OURS = ("name", "lr_backbone")  # settings that are no arguments of torch's
TORCH_S = [name for name, optimizer in OPTIMIZERS.items() if issubclass(optimizer, TorchOptimizer)]
# (optimizer, setting): torch's default → ours
OWN_DEFAULTS = {("sgd", "lr"): 0.01}  # torch's 1e-3 came late (2.4); before it SGD had none, and 0.01 is the usual one


def arguments(name: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(getattr(torch.optim, OPTIMIZERS[name].torch_class)).parameters)


def test_the_registry_of_optimizers_is_not_empty() -> None:
    assert TORCH_S
    assert all(optimizer().name == name for name, optimizer in OPTIMIZERS.items())


@pytest.mark.parametrize("name", TORCH_S)
def test_every_setting_is_an_argument_of_torch_s_class_with_its_default(name: str) -> None:
    theirs = arguments(name)
    for setting, default in OPTIMIZERS[name]():
        if setting not in OURS:
            assert setting in theirs
            assert default == OWN_DEFAULTS.get((name, setting), theirs[setting].default), setting


@pytest.mark.parametrize("name", TORCH_S)
def test_settings_reach_torch_s_optimizer(name: str) -> None:
    settings = OPTIMIZERS[name].model_validate({"lr": 0.05, "weight_decay": 0.25})
    optimizer = settings.build([torch.nn.Parameter(torch.ones(3))])
    assert type(optimizer) is eager(getattr(torch.optim, settings.torch_class))
    for key, value in settings:
        assert key in OURS or optimizer.param_groups[0][key] == value


@pytest.mark.parametrize("name", TORCH_S)
def test_steps_are_those_of_torch_s_plain_loop_whatever_the_layout(name: str) -> None:
    """Fused kernels walk through memory: a weight in channels-last order has its gradient in that order too."""
    settings = OPTIMIZERS[name].model_validate({"lr": 0.01, "weight_decay": 0.1})
    plain = {key: value for key, value in settings if key not in OURS}
    torch.manual_seed(0)
    start, images = torch.randn(8, 4, 3, 3), torch.randn(2, 4, 9, 9)
    steps = []
    for layout, build in (
        (torch.channels_last, settings.build),
        (torch.contiguous_format, lambda weights: getattr(torch.optim, settings.torch_class)(weights, **plain)),
    ):
        weight = torch.nn.Parameter(start.clone().contiguous(memory_format=layout))
        optimizer = build([weight])
        for _ in range(5):
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.conv2d(images.contiguous(memory_format=layout), weight).square().sum().backward()
            optimizer.step()
        steps.append(weight.detach().contiguous())
    assert (steps[0] - start).abs().max() > 0.01
    torch.testing.assert_close(steps[0], steps[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("epoch", [1, 10])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_goes_against_the_gradient_in_the_first_and_in_the_last_epoch(name: str, epoch: int) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = OPTIMIZERS[name]().at(epoch, 10).build([weight])
    weight.sum().backward()
    optimizer.step()
    assert (weight < 1).all()


@pytest.mark.parametrize("name", TORCH_S)
def test_an_optimizer_of_torch_s_is_at_work_from_the_first_epoch_to_the_last_at_the_schedule_s_rate(name: str) -> None:
    settings = OPTIMIZERS[name].model_validate({"lr": 0.5})
    assert all(settings.at(epoch, 9) == settings for epoch in range(1, 10))
    assert [settings.lr_at(epoch, 9, Cosine()) for epoch in (1, 5, 9)] == [
        Cosine().lr(epoch, 9, 0.5) for epoch in (1, 5, 9)
    ]


@pytest.mark.parametrize(("share", "epochs", "last"), [(0.8, 250, 200), (0.875, 400, 350), (0.5, 4, 2), (0.1, 2, 1)])
def test_adam_hands_over_to_sgd_after_its_share_of_the_epochs(share: float, epochs: int, last: int) -> None:
    settings = AdamThenSGD(switch=share, lr=0.01, sgd_lr=0.001, sgd_momentum=0.5, weight_decay=0.1)
    assert settings.at(last, epochs) == Adam(lr=0.01, weight_decay=0.1)
    assert settings.at(last + 1, epochs) == SGD(lr=0.001, momentum=0.5, weight_decay=0.1)
    assert settings.lr_at(last, epochs, Constant()) == 0.01
    assert settings.lr_at(last + 1, epochs, Cosine()) == settings.lr_at(epochs, epochs, Cosine()) == 0.001
    assert settings.not_reached(epochs, Constant()) == []


def test_a_hand_over_that_the_budget_is_too_short_for_is_noted() -> None:
    assert AdamThenSGD().not_reached(1, Constant()) == [
        "optimizer adam_then_sgd: its switch is not reached in 1 epochs"
    ]


def test_nesterov_without_momentum_is_refused_before_torch_would() -> None:
    with pytest.raises(ValidationError, match="nesterov = True: needs a momentum above 0"):
        OPTIMIZERS["sgd"].model_validate({"nesterov": True})
    settings = SGD(nesterov=True, momentum=0.9)
    assert settings.build([torch.nn.Parameter(torch.ones(1))]).param_groups[0]["nesterov"]


@pytest.mark.parametrize("setting", ["lr", "weight_decay"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_negative_rate_or_decay_is_refused(name: str, setting: str) -> None:
    with pytest.raises(ValidationError, match=setting):
        OPTIMIZERS[name].model_validate({setting: -1e-3})
