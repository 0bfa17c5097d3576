"""Network in Network (Lin et al. 2014): convolutions followed by two 1×1 convolutions, classes by global averaging."""

from collections import OrderedDict
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from trainables.models.base import Model

if TYPE_CHECKING:
    from torch import nn


class NiN(Model):
    """The authors' ImageNet model: four mlpconv blocks (conv1, cccp1, cccp2; conv2, cccp3, cccp4; …), each layer with
    its ReLU (relu_conv1, …), pool1 to pool3 between them and drop before the last.

    The last block is `last_width` wide and ends in the classes; 0 makes all of it as wide as the classes, the form that
    textbooks teach. The authors rectify the class maps too: `relu_on_output`, off here as in every network, since a
    class that starts out negative on every image then never gets a gradient.
    """

    smallest = 39  # so that each pool still has two pixels to choose from
    output_layers = ("cccp8",)

    name: Literal["nin"] = "nin"
    last_width: Annotated[int, Field(ge=0)] = 1024
    """channels of the last block; 0 = as many as there are classes"""

    def bare(self, image_shape: tuple[int, int, int], outputs: int, points: int) -> "nn.Module":
        from torch import nn

        last = self.last_width or outputs
        # (channels of the convolution and the first 1×1, of the second 1×1; kernel, stride, padding)
        blocks = ((96, 96, 11, 4, 0), (256, 256, 5, 1, 2), (384, 384, 3, 1, 1), (last, outputs, 3, 1, 1))
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        fan_in = image_shape[0]
        for i, (channels, out, kernel, stride, padding) in enumerate(blocks, 1):
            convolutions = {
                f"conv{i}": nn.Conv2d(fan_in, channels, kernel, stride, padding),
                f"cccp{2 * i - 1}": nn.Conv2d(channels, channels, 1),
                f"cccp{2 * i}": nn.Conv2d(channels, out, 1),
            }
            for name, convolution in convolutions.items():
                layers[name] = convolution
                layers[f"relu_{name}"] = nn.ReLU()
            if i < len(blocks):
                layers[f"pool{i}"] = nn.MaxPool2d(3, stride=2, ceil_mode=True)
            if i == len(blocks) - 1:
                layers["drop"] = nn.Dropout(0.5)
            fan_in = out
        del layers["relu_cccp8"]  # `relu_on_output` decides
        layers["pool4"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        return nn.Sequential(layers)

    def initialize(self, module: "nn.Module", name: str) -> None:
        """The authors': weights from N(0, 0.05²), in conv1, conv3 and cccp8 from N(0, 0.01²); biases 0."""
        from torch import nn

        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.weight, std=0.01 if name in ("conv1", "conv3", "cccp8") else 0.05)
            nn.init.zeros_(module.bias)
        else:
            super().initialize(module, name)
