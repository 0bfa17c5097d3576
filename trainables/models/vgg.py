"""torchvision's VGG19, with and without batch norm, for any number of input channels."""

from typing import TYPE_CHECKING, Literal

from trainables.models.pretrained import PretrainedModel

if TYPE_CHECKING:
    from torch import nn


class VGG19(PretrainedModel):
    """Features of any size ≥ 32 are averaged to the 7 × 7 that the classifier takes."""

    smallest = 32
    output_layers = ("classifier.6",)
    stem_layer = "features.0"

    name: Literal["vgg19"] = "vgg19"
    batch_norm: bool = False
    """batch norm after each convolution: torchvision's VGG19-BN"""

    @property
    def architecture(self) -> str:
        return "vgg19_bn" if self.batch_norm else "vgg19"

    def bare(self, image_shape: tuple[int, int, int], outputs: int, points: int) -> "nn.Module":
        from torch import nn
        from torchvision.models import get_model

        network = get_model(self.architecture, weights=None, num_classes=outputs, init_weights=False)
        if image_shape[0] != 3:
            network.features[0] = nn.Conv2d(image_shape[0], 64, 3, padding=1)
        return network

    def initialize(self, module: "nn.Module", name: str) -> None:
        """torchvision's: convolutions from N(0, 2 / fan_out), linear layers from N(0, 0.01²), biases 0."""
        from torch import nn

        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        else:
            super().initialize(module, name)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
