"""A batch of pictures, changed as a training batch is."""

from collections.abc import Sequence

from torch import Tensor

from datasets.augmentation import Augmentation, apply, draw, generators, moved
from datasets.augmentation_points import apply_points, exchanged, point_moves


def augment(images: Tensor, settings: Augmentation, seed: int) -> Tensor:
    n, _, height, width = images.shape
    return apply(images, moved(draw(settings, n, height, width, generators(settings, seed)).moves(n), images.device))


def augment_points(
    images: Tensor,
    points: Tensor,
    settings: Augmentation,
    seed: int,
    crop: int = 0,
    aspects: Tensor | None = None,
    flip_pairs: Sequence[tuple[int, int]] = (),
) -> tuple[Tensor, Tensor]:
    """`crop` 0 = all of the picture."""
    size = crop or images.shape[-1]
    draws = draw(settings, len(images), size, size, generators(settings, seed))
    moves = moved(point_moves(draws, len(images), images.shape[-1], aspects), images.device)
    return apply_points(images, points, moves, size, exchanged(points.shape[1], flip_pairs).to(points.device))
