"""torchvision's GoogLeNet with auxiliary logits as a list, and its variants without batch norm or with true 5×5."""

from functools import partial
from typing import Any

from torch import Tensor, nn
from torchvision.models import GoogLeNet
from torchvision.models.googlenet import BasicConv2d, Inception, InceptionAux


class BiasedConv2d(nn.Module):
    """torchvision's BasicConv2d without its batch norm: convolution with a bias, then ReLU."""

    def __init__(self, in_channels: int, out_channels: int, **kwargs: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu()


class AuxiliaryGoogLeNet(GoogLeNet):
    """Gives logits (B, outputs); in training mode (logits, [auxiliary logits of head 1, of head 2])."""

    def __init__(self, outputs: int, batch_norm: bool) -> None:
        conv = BasicConv2d if batch_norm else BiasedConv2d
        blocks = [conv, partial(Inception, conv_block=conv), partial(InceptionAux, conv_block=conv)]
        super().__init__(outputs, aux_logits=True, transform_input=False, init_weights=False, blocks=blocks)

    def forward(self, x: Tensor) -> Any:
        outputs = super().forward(x)
        if not self.training:
            return outputs
        return outputs.logits, [outputs.aux_logits1, outputs.aux_logits2]


def widen_5x5(network: nn.Module) -> None:
    """Give every Inception block's third branch the 5×5 convolution of the paper, where torchvision has 3×3."""
    for module in network.modules():
        if isinstance(module, Inception):
            narrow = module.branch3[1].conv
            module.branch3[1].conv = nn.Conv2d(
                narrow.in_channels, narrow.out_channels, 5, padding=2, bias=narrow.bias is not None
            )
