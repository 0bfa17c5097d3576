"""Initial weights drawn module by module from named seeds, so that cells share them wherever the shapes agree.

A layer's weights depend on the trial's seed, its name and its shape only: placing batch norm or dropout elsewhere, or
widening another layer, changes none of them. Pretrained weights are laid over them, so what they do not fill is as
it would be without.
"""

import torch
from torch import nn

from core.seeds import derive_seed
from trainables.models.base import Model
from trainables.training.rng import RngContext


def initialize(network: nn.Module, settings: Model, seed: int) -> list[str]:
    """Set every parameter of the bare network in place; torch's global CPU generator is left as it was.

    Returns the layers that pretrained weights left as drawn, none where no weights were asked for. WeightsError where
    the weights cannot be had or do not fit.
    """
    with RngContext(torch.device("cpu")):
        for name, module in network.named_modules():
            if hasattr(module, "reset_parameters"):
                # Not torch.manual_seed, which also collects the call stack and takes a millisecond.
                torch.default_generator.manual_seed(derive_seed(seed, "initial weights", name))
                if settings.initial_weights == "truncated_normal" and isinstance(module, nn.Conv2d | nn.Linear):
                    truncated_normal(module)
                else:
                    settings.initialize(module, name)
    return settings.load_weights(network)


def truncated_normal(layer: nn.Conv2d | nn.Linear) -> None:
    """Weights from a normal distribution of mean 0 and deviation 0.01, biases 0.

    `trunc_normal_(std=0.01, a=-2, b=2)` is meant: its cut is 200 deviations away, where torch before 2.12 puts one of
    2^24 numbers.
    """
    nn.init.normal_(layer.weight, std=0.01)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
