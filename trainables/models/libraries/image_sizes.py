"""Finds the image sizes that a network can take, by trying them without memory: no library states them for all."""

from collections.abc import Iterator

import torch

from trainables.models.base import Model
from trainables.models.libraries.weightless import without_memory

STEP = 32  # pixels: what most networks halve an image by, five times
LARGEST = 512


def size_fault(model: Model, image_shape: tuple[int, int, int], classes: int) -> str | None:
    """Why a network cannot take images of this size, by the sizes near it that it can; None where none is found."""
    channels, height, width = image_shape
    side = min(height, width)

    def takes(side: int) -> bool:
        try:
            network = without_memory(lambda: model.build((channels, side, side), classes)).eval()
            network(torch.zeros(2, channels, side, side, device="meta"))
        except Exception:  # whatever a network raises for a size it cannot take
            return False
        return True

    above = next(filter(takes, _multiples(side)), None)
    if above is None:
        return None
    below, needed = max(side if height == width else side - 1, 0), above
    while needed - below > 1:
        middle = (below + needed) // 2
        below, needed = (below, middle) if takes(middle) else (middle, needed)
    smaller = next((least for step in (16, 14) if (least := side - side % step) and takes(least)), None)
    if smaller == side:  # only the other side, or both being different, is wrong
        return f"model.name: {model.name} takes square pictures, such as {side} × {side}, not {height} × {width}"
    bound = "at least " if takes(needed + 1) else ""  # a transformer's patches divide its images
    if bound and not takes(above + STEP):  # MaxViT rounds up to what its windows divide
        bound, needed = "", above
    said = f"of {smaller} × {smaller} or {needed} × {needed}" if smaller else f"of {bound}{needed} × {needed}"
    return f"model.name: {model.name} needs pictures {said} pixels, not {height} × {width}"


def _multiples(side: int) -> Iterator[int]:
    """Sizes from `side` on that networks are commonly made for, ascending."""
    yield from range(side - side % -STEP, max(LARGEST, 2 * side) + 1, STEP)
