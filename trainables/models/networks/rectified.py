"""Appends a ReLU to an output layer without changing the layer's name, its weights or their seed."""

from torch import Tensor, nn


class RectifiedLinear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).relu()


class RectifiedConv2d(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).relu()


RECTIFIED: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: RectifiedLinear, nn.Conv2d: RectifiedConv2d}


def rectify(network: nn.Module, name: str) -> None:
    """Give the layer `name` a ReLU, in place."""
    layer = network.get_submodule(name)
    layer.__class__ = RECTIFIED[type(layer)]  # a sequence of layer and ReLU would rename `name.weight`
