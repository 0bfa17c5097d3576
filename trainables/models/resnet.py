"""torchvision's ResNets, with a stem for small images beside their own, for any number of input channels."""

from typing import TYPE_CHECKING, Literal

from trainables.models.base import Model
from trainables.models.pretrained import PretrainedModel

if TYPE_CHECKING:
    from torch import nn


class ResNetLayout(Model):
    """`stem: small` is a 3×3 stride-1 convolution without max pool; `imagenet` the published 7×7 stride-2 with one."""

    stem: Literal["small", "imagenet"] = "small"
    """first layers: `small` for small images, which pretrained weights do not fill; `imagenet` as published"""

    def fit_stem(self, network: "nn.Module", channels: int) -> "nn.Module":
        """`network` with the stem of the settings, for images of `channels` channels; `initialize` draws all of it."""
        from torch import nn

        from trainables.models.construction import drawn_by_name

        drawn_by_name(network)
        if self.stem == "small":
            network.conv1 = nn.Conv2d(channels, 64, 3, stride=1, padding=1, bias=False)
            network.maxpool = nn.Identity()
        elif channels != 3:
            network.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        return network

    def initialize(self, module: "nn.Module", name: str) -> None:
        """torchvision's: convolutions from N(0, 2 / fan_out), the rest as torch does."""
        from torch import nn

        if not isinstance(module, nn.Conv2d) or module.bias is not None:
            super().initialize(module, name)
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class ResNet(ResNetLayout, PretrainedModel):
    stem_layer = "conv1"

    def bare(self, image_shape: tuple[int, int, int], outputs: int, points: int) -> "nn.Module":
        from torchvision.models import get_model

        return self.fit_stem(get_model(self.name, weights=None, num_classes=outputs), image_shape[0])


class ResNet18(ResNet):
    """torchvision's ResNet18."""

    name: Literal["resnet18"] = "resnet18"


class ResNet34(ResNet):
    """torchvision's ResNet34."""

    name: Literal["resnet34"] = "resnet34"


class ResNet50(ResNet):
    """torchvision's ResNet50."""

    name: Literal["resnet50"] = "resnet50"
