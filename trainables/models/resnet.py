"""torchvision's ResNet18, with a stem for small pictures beside its own, for any number of input channels."""

from typing import TYPE_CHECKING, Literal

from trainables.models.base import Model

if TYPE_CHECKING:
    from torch import nn


class ResNet18(Model):
    """`stem: small` is a 3×3 stride-1 convolution without max pool; `imagenet` the published 7×7 stride-2 with one."""

    name: Literal["resnet18"] = "resnet18"
    stem: Literal["small", "imagenet"] = "small"

    def build(self, image_shape: tuple[int, int, int], outputs: int) -> "nn.Module":
        from torch import nn
        from torchvision.models import resnet18

        network = resnet18(weights=None, num_classes=outputs)
        channels = image_shape[0]
        if self.stem == "small":
            network.conv1 = nn.Conv2d(channels, 64, 3, stride=1, padding=1, bias=False)
            network.maxpool = nn.Identity()
        elif channels != 3:
            network.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        return network

    def initialize(self, module: "nn.Module") -> None:
        """torchvision's: convolutions from N(0, 2 / fan_out), the rest as torch does."""
        from torch import nn

        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        else:
            super().initialize(module)
