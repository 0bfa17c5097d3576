"""torchvision's GoogLeNet with its two auxiliary heads, and a form of it without batch norm.

The heads work in training mode only, where the network returns (logits, [logits of head 1, logits of head 2]).
"""

from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from trainables.models.pretrained import PretrainedModel

if TYPE_CHECKING:
    from torch import nn


class GoogLeNet(PretrainedModel):
    """`batch_norm: false` gives convolutions a bias instead. torchvision's "5×5" branch is 3×3; `true_5x5` makes it the
    paper's. ImageNet weights exist for torchvision's form alone, and do not train its auxiliary heads."""

    smallest = 64  # the heads average a map of a sixteenth of the image to 4 × 4
    auxiliary_weight = 0.3
    stem_layer = "conv1.conv"
    untrained = ("aux1", "aux2")

    name: Literal["googlenet"] = "googlenet"
    batch_norm: bool = True
    """batch norm after each convolution, as torchvision has it"""
    true_5x5: bool = False
    """5×5 kernels in the branch in which torchvision has 3×3"""

    @model_validator(mode="after")
    def _weights_exist(self) -> Self:
        if self.pretrained and not self.batch_norm:
            raise ValueError("there are no ImageNet weights of GoogLeNet without batch norm; pretrained must be false")
        if self.pretrained and self.true_5x5:
            raise ValueError("GoogLeNet's ImageNet weights have 3×3 kernels where true_5x5 has 5×5; one must be false")
        return self

    def bare(self, image_shape: tuple[int, int, int], outputs: int, points: int) -> "nn.Module":
        from torch import nn

        from trainables.models.networks.googlenet import AuxiliaryGoogLeNet, widen_5x5

        network = AuxiliaryGoogLeNet(outputs, batch_norm=self.batch_norm)
        if image_shape[0] != 3:
            network.conv1.conv = nn.Conv2d(image_shape[0], 64, 7, stride=2, padding=3, bias=not self.batch_norm)
        if self.true_5x5:
            widen_5x5(network)
        return network

    def initialize(self, module: "nn.Module", name: str) -> None:
        """torchvision's: weights from a truncated normal of deviation 0.01, biases as torch does.

        Without batch norm torch's defaults are kept: through 22 layers of such small weights the signal would vanish.
        """
        from torch import nn

        super().initialize(module, name)
        if self.batch_norm and isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, std=0.01)  # not truncated: the cut is 200 standard deviations away
