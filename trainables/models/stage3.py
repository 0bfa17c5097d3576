"""The face networks: `stage3` tells faces from non-faces and finds landmarks; `stage1` is its landmark branch alone.

Their last convolutions meet linear layers of fixed size, so they take crops of 101 to 116 pixels; the source's are 112.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from trainables.models.base import Model

if TYPE_CHECKING:
    from torch import nn


class _FaceNetwork(Model):
    landmarks = True
    sides: ClassVar[tuple[int, int]] = (101, 116)
    """shortest and longest side that the four blocks bring down to 4"""

    def misfit(self, image_shape: tuple[int, int, int], points: int = 0) -> str | None:
        low, high = self.sides
        _, height, width = image_shape
        if not (low <= height <= high and low <= width <= high):
            return (
                f"model.name: {self.name} needs crops of 112 × 112 pixels ({low} to {high} a side fit), "
                f"not {height} × {width}"
            )
        return super().misfit(image_shape, points)

    def bare(self, image_shape: tuple[int, int, int], outputs: int, points: int) -> "nn.Module":
        from trainables.models.networks.stage3 import Stage3Network

        return Stage3Network(image_shape[0], outputs if self.classifies else None, points)


class Stage3(_FaceNetwork):
    """Both branches: gives (logits (B, outputs), points (B, points)) in training and in evaluation."""

    output_layers = ("ip3_cls", "ip3")

    name: Literal["stage3"] = "stage3"


class Stage1(_FaceNetwork):
    """The same backbone and landmark branch: gives points (B, points); `outputs` counts for nothing."""

    classifies = False
    output_layers = ("ip3",)

    name: Literal["stage1"] = "stage1"
