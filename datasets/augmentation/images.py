"""Random augmentation of whole training batches on their device, each image with its own draws.

Every operation draws from its own generator, always on the CPU: turning one on changes no draw of another, and every
device gets the same numbers. All geometric operations share one interpolation; torchvision chains them and so
interpolates (and darkens the border) once for each.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import grid_sample

from core.seeds import derive_seed
from datasets.augmentation.settings import COLOUR, FLIPS, GEOMETRY, Augmentation

Moves = dict[str, Tensor]
"""what `apply` takes for B images, by name, each (B, …): values of `Draws`, and matrices computed from them"""


@dataclass(frozen=True)
class Draws:
    """Sampled parameters for B images of height × width, one value an image; None where an operation is off."""

    height: int
    width: int
    flip: Tensor | None = None
    """(B,) bool"""
    vertical_flip: Tensor | None = None
    """(B,) bool"""
    rotation: Tensor | None = None
    """(B,) degrees, counter-clockwise"""
    translate: Tensor | None = None
    """(B, 2) pixels to the right, downwards"""
    crop: Tensor | None = None
    """(B, 4) left, top, width, height in pixels"""
    brightness: Tensor | None = None
    """(B,) factor, and so for the next two"""
    contrast: Tensor | None = None
    saturation: Tensor | None = None
    hue: Tensor | None = None
    """(B,) share of the colour circle"""

    def matrices(self, n: int) -> Tensor:
        """(n, 2, 3) float64: where the point (x, y) of an image goes, [x', y'] = M @ [x, y, 1].

        Coordinates are continuous, in pixels: pixel i spans i to i + 1. Landmarks move by these.
        """
        whole = torch.eye(3, dtype=torch.float64).repeat(n, 1, 1)
        for flips, axis, size in ((self.flip, 0, self.width), (self.vertical_flip, 1, self.height)):
            if flips is not None:
                whole[:, axis, axis] = 1 - 2 * flips.double()
                whole[:, axis, 2] = size * flips.double()
        if self.rotation is not None or self.translate is not None:
            whole = _rigid(self, n) @ whole
        if self.crop is not None:
            left, top, width, height = self.crop.double().unbind(1)
            zoom = torch.zeros(n, 3, 3, dtype=torch.float64)
            zoom[:, 0, 0], zoom[:, 0, 2] = self.width / width, -left * self.width / width
            zoom[:, 1, 1], zoom[:, 1, 2] = self.height / height, -top * self.height / height
            zoom[:, 2, 2] = 1
            whole = zoom @ whole
        return whole[:, :2]

    def moves(self, n: int) -> Moves:
        """The tensors that `apply` needs for n images; `back` (n, 2, 3) maps a pixel of the result to its source."""
        if self.rotation is None and self.translate is None:
            return self.values(*FLIPS, "crop", *COLOUR)
        back = torch.linalg.inv(_rigid(self, n)).float()[:, :2]
        return {"back": back, **self.values(*FLIPS, "crop", *COLOUR)}

    def values(self, *names: str) -> Moves:
        """Values of the named operations, without those that are off."""
        return {name: values for name in names if (values := getattr(self, name)) is not None}


def _rigid(draws: Draws, n: int) -> Tensor:
    """(n, 3, 3): rotation about the centre, then translation, of points with y downwards."""
    angle = torch.zeros(n).double() if draws.rotation is None else torch.deg2rad(draws.rotation.double())
    centre = torch.tensor([draws.width / 2, draws.height / 2], dtype=torch.float64)
    cos, sin = torch.cos(angle), torch.sin(angle)
    matrix = torch.zeros(n, 3, 3, dtype=torch.float64)
    matrix[:, 0, 0], matrix[:, 0, 1] = cos, sin
    matrix[:, 1, 0], matrix[:, 1, 1] = -sin, cos
    matrix[:, :2, 2] = centre - matrix[:, :2, :2] @ centre
    if draws.translate is not None:
        matrix[:, :2, 2] += draws.translate.double()
    matrix[:, 2, 2] = 1
    return matrix


def generators(settings: Augmentation, seed: int) -> dict[str, Generator]:
    """A CPU generator for every operation that is on, seeded by its name."""
    on = [name for name in GEOMETRY + COLOUR if (settings.crop_scale if name == "crop" else getattr(settings, name))]
    return {name: torch.Generator().manual_seed(derive_seed(seed, name)) for name in on}


def draw(settings: Augmentation, n: int, height: int, width: int, generators: Mapping[str, Generator]) -> Draws:
    """The parameters of n images, each operation's from its own generator; pure but for the generators' states."""

    def uniform(name: str, reach: float, *shape: int) -> Tensor:
        return (2 * torch.rand(n, *shape, dtype=torch.float64, generator=generators[name]) - 1) * reach

    values: dict[str, Tensor] = {}
    for name in generators:
        if name in FLIPS:
            values[name] = uniform(name, 1) < 0
        elif name in ("rotation", "hue"):
            values[name] = uniform(name, getattr(settings, name)).float()
        elif name == "translate":
            reach = settings.translate * torch.tensor([width, height], dtype=torch.float64)
            values[name] = (uniform(name, 1, 2) * reach).round().float()
        elif name == "crop":
            values[name] = _draw_crop(settings, n, height, width, generators[name])
        else:
            strength = getattr(settings, name)
            low, high = max(0.0, 1 - strength), 1 + strength
            values[name] = (low + (high - low) * torch.rand(n, dtype=torch.float64, generator=generators[name])).float()
    return Draws(height, width, **values)


def _draw_crop(settings: Augmentation, n: int, height: int, width: int, generator: Generator) -> Tensor:
    """(n, 4) boxes with the distribution of torchvision's RandomResizedCrop.get_params.

    Area and log-ratio are uniform; the first of ten attempts that fits is taken, else the largest central crop whose
    ratio is allowed.
    """
    assert settings.crop_scale is not None
    area, ratio, place = torch.rand(3, n, 10, dtype=torch.float64, generator=generator)
    low, high = settings.crop_scale
    area = height * width * (low + (high - low) * area)
    narrow, wide = settings.crop_ratio
    ratio = torch.exp(math.log(narrow) + (math.log(wide) - math.log(narrow)) * ratio)
    widths, heights = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first = fits.int().argmax(1, keepdim=True)
    sizes = torch.stack([widths.gather(1, first), heights.gather(1, first)], 1)[..., 0]
    corner = torch.floor(place[:, :2] * (torch.tensor([width, height]) - sizes + 1))
    nearest = min(max(width / height, narrow), wide)
    w, h = (width, round(width / nearest)) if nearest >= width / height else (round(height * nearest), height)
    fallback = torch.tensor([(width - w) // 2, (height - h) // 2, w, h], dtype=torch.float64)
    return torch.where(fits.any(1, keepdim=True), torch.cat([corner, sizes], 1), fallback).float()


def to_device(moves: Moves, device: torch.device) -> Moves:
    """The same values, on `device`."""
    return {name: values.to(device) for name, values in moves.items()}


def apply(images: Tensor, moves: Moves) -> Tensor:
    """Applies the sampled changes: flips, rotation, translation and crop (bilinear, zeros outside), then colour."""
    images = mirrored(images, moves)
    if "back" in moves or "crop" in moves:
        images = _resample(images, moves)
    return jitter(images, moves)


def mirrored(images: Tensor, moves: Moves) -> Tensor:
    """Flips the images that `moves` marks."""
    for name, axis in zip(FLIPS, (3, 2), strict=True):
        if name in moves:
            images = images.flip(axis).where(moves[name][:, None, None, None], images)
    return images


def _resample(images: Tensor, moves: Moves) -> Tensor:
    """One bilinear look-up for rotation, translation and crop: every output pixel is traced back to the input."""
    n, _, height, width = images.shape
    if "crop" in moves:
        left, top, crop_width, crop_height = (part[:, None] for part in moves["crop"].unbind(1))
    else:
        left, top, crop_width, crop_height = (
            torch.full((n, 1), size, dtype=torch.float32, device=images.device) for size in (0, 0, width, height)
        )
    # A resize repeats the crop's own edge: it must not blend in pixels from outside the crop, nor zeros.
    columns, rows = (torch.arange(size, device=images.device) + 0.5 for size in (width, height))
    x = (columns * (crop_width / width)).clamp(min=0.5).minimum(crop_width - 0.5)
    y = (rows * (crop_height / height)).clamp(min=0.5).minimum(crop_height - 0.5)
    x, y = (left + x)[:, None, :], (top + y)[:, :, None]
    if "back" in moves:
        back = moves["back"][..., None, None]
        x, y = (row[:, 0] * x + row[:, 1] * y + row[:, 2] for row in back.unbind(1))
    else:
        x, y = x.expand(n, height, width), y.expand(n, height, width)
    grid = paired(2 * x / width - 1, 2 * y / height - 1).to(images.dtype)
    return grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def paired(x: Tensor, y: Tensor) -> Tensor:
    """(B, H, W, 2) from two (B, H, W), stored as two planes: as fast to read as interleaved pairs, faster to write."""
    return torch.stack([x, y], 1).permute(0, 2, 3, 1)


def jitter(images: Tensor, moves: Moves) -> Tensor:
    """Brightness, contrast, saturation, hue; on grey images the last two change nothing."""
    factors = {name: values.to(images.dtype)[:, None, None, None] for name, values in moves.items() if name in COLOUR}
    if "brightness" in factors:
        images = (images * factors["brightness"]).clamp(0, 1)
    if "contrast" in factors:
        mean = grey(images).mean((1, 2, 3), keepdim=True)
        images = mean.lerp(images, factors["contrast"]).clamp(0, 1)
    if images.shape[1] == 3:
        if "saturation" in factors:
            images = grey(images).expand_as(images).lerp(images, factors["saturation"]).clamp(0, 1)
        if "hue" in factors:
            images = shift_hue(images, factors["hue"])
    return images


def grey(images: Tensor) -> Tensor:
    """(B, 1, H, W) luma of RGB images (ITU-R BT.601 with torchvision's four digits); grey images as they are."""
    if images.shape[1] == 1:
        return images
    return 0.2989 * images[:, 0:1] + 0.587 * images[:, 1:2] + 0.114 * images[:, 2:3]


def shift_hue(images: Tensor, shift: Tensor) -> Tensor:
    """RGB images (B, 3, H, W) with their hue turned by `shift` (B, 1, 1, 1) of the circle; saturation and value stay.

    HSV as in https://en.wikipedia.org/wiki/HSL_and_HSV; with hue k in sixths, channel n is
    v − v·s·clamp(min(k_n, 4 − k_n), 0, 1), k_n = (n + k) mod 6, n = 5, 3, 1.
    """
    value, chroma = images.amax(1), images.amax(1) - images.amin(1)
    red, green, blue = images.unbind(1)
    safe = chroma.where(chroma > 0, 1)
    green_or_blue = torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    sixth = torch.where(value == red, (green - blue) / safe, green_or_blue) + 6 * shift[:, 0]
    turned = [(n + sixth) % 6 for n in (5, 3, 1)]
    return torch.stack([value - chroma * torch.minimum(k, 4 - k).clamp(0, 1) for k in turned], 1)
