"""Optimizers are torch's own: same argument names, same defaults, and a step that moves."""

import inspect

import pytest
import torch
from pydantic import ValidationError

from trainables.registry import OPTIMIZERS

# (optimizer, setting): torch's default → ours
OWN_DEFAULTS = {("sgd", "lr"): 0.01}  # torch's 1e-3 came late (2.4); before it SGD had none, and 0.01 is the usual one


def arguments(name: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(getattr(torch.optim, OPTIMIZERS[name].torch_class)).parameters)


def test_the_registry_of_optimizers_is_not_empty() -> None:
    assert OPTIMIZERS
    assert all(optimizer().name == name for name, optimizer in OPTIMIZERS.items())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_setting_is_an_argument_of_torch_s_class_with_its_default(name: str) -> None:
    theirs = arguments(name)
    for setting, default in OPTIMIZERS[name]():
        if setting != "name":
            assert setting in theirs
            assert default == OWN_DEFAULTS.get((name, setting), theirs[setting].default), setting


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_settings_reach_torch_s_optimizer_and_a_step_moves_the_parameters(name: str) -> None:
    settings = OPTIMIZERS[name].model_validate({"lr": 0.05, "weight_decay": 0.25})
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = settings.build([weight])
    assert type(optimizer) is getattr(torch.optim, settings.torch_class)
    assert {key: optimizer.param_groups[0][key] for key, _ in settings if key != "name"} == dict(
        (key, value) for key, value in settings if key != "name"
    )
    weight.sum().backward()
    optimizer.step()
    assert (weight < 1).all()


def test_nesterov_without_momentum_is_refused_before_torch_would() -> None:
    with pytest.raises(ValidationError, match="nesterov = True: needs a momentum above 0"):
        OPTIMIZERS["sgd"].model_validate({"nesterov": True})
    settings = OPTIMIZERS["sgd"].model_validate({"nesterov": True, "momentum": 0.9})
    assert settings.build([torch.nn.Parameter(torch.ones(1))]).param_groups[0]["nesterov"]


@pytest.mark.parametrize("setting", ["lr", "weight_decay"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_negative_rate_or_decay_is_refused(name: str, setting: str) -> None:
    with pytest.raises(ValidationError, match=setting):
        OPTIMIZERS[name].model_validate({setting: -1e-3})
