"""An exponential moving average of a network's weights: torch's `AveragedModel`; its `module` is the averaged network.

The first update copies: the average starts from the weights after one step, not from the initial ones.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """An average of `network` that keeps `decay` of itself at each update, on the network's device."""
    blend = get_ema_multi_avg_fn(decay)

    def update(average: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int) -> None:
        # Batch norm's statistics are averaged with the weights, as timm and torchvision's references do: the raw
        # network's are of activations that averaged weights do not give. Counters are copied: torch truncates their
        # average, and num_batches_tracked would stay 1 for ever. torch passes tensors of one dtype at a time.
        if average[0].is_floating_point():
            blend(average, current, updates)
        else:
            for mine, theirs in zip(average, current, strict=True):
                mine.copy_(theirs)

    return AveragedModel(network, multi_avg_fn=update, use_buffers=True)
