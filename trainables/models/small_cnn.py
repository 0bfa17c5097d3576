"""A plain CNN for small images: conv – ReLU – max pool blocks, one hidden layer, one output layer."""

from collections import OrderedDict
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from trainables.models.base import Model

if TYPE_CHECKING:
    from torch import nn

Width = Annotated[int, Field(gt=0)]


class SmallCNN(Model):
    """Layers conv1, relu1, pool1, conv2, …, flatten, fc1, relu_fc1, fc2; no pool where a side would vanish."""

    output_layers = ("fc2",)

    name: Literal["small_cnn"] = "small_cnn"
    channels: tuple[Width, ...] = Field((16, 32), min_length=1)
    """channels of the convolutions, one a block"""
    hidden: Width = 64
    """units of the hidden layer `fc1`"""

    def bare(self, image_shape: tuple[int, int, int], outputs: int, points: int) -> "nn.Module":
        from torch import nn

        from trainables.models.networks.chain import Chain

        fan_in, height, width = image_shape
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for i, channels in enumerate(self.channels, 1):
            layers[f"conv{i}"] = nn.Conv2d(fan_in, channels, 3, padding=1)
            layers[f"relu{i}"] = nn.ReLU()
            fan_in = channels
            if min(height, width) >= 2:
                layers[f"pool{i}"] = nn.MaxPool2d(2)
                height, width = height // 2, width // 2
        layers["flatten"] = nn.Flatten()
        layers["fc1"] = nn.Linear(fan_in * height * width, self.hidden)
        layers["relu_fc1"] = nn.ReLU()
        layers["fc2"] = nn.Linear(self.hidden, outputs)
        return Chain(layers)
