"""A batch of images, changed as a training batch is."""

from collections.abc import Sequence

from torch import Tensor

from datasets.augmentation.images import apply, draw, generators, to_device
from datasets.augmentation.landmarks import apply_points, mirrored_order, point_moves
from datasets.augmentation.settings import Augmentation


def augment(images: Tensor, settings: Augmentation, seed: int) -> Tensor:
    n, _, height, width = images.shape
    return apply(
        images, to_device(draw(settings, n, height, width, generators(settings, seed)).moves(n), images.device)
    )


def augment_points(
    images: Tensor,
    points: Tensor,
    settings: Augmentation,
    seed: int,
    crop: int = 0,
    aspects: Tensor | None = None,
    flip_pairs: Sequence[tuple[int, int]] = (),
) -> tuple[Tensor, Tensor]:
    """`crop` 0 = all of the image."""
    size = crop or images.shape[-1]
    draws = draw(settings, len(images), size, size, generators(settings, seed))
    moves = to_device(point_moves(draws, len(images), images.shape[-1], aspects), images.device)
    return apply_points(images, points, moves, size, mirrored_order(points.shape[1], flip_pairs).to(points.device))
