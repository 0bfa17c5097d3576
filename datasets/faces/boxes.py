"""Boxes on photos: widening, overlap, and where an image without a face can be cut from a photo with faces.

A box is (left, top, right, bottom) in continuous pixels of the photo: pixel i spans i to i + 1.
"""

from random import Random

import numpy as np
import numpy.typing as npt

from datasets.base import Box

MAX_IOU = 0.3
"""a non-face overlaps every face of its photo by less (intersection over union)"""
_TRIES = 60  # random positions tried per box before all positions are searched
_ROWS = 256  # rows of positions searched at a time


def widened(box: Box, share: float, width: int, height: int) -> Box:
    """The box with `share` of its width added left and right and of its height above and below, rounded, clipped."""
    left, top, right, bottom = box
    across, down = share * (right - left), share * (bottom - top)
    return (
        max(0, round(left - across)),
        max(0, round(top - down)),
        min(width, round(right + across)),
        min(height, round(bottom + down)),
    )


def iou(boxes: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Intersection over union of every box (N, 4) with every other (M, 4): (N, M)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = (high - low).clip(min=0).prod(axis=2)
    return common / (_area(boxes)[:, None] + _area(others)[None] - common)


def _area(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def free_boxes(
    faces: npt.NDArray[np.float64], size: tuple[int, int], photo: tuple[int, int], n: int, rng: Random
) -> list[tuple[int, int, int, int]]:
    """`n` boxes of `size` (width, height) inside `photo` (width, height) with an IoU below 0.3 to all faces (M, 4).

    All positions differ. There are fewer only when no further whole-pixel position exists: random ones are tried
    first, then all.
    """
    across, down = photo[0] - size[0] + 1, photo[1] - size[1] + 1
    if n == 0 or across < 1 or down < 1:
        return []
    tried = [(int(rng.random() * across), int(rng.random() * down)) for _ in range(_TRIES * n)]
    free = _is_free(np.array(tried), size, faces)
    chosen = list(dict.fromkeys(place for place, ok in zip(tried, free, strict=True) if ok))[:n]
    if len(chosen) < n:
        left = np.setdiff1d(_all_free(across, down, size, faces), [x + across * y for x, y in chosen])
        for _ in range(min(n - len(chosen), len(left))):
            at = int(rng.random() * len(left))
            chosen.append((int(left[at]) % across, int(left[at]) // across))
            left = np.delete(left, at)
    return [(x, y, x + size[0], y + size[1]) for x, y in chosen]


def _is_free(
    places: npt.NDArray[np.int64], size: tuple[int, int], faces: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    boxes = np.concatenate([places, places + size], axis=1).astype(np.float64)
    return np.logical_and.reduce(iou(boxes, faces) < MAX_IOU, axis=1)


def _all_free(across: int, down: int, size: tuple[int, int], faces: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Every free position as x + across · y; the overlap of two boxes is that of their widths times their heights."""
    width, height = size
    x = np.arange(across)[None]
    shared = (np.minimum(x + width, faces[:, 2:3]) - np.maximum(x, faces[:, 0:1])).clip(min=0)
    found = []
    for start in range(0, down, _ROWS):
        y = np.arange(start, min(start + _ROWS, down))[None]
        over = (np.minimum(y + height, faces[:, 3:4]) - np.maximum(y, faces[:, 1:2])).clip(min=0)
        free = np.ones((y.shape[1], across), dtype=bool)
        for face, columns, rows in zip(faces, shared, over, strict=True):
            common = rows[:, None] * columns[None]
            area = (face[2] - face[0]) * (face[3] - face[1])
            free &= common / (width * height + area - common) < MAX_IOU
        found.append(np.flatnonzero(free) + start * across)
    return np.concatenate(found)
