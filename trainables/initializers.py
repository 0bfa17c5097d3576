"""Initial weights drawn module by module from named seeds, so that cells share them wherever the shapes agree.

A layer's weights depend on the trial's seed, its name and its shape only: placing batch norm or dropout elsewhere, or
widening another layer, changes none of them.
"""

from typing import TYPE_CHECKING

import torch
from torch import nn

from datasets.seeds import derive_seed

if TYPE_CHECKING:
    from trainables.models.base import Model


def initialize(network: nn.Module, settings: "Model", seed: int) -> None:
    """Redraw every parameter in place; torch's global CPU generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        for name, module in network.named_modules():
            if hasattr(module, "reset_parameters"):
                torch.manual_seed(derive_seed(seed, "initial weights", name))
                settings.initialize(module)
