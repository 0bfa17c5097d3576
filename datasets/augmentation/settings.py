"""Settings of the augmentation of training batches, apart from its code so that reading them needs no torch."""

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from core.component import Component, Needs, Range

Pairs = Sequence[tuple[int, int]]
"""(left, right) landmarks that change places when an image is mirrored"""
# Not strict about the pair itself, so that a list (all that YAML and JSON have) is one too.
Pair = Annotated[tuple[float, float], Field(strict=False)]
_RATIO = (3 / 4, 4 / 3)
FLIPS = ("flip", "vertical_flip")
GEOMETRY = (*FLIPS, "rotation", "translate", "crop")
COLOUR = ("brightness", "contrast", "saturation", "hue")


class Augmentation(Component):
    """Which changes are made, in the order in which they are applied; all off by default.

    Colour has the meaning of torchvision's ColorJitter (0.4: a factor from 0.6 to 1.4), but always in this order.
    """

    unrecorded = {"extra": ""}

    flip: bool = False
    """left to right, half of the images"""
    vertical_flip: bool = False
    """top to bottom, half of the images"""
    rotation: Annotated[float, Range(0, 45)] = Field(default=0.0, ge=0, le=180)
    """up to so many degrees either way, about the centre; corners become black"""
    translate: Annotated[float, Range(0, 0.25)] = Field(default=0.0, ge=0, le=1)
    """up to this share of the width and of the height either way, whole pixels; what is bared becomes black"""
    crop_scale: Pair | None = None
    """share of the area that a crop covers, resized to the whole image again: RandomResizedCrop's `scale`"""
    crop_ratio: Annotated[Pair, Needs("augmentation.crop_scale")] = _RATIO
    """width over height of the crop"""
    brightness: Annotated[float, Range(0, 0.8)] = Field(default=0.0, ge=0)
    """multiply by a factor of up to so much above or below 1"""
    contrast: Annotated[float, Range(0, 0.8)] = Field(default=0.0, ge=0)
    """scale the distance from the image's mean grey by a factor of up to so much above or below 1"""
    saturation: Annotated[float, Range(0, 0.8)] = Field(default=0.0, ge=0)
    """scale the distance from the image's own grey by a factor of up to so much above or below 1"""
    hue: Annotated[float, Range(0, 0.25)] = Field(default=0.0, ge=0, le=0.5)
    """up to this share of the colour circle either way"""
    extra: str = ""
    """one of the user's own, before the others: `mine.py:f` of (images (B, C, H, W) uint8, generator), or a pipeline of
    torchvision.transforms.v2, which changes one image at a time"""

    @property
    def own_references(self) -> tuple[str, ...]:
        return (self.extra,) if self.extra else ()

    @model_validator(mode="after")
    def _crop_domain(self) -> Self:
        if self.crop_scale is not None and not 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1:
            raise ValueError(f"crop_scale = {self.crop_scale}: must be 0 < low ≤ high ≤ 1")
        if not 0 < self.crop_ratio[0] <= self.crop_ratio[1]:
            raise ValueError(f"crop_ratio = {self.crop_ratio}: must be 0 < low ≤ high")
        return self

    @property
    def is_off(self) -> bool:
        """True when nothing would change."""
        return self == Augmentation()

    def faults(self, n_channels: int) -> list[str]:
        """Faults of operations that have no effect on images of `n_channels` channels."""
        inert = [name for name in ("saturation", "hue") if getattr(self, name) and n_channels == 1]
        return [f"augmentation.{name} = {getattr(self, name)}: has no effect on grey images" for name in inert]


def point_faults(settings: Augmentation, flip_pairs: Pairs) -> list[str]:
    """Faults of flips that are on for faces with landmarks although `dataset.flip_pairs` is empty."""
    return [
        f"augmentation.{name} = True: a mirrored face needs dataset.flip_pairs, its (left, right) landmarks"
        for name in FLIPS
        if getattr(settings, name) and not flip_pairs
    ]
