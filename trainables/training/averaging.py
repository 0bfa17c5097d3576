"""An exponential moving average of a network's weights, in torch's `AveragedModel`; its `module` is the average.

The first update copies: the average starts from the weights after one step, not from the initial ones.
"""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class Averaged(AveragedModel):
    """An average of `network` that keeps `decay` of itself at each update, on the network's device."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network, use_buffers=True)
        self.blend = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """As torch's, but without copying the step count to the device, for which every step would wait.

        Batch norm's statistics are averaged with the weights, as in timm's and torchvision's reference training: the
        raw network's statistics do not fit the averaged weights. Integer counters are copied: torch truncates their
        average, and num_batches_tracked would stay 1 for ever.
        """
        own, given = ([*part.parameters(), *part.buffers()] for part in (self.module, model))
        begun = int(self.n_averaged) > 0
        averaged = [pair for pair in zip(own, given, strict=True) if begun and pair[0].is_floating_point()]
        copied = [pair for pair in zip(own, given, strict=True) if not (begun and pair[0].is_floating_point())]
        if averaged:
            self.blend(*map(list, zip(*averaged, strict=True)), self.n_averaged)
        for mine, theirs in copied:
            mine.copy_(theirs)
        self.n_averaged += 1
