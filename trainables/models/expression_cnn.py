"""The plain network that the facial-expression ladder starts from, made for grey 48 × 48 images."""

from typing import TYPE_CHECKING, Literal

from trainables.models.base import Model
from trainables.models.small_cnn import SmallCNN

if TYPE_CHECKING:
    from torch import nn


class ExpressionCNN(Model):
    """conv 32-64-128 (3×3, ReLU, max pool), fc 256, output; layers are named as `SmallCNN` names them."""

    output_layers = ("fc2",)

    name: Literal["expression_cnn"] = "expression_cnn"

    def bare(self, image_shape: tuple[int, int, int], outputs: int, points: int) -> "nn.Module":
        return SmallCNN(channels=(32, 64, 128), hidden=256).bare(image_shape, outputs, points)
