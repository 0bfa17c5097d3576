"""Boxes on photos: the source's example, and non-faces against a brute-force search over every position."""

from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.base import Box
from datasets.faces.boxes import MAX_IOU, free_boxes, iou, widened
from tests.datasets.faces.face_cases import brute_force_iou


@st.composite
def photos(draw: st.DrawFn) -> tuple[tuple[int, int], list[Box]]:
    """A photo's size and one to four faces in it."""
    width, height = draw(st.integers(8, 60)), draw(st.integers(8, 60))
    faces = []
    for _ in range(draw(st.integers(1, 4))):
        left, top = draw(st.integers(0, width - 3)), draw(st.integers(0, height - 3))
        faces.append((left, top, draw(st.integers(left + 2, width)), draw(st.integers(top + 2, height))))
    return (width, height), faces


def test_the_source_s_example_is_widened_as_there() -> None:
    assert widened((153, 210, 221, 277), 0.25, 640, 480) == (136, 193, 238, 294)


def test_a_widened_box_is_clipped_to_the_photo() -> None:
    assert widened((2, 3, 50, 60), 0.25, 55, 62) == (0, 0, 55, 62)


@given(photos())
def test_iou_is_the_brute_force_one(photo: tuple[tuple[int, int], list[Box]]) -> None:
    boxes = np.array(photo[1], dtype=float)
    expected = [[brute_force_iou(a, b) for b in photo[1]] for a in photo[1]]
    np.testing.assert_allclose(iou(boxes, boxes), expected, rtol=1e-12)


@settings(max_examples=150, deadline=None)
@given(photos(), st.integers(0, 5), st.integers(0, 2**32))
def test_non_faces_are_clear_of_every_face_and_lack_only_where_no_place_is_left(
    photo: tuple[tuple[int, int], list[Box]], n: int, seed: int
) -> None:
    (width, height), faces = photo
    left, top, right, bottom = (int(value) for value in faces[0])
    size = (right - left, bottom - top)
    found = free_boxes(np.array(faces, dtype=float), size, (width, height), n, Random(seed))
    assert found == free_boxes(np.array(faces, dtype=float), size, (width, height), n, Random(seed))
    assert len(set(found)) == len(found) <= n
    for box in found:
        assert (box[2] - box[0], box[3] - box[1]) == size
        assert min(box) >= 0
        assert box[2] <= width
        assert box[3] <= height
        assert all(brute_force_iou(box, face) < MAX_IOU for face in faces)
    places = [
        (x, y)
        for x in range(width - size[0] + 1)
        for y in range(height - size[1] + 1)
        if all(brute_force_iou((x, y, x + size[0], y + size[1]), face) < MAX_IOU for face in faces)
    ]
    assert len(found) == min(n, len(places))


def test_the_only_place_left_is_found_by_looking_at_all() -> None:
    faces = np.array([[0.0, 0, 1000, 1000], [1078.0, 0, 2078, 1000]])  # in the middle both are overlapped by 461
    for seed in range(5):
        assert free_boxes(faces, (1000, 1000), (2078, 1000), 3, Random(seed)) == [(539, 0, 1539, 1000)]
    assert free_boxes(faces, (1000, 1001), (2078, 1000), 3, Random(0)) == []
    assert free_boxes(faces[:1], (1000, 1000), (1000, 1000), 3, Random(0)) == []
