"""From settings to a network ready to train: built bare, weights from named seeds, then layers placed."""

from torch import Tensor, nn

from datasets.base import DatasetInfo
from trainables.config import TrialConfig
from trainables.models.initializers import initialize
from trainables.models.placement import place


def build_network(config: TrialConfig, info: DatasetInfo, seed: int) -> nn.Module:
    """The network of `config` for the data set's images; ValueError (PlacementError) if it cannot be built."""
    network = _bare(config, info)
    initialize(network, config.model, seed)
    place(network, config.model, info.input_shape)
    return network


def saved_network(config: TrialConfig, info: DatasetInfo, state: dict[str, Tensor]) -> nn.Module:
    """The network of `config` with the weights of a state dict; no pretrained ones are looked for."""
    network = _bare(config, info)
    place(network, config.model, info.input_shape)
    network.load_state_dict(state)
    return network


def _bare(config: TrialConfig, info: DatasetInfo) -> nn.Module:
    points = 0 if config.loss.task == "classification" else 2 * info.n_points
    return config.model.build(info.input_shape, len(info.classes), points)
