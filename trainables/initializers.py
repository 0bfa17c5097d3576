"""Initial weights drawn module by module from named seeds, so that cells share them wherever the shapes agree.

A layer's weights depend on the trial's seed, its name and its shape only: placing batch norm or dropout elsewhere, or
widening another layer, changes none of them. Pretrained weights are laid over them, so what they do not fill is as
it would be without.
"""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from datasets.seeds import derive_seed
from trainables.randomness import drawn_from, reseed

if TYPE_CHECKING:
    from trainables.models.base import Model


def initialize(network: nn.Module, settings: "Model", seed: int) -> list[str]:
    """Set every parameter of the bare network in place; torch's global CPU generator is left as it was.

    Returns the layers that pretrained weights left as drawn, none where no weights were asked for. WeightsError where
    the weights cannot be had or do not fit.
    """
    with drawn_from(0):
        for name, module in network.named_modules():
            if hasattr(module, "reset_parameters"):
                reseed(derive_seed(seed, "initial weights", name))
                if settings.initial_weights == "truncated_normal" and isinstance(module, nn.Conv2d | nn.Linear):
                    truncated_normal(module)
                else:
                    settings.initialize(module, name)
    return settings.load_weights(network)


def cut_normal(weight: Tensor) -> None:
    """As `trunc_normal_(weight, std=0.01, a=-2, b=2)` of torch 2.15; that of 2.11 puts one in 2^24 numbers at the cut.

    The cut is 200 deviations away: there is nothing to draw again.
    """
    nn.init.normal_(weight, std=0.01)


def truncated_normal(layer: nn.Conv2d | nn.Linear) -> None:
    """Weights from a normal distribution of mean 0 and deviation 0.01, cut at ± 2; biases 0."""
    cut_normal(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
