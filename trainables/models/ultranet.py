"""UltraNet18: ResNet18's layout with UltraBlock in place of BasicBlock."""

from typing import TYPE_CHECKING, Literal

from trainables.models.resnet import ResNetLayout

if TYPE_CHECKING:
    from torch import nn


class UltraNet18(ResNetLayout):
    """The layout, its downsampling shortcuts and its initial weights are torchvision's; UltraBlock is this project's
    reading of a source that does not spell it out. The stem is the published one unless `small` is asked for."""

    name: Literal["ultranet18"] = "ultranet18"
    stem: Literal["small", "imagenet"] = "imagenet"

    def bare(self, image_shape: tuple[int, int, int], outputs: int, points: int) -> "nn.Module":
        from torchvision.models import ResNet

        from trainables.models.networks.ultranet import UltraBlock

        return self.fit_stem(ResNet(UltraBlock, [2, 2, 2, 2], num_classes=outputs), image_shape[0])
