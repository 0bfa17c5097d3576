"""Random changes of faces together with their landmarks: the draws of `augmentation`, in the photo's own geometry.

A stored crop may be squeezed (a box is rarely square) and may show more than the network sees. So a rotation turns the
photo, not the squeezed picture, and what it turns in from outside the crop is photo and not black; beyond what is
stored the edge repeats. Pictures and landmarks move by the same matrices.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from datasets.augmentation import Augmentation, Draws, draw, generators, jitter, paired
from datasets.base import central_crop
from datasets.seeds import stable_unit

if TYPE_CHECKING:
    from torch import Tensor

Pairs = Sequence[tuple[int, int]]


def point_faults(settings: Augmentation, flip_pairs: Pairs) -> list[str]:
    """What `augment_points` would refuse, to be said before training."""
    return [
        f"augmentation.{name} = True: a mirrored face needs dataset.flip_pairs, its (left, right) landmarks"
        for name in ("flip", "vertical_flip")
        if getattr(settings, name) and not flip_pairs
    ]


def augment_points(
    images: Tensor,
    points: Tensor,
    settings: Augmentation,
    seed: int,
    crop: int = 0,
    aspects: Tensor | None = None,
    flip_pairs: Pairs = (),
) -> tuple[Tensor, Tensor]:
    """The batch as the network sees it, changed: images (B, C, crop, crop) and their landmarks.

    `images` (B, C, P, P) floating point in [0, 1]; `points` (B, L, 2) in pixels of the central crop, NaN where there
    are none; `crop` 0 = all of the picture; `aspects` (B,) width of a pixel over its height in the photo, None = 1.
    Draws are `augment`'s for pictures of the crop's size and this `seed`. A mirrored picture has the landmarks of
    `flip_pairs` exchanged; ValueError when a flip is on and there are none. With everything off the result is the
    central crop itself.
    """
    if faults := point_faults(settings, flip_pairs):
        raise ValueError(faults[0])
    size = crop or images.shape[-1]
    draws = draw(settings, len(images), size, size, generators(settings, seed))
    images, points = move(images, points, draws, aspects, flip_pairs)
    return jitter(images, draws), points


def rotate_fixed(
    images: Tensor,
    points: Tensor,
    degrees: float,
    rows: Iterable[int],
    crop: int = 0,
    aspects: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Each example turned by its own angle, the same at every call: for evaluation. Shapes as in `augment_points`.

    `rows` (B,) are the examples' numbers in their split; their angles are `fixed_angles` of them.
    """
    size = crop or images.shape[-1]
    rotation = fixed_angles(rows, degrees) if degrees else None
    return move(images, points, Draws(size, size, rotation=rotation), aspects, ())


def fixed_angles(rows: Iterable[int], degrees: float) -> Tensor:
    """(B,) degrees counter-clockwise, uniform in ± `degrees`, decided by each example's number alone."""
    import torch

    return torch.tensor([(2 * _fixed_unit(int(row)) - 1) * degrees for row in rows], dtype=torch.float32)


@cache
def _fixed_unit(row: int) -> float:
    return stable_unit("evaluation rotation", row)


def move(
    images: Tensor, points: Tensor, draws: Draws, aspects: Tensor | None, flip_pairs: Pairs
) -> tuple[Tensor, Tensor]:
    """The geometry of `draws` (of the crop's size) on stored pictures and landmarks; colour is left alone."""
    matrices = point_matrices(draws, len(images), aspects)
    if draws.rotation is None and draws.translate is None and draws.crop is None:
        moved = _mirrored(central_crop(images, draws.width), draws)  # exact: nothing is interpolated
    else:
        moved = _sampled(images, matrices, draws.width)
    return moved, _moved_points(points, matrices, draws, flip_pairs)


def point_matrices(draws: Draws, n: int, aspects: Tensor | None) -> Tensor:
    """(n, 2, 3) float64 on the CPU as `Draws.matrices`, but turning in the photo: S⁻¹ R S, S = diag(aspect, 1)."""
    import torch

    if draws.rotation is None or aspects is None:
        return draws.matrices(n)
    stretch = aspects.detach().double().cpu()
    centre = torch.tensor([draws.width / 2, draws.height / 2], dtype=torch.float64)
    turn = Draws(draws.height, draws.width, rotation=draws.rotation).matrices(n)
    turn[:, 0, 1] /= stretch
    turn[:, 1, 0] *= stretch
    turn[:, :, 2] = centre - turn[:, :, :2] @ centre
    flips = Draws(draws.height, draws.width, flip=draws.flip, vertical_flip=draws.vertical_flip)
    rest = replace(draws, flip=None, vertical_flip=None, rotation=None)
    return _chained(flips.matrices(n), turn, rest.matrices(n))


def _chained(*matrices: Tensor) -> Tensor:
    """(n, 2, 3): the first one applied first."""
    whole = _square(matrices[0])
    for matrix in matrices[1:]:
        whole = _square(matrix) @ whole
    return whole[:, :2]


def _square(matrices: Tensor) -> Tensor:
    import torch

    last = torch.tensor([0, 0, 1], dtype=matrices.dtype).expand(len(matrices), 1, 3)
    return torch.cat([matrices, last], 1)


def _mirrored(images: Tensor, draws: Draws) -> Tensor:
    for flips, axis in ((draws.flip, 3), (draws.vertical_flip, 2)):
        if flips is not None:
            images = images.flip(axis).where(flips.to(images.device)[:, None, None, None], images)
    return images


def _sampled(images: Tensor, matrices: Tensor, crop: int) -> Tensor:
    """One bilinear look-up in the stored pictures (B, C, P, P) for every pixel of the crop; their edges repeat."""
    import torch
    from torch.nn.functional import grid_sample

    stored = images.shape[-1]
    back = torch.linalg.inv(_square(matrices))[:, :2]
    back[:, :, 2] += (stored - crop) // 2
    back = back.to(images.device, torch.float32)[:, :, :, None, None]
    places = torch.arange(crop, device=images.device) + 0.5
    x, y = (row[:, 0] * places[None, None, :] + row[:, 1] * places[None, :, None] + row[:, 2] for row in back.unbind(1))
    grid = paired(2 * x / stored - 1, 2 * y / stored - 1)
    # In float32 whatever the pictures are: half the bits would place pixels a quarter of a pixel off.
    moved = grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return moved.to(images.dtype)


def _moved_points(points: Tensor, matrices: Tensor, draws: Draws, flip_pairs: Pairs) -> Tensor:
    import torch

    moving = (draws.flip, draws.vertical_flip, draws.rotation, draws.translate, draws.crop)
    if all(drawn is None for drawn in moving):
        return points
    x, y = points.float().unbind(2)
    rows = matrices.to(points.device, torch.float32)[:, :, :, None].unbind(1)
    # Not a matrix product: under autocast, or with TF32, that would round to a tenth of a pixel.
    moved = torch.stack([row[:, 0] * x + row[:, 1] * y + row[:, 2] for row in rows], 2).to(points.dtype)
    mirrored = _is_mirrored(draws, len(points)).to(points.device)
    swap = list(range(points.shape[1]))
    for left, right in flip_pairs:
        swap[left], swap[right] = right, left
    return moved[:, swap].where(mirrored[:, None, None], moved)


def _is_mirrored(draws: Draws, n: int) -> Tensor:
    """(n,) bool: flipped once; flipped both ways a picture is only turned, and left stays left."""
    import torch

    mirrored = torch.zeros(n, dtype=torch.bool)
    for flips in (draws.flip, draws.vertical_flip):
        if flips is not None:
            mirrored = mirrored ^ flips
    return mirrored
