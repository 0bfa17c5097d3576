"""From settings to a network ready to train: built bare, weights from named seeds, then layers placed."""

from typing import TYPE_CHECKING

from torch import nn

from trainables.initializers import initialize
from trainables.placement import place

if TYPE_CHECKING:
    from datasets.base import DatasetInfo
    from trainables.config import TrialConfig


def build_network(config: "TrialConfig", info: "DatasetInfo", seed: int) -> nn.Module:
    """The network of `config` for the data set's pictures; ValueError (PlacementError) where it cannot be."""
    points = 0 if config.loss.task == "classification" else 2 * info.n_points
    network = config.model.build(info.input_shape, len(info.classes), points)
    initialize(network, config.model, seed)
    place(network, config.model, info.input_shape)
    return network
