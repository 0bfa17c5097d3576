"""Random augmentation of faces together with their landmarks, in the geometry of the photo.

A stored crop may be squeezed (boxes are rarely square) and larger than the network's input. A rotation therefore
rotates the photo, not the squeezed crop, and fills the corners with stored photo, not with black; beyond the stored
area the edge repeats. Images and landmarks are transformed by the same matrices.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from core.seeds import stable_unit
from datasets.augmentation.images import Draws, Moves, jitter, mirrored, paired, to_device
from datasets.augmentation.settings import COLOUR, FLIPS, GEOMETRY, Pairs
from datasets.base import central_crop


def apply_points(images: Tensor, points: Tensor, moves: Moves, crop: int, order: Tensor) -> tuple[Tensor, Tensor]:
    """Applies the moves of `point_moves` to stored images and their landmarks; `order` is from `mirrored_order`."""
    images, points = move(images, points, moves, crop, order)
    return jitter(images, moves), points


def mirrored_order(landmarks: int, flip_pairs: Pairs) -> Tensor:
    """(landmarks,) int64: for each landmark, the index of the one that takes its place in a mirrored image."""
    found = torch.arange(landmarks)
    for left, right in flip_pairs:
        found[left], found[right] = right, left
    return found


def rotate_fixed(
    images: Tensor, points: Tensor, degrees: float, rows: Iterable[int], crop: int = 0, aspects: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Each example rotated by its own angle, the same at every call: for evaluation.

    `rows` (B,) are the examples' numbers in their split, which decide their angles (`fixed_angles`).
    """
    size = crop or images.shape[-1]
    draws = Draws(size, size, rotation=fixed_angles(rows, degrees) if degrees else None)
    moves = to_device(point_moves(draws, len(images), images.shape[-1], aspects), images.device)
    return move(images, points, moves, size, mirrored_order(points.shape[1], ()).to(points.device))


def fixed_angles(rows: Iterable[int], degrees: float) -> Tensor:
    """(B,) degrees counter-clockwise, uniform in ± `degrees`, decided by each example's number alone."""
    return torch.tensor([(2 * _fixed_unit(int(row)) - 1) * degrees for row in rows], dtype=torch.float32)


@cache
def _fixed_unit(row: int) -> float:
    return stable_unit("evaluation rotation", row)


def point_moves(draws: Draws, n: int, stored: int, aspects: Tensor | None) -> Moves:
    """The tensors that `apply_points` needs for n crops of images that are `stored` pixels wide and high.

    `there` (n, 2, 3) maps landmarks; `mirrored` (n,) marks images whose landmark pairs are swapped; `back` (n, 2, 3),
    present where anything is interpolated, maps a pixel of the crop to the stored image.
    """
    if not draws.values(*GEOMETRY):
        return draws.values(*COLOUR)
    matrices = point_matrices(draws, n, aspects)
    moves = {"there": matrices.float(), "mirrored": _is_mirrored(draws, n), **draws.values(*COLOUR)}
    if not draws.values(*GEOMETRY[2:]):
        return moves | draws.values(*FLIPS)
    back = torch.linalg.inv(_square(matrices))[:, :2]
    back[:, :, 2] += (stored - draws.width) // 2
    return moves | {"back": back.float()}


def move(images: Tensor, points: Tensor, moves: Moves, crop: int, order: Tensor) -> tuple[Tensor, Tensor]:
    """Applies the geometry of `point_moves`, without its colour, to stored images and landmarks."""
    exact = "back" not in moves  # nothing is interpolated
    images = mirrored(central_crop(images, crop), moves) if exact else _sampled(images, moves["back"], crop)
    return images, _moved_points(points, moves, order)


def point_matrices(draws: Draws, n: int, aspects: Tensor | None) -> Tensor:
    """(n, 2, 3) float64 on the CPU as `Draws.matrices`, but rotating the photo: S⁻¹ R S, S = diag(aspect, 1)."""
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
    return (_square(rest.matrices(n)) @ (_square(turn) @ _square(flips.matrices(n))))[:, :2]


def _square(matrices: Tensor) -> Tensor:
    last = torch.tensor([0, 0, 1], dtype=matrices.dtype).expand(len(matrices), 1, 3)
    return torch.cat([matrices, last], 1)


def _sampled(images: Tensor, back: Tensor, crop: int) -> Tensor:
    """One bilinear look-up in the stored images (B, C, P, P) for every pixel of the crop; their edges repeat."""
    stored = images.shape[-1]
    places = torch.arange(crop, device=images.device) + 0.5
    rows = back[..., None, None].unbind(1)
    x, y = (row[:, 0] * places[None, None, :] + row[:, 1] * places[None, :, None] + row[:, 2] for row in rows)
    grid = paired(2 * x / stored - 1, 2 * y / stored - 1)
    # In float32 whatever the images are: half the bits would place pixels a quarter of a pixel off.
    sampled = grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled.to(images.dtype)


def _moved_points(points: Tensor, moves: Moves, order: Tensor) -> Tensor:
    if "there" not in moves:
        return points
    x, y = points.float().unbind(2)
    # Not a matrix product: under autocast, or with TF32, that would round to a tenth of a pixel.
    rows = moves["there"][..., None].unbind(1)
    there = torch.stack([row[:, 0] * x + row[:, 1] * y + row[:, 2] for row in rows], 2).to(points.dtype)
    return there.index_select(1, order).where(moves["mirrored"][:, None, None], there)


def _is_mirrored(draws: Draws, n: int) -> Tensor:
    """(n,) bool: flipped along one axis; flipping along both is a rotation, which swaps no landmarks."""
    mirrored = torch.zeros(n, dtype=torch.bool)
    for flips in (draws.flip, draws.vertical_flip):
        if flips is not None:
            mirrored = mirrored ^ flips
    return mirrored
