"""Initial weights drawn module by module from named seeds, so that cells share them wherever the shapes agree.

A layer's weights depend on the trial's seed, its name and its shape only: placing batch norm or dropout elsewhere, or
widening another layer, changes none of them. What the network itself drew, set or tied after its layers' own
initialization stays as constructed (`trainables.models.construction`). Pretrained weights are laid over all that, so
what they do not fill is as it would be without.
"""

import torch
from torch import nn

from core.seeds import derive_seed
from trainables.models.base import Model
from trainables.models.construction import constructed, full_name, own_values
from trainables.training.rng import RngContext


def initialize(network: nn.Module, settings: Model, seed: int) -> list[str]:
    """Draw the bare network's layers in place; torch's global CPU generator is left as it was.

    Returns the layers that pretrained weights left as drawn, none where no weights were asked for. WeightsError where
    the weights cannot be had or do not fit.
    """
    built = constructed(network)
    with RngContext(torch.device("cpu")):
        for name, module in network.named_modules():
            if not hasattr(module, "reset_parameters"):
                continue
            # Not torch.manual_seed, which also collects the call stack and takes a millisecond.
            torch.default_generator.manual_seed(derive_seed(seed, "initial weights", built.original.get(name, name)))
            if settings.initial_weights == "truncated_normal" and isinstance(module, nn.Conv2d | nn.Linear):
                truncated_normal(module)
                built.unpaired = [key for key in built.unpaired if key.rpartition(".")[0] != name]
            elif any(full_name(name, key) not in built.kept for key, _ in own_values(module)):
                _draw(module, name, settings, built.kept)
    built.unfilled = settings.load_weights(network)
    if getattr(settings, "pretrained", False):  # what the weights fill is the same in every network
        built.unpaired = [key for key in built.unpaired if key.rpartition(".")[0] in built.unfilled]
    return built.unfilled


def _draw(module: nn.Module, name: str, settings: Model, kept: frozenset[str]) -> None:
    """Draw a layer anew, but for what stays as constructed in it and below it."""
    state = module.state_dict() if kept else {}
    held = {key: value.clone() for key, value in state.items() if full_name(name, key) in kept}
    settings.initialize(module, name)
    if held:
        module.load_state_dict(held, strict=False)


def truncated_normal(layer: nn.Conv2d | nn.Linear) -> None:
    """Weights from a normal distribution of mean 0 and deviation 0.01, biases 0.

    `trunc_normal_(std=0.01, a=-2, b=2)` is meant: its cut is 200 deviations away, where torch before 2.12 puts one of
    2^24 numbers.
    """
    nn.init.normal_(layer.weight, std=0.01)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
