"""Landmarks through augmentation: coloured dots drawn in photos, cut, changed, and found again where they should be."""

import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from datasets.augmentation.images import Draws, draw, generators
from datasets.augmentation.landmarks import fixed_angles, mirrored_order, move, point_moves, rotate_fixed
from datasets.augmentation.settings import Augmentation
from datasets.base import DatasetInfo, Examples, central_crop
from datasets.cache.cache import open_dataset, prepare
from datasets.faces.dataset import Faces
from tests.datasets.augmentation.changes import augment, augment_points
from tests.datasets.makers import dots
from trainables.config import resolve
from trainables.training.batches import DeviceData

PAIRS = ((0, 1),)
CROP = 112
GEOMETRY: dict[str, dict[str, Any]] = {
    "rotation": {"rotation": 30.0},
    "flip": {"flip": True},
    "vertical flip": {"vertical_flip": True},
    "translate": {"translate": 0.1},
    "crop": {"crop_scale": (0.6, 1.0)},
    "all": {"rotation": 30.0, "flip": True, "vertical_flip": True, "translate": 0.1, "crop_scale": (0.6, 1.0)},
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[DatasetInfo, Examples]:
    """Crops with context from photos with a red, a green and a blue dot; boxes tall, square and wide; cache on disk."""
    root = tmp_path_factory.mktemp("dots")
    rng = np.random.default_rng(0)
    folder = root / "faces" / "photos"
    folder.mkdir(parents=True)
    lines = []
    for i in range(60):
        width, height = [(80, 130), (100, 100), (140, 70)][i % 3]
        points = np.array([[0.3, 0.35], [0.68, 0.4], [0.5, 0.7]]) + rng.uniform(-0.08, 0.08, (3, 2))
        points = points * (width, height) + (100.25, 90.5)
        photo = np.stack([dots((320, 340), point, sigma=4) for point in points], -1)
        Image.fromarray((photo * 255).round().astype(np.uint8)).save(folder / f"{i}.png")
        values = [100.25, 90.5, 100.25 + width, 90.5 + height, *points.reshape(-1)]
        lines.append(f"{i}.png {' '.join(map(str, values))}")
    (folder / "label.txt").write_text("\n".join(lines))
    settings = Faces(channels=3, context=1.5, faces_only=True, flip_pairs=PAIRS)
    data = open_dataset(settings, prepare(settings, root, tmp_path_factory.mktemp("cache")).path)
    return data.info, data.splits["train"]


def batch(stored: tuple[DatasetInfo, Examples]) -> tuple[Tensor, Tensor, Tensor]:
    part = stored[1]
    assert part.aspects is not None
    return torch.tensor(part.images) / 255, torch.tensor(part.points), torch.tensor(part.aspects)


def centroids(images: Tensor) -> Tensor:
    """(B, 3, 2): where the dot of each channel is, NaN where it is cut by the edge."""
    places = torch.arange(images.shape[-1]) + 0.5
    mass = images.sum((2, 3))
    x, y = (images.sum(2) * places).sum(2) / mass, (images.sum(3) * places).sum(2) / mass
    edge = torch.cat([images[..., 0, :], images[..., -1, :], images[..., :, 0], images[..., :, -1]], -1).amax(-1)
    return torch.stack([x, y], -1).where((edge < 0.01)[..., None], math.nan)


def test_before_any_change_the_dots_are_at_the_landmarks(stored: tuple[DatasetInfo, Examples]) -> None:
    images, points, aspects = batch(stored)
    assert stored[0].input_shape == (3, CROP, CROP)
    assert {round(float(value), 1) for value in aspects} >= {0.6, 1.0, 2.0}
    assert (centroids(central_crop(images, CROP)) - points).abs().max() < 0.2


@pytest.mark.parametrize("name", GEOMETRY)
def test_landmarks_stay_on_their_dots(name: str, stored: tuple[DatasetInfo, Examples]) -> None:
    images, points, aspects = batch(stored)
    settings = Augmentation.model_validate(GEOMETRY[name])
    changed, moved = augment_points(images, points, settings, 5, CROP, aspects, PAIRS)
    assert changed.shape == (len(images), 3, CROP, CROP)
    assert moved.shape == points.shape
    drawn = draw(settings, len(images), CROP, CROP, generators(settings, 5))
    mirrored = torch.zeros(len(images), dtype=torch.bool)
    for flips in (drawn.flip, drawn.vertical_flip):
        mirrored = mirrored if flips is None else mirrored ^ flips
    dot_of_landmark = torch.where(mirrored[:, None], torch.tensor([1, 0, 2]), torch.tensor([0, 1, 2]))
    found = centroids(changed).gather(1, dot_of_landmark[..., None].expand(-1, -1, 2))
    distance = (found - moved).norm(dim=2)
    assert distance.isfinite().float().mean() > 0.6
    assert distance.nan_to_num().max() < 0.75
    assert (moved - points).abs().amax((1, 2)).mean() > 2


def test_off_is_the_central_crop_to_the_bit(stored: tuple[DatasetInfo, Examples]) -> None:
    images, points, aspects = batch(stored)
    for changed, moved in (
        augment_points(images, points, Augmentation(), 0, CROP, aspects, PAIRS),
        rotate_fixed(images, points, 0.0, range(len(images)), CROP, aspects),
    ):
        assert changed.equal(images[:, :, 28:140, 28:140])
        assert moved.equal(points)


def test_flips_are_exact_and_drawn_as_augment_draws_them(stored: tuple[DatasetInfo, Examples]) -> None:
    images, points, aspects = batch(stored)
    settings = Augmentation(flip=True, vertical_flip=True, brightness=0.4, contrast=0.4)
    changed, moved = augment_points(images, points, settings, 7, CROP, aspects, PAIRS)
    assert changed.equal(augment(central_crop(images, CROP), settings, 7))
    again, _ = augment_points(images, points, settings, 7, CROP, aspects, PAIRS)
    assert changed.equal(again)
    assert not moved.equal(points)


@pytest.mark.parametrize("settings", [{"rotation": 30.0}, {"crop_scale": (0.3, 1.0)}, {"translate": 0.3}])
def test_inside_the_image_square_pixels_change_as_augment_changes_them(settings: dict[str, Any]) -> None:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    images = (0.5 + 0.25 * torch.sin(x / 9) + 0.25 * torch.cos(y / 7)).expand(8, 1, 64, 64)
    chosen = Augmentation.model_validate(settings)
    ours, _ = augment_points(images, torch.zeros(8, 1, 2), chosen, 3)
    reference = augment(images, chosen, 3)
    inside = augment(torch.ones_like(images), chosen, 3) > 0.999
    inside[..., :2, :] = inside[..., -2:, :] = inside[..., :, :2] = inside[..., :, -2:] = False
    assert inside.float().mean() > 0.4
    assert (ours - reference).abs()[inside].max() < 1e-3


@pytest.mark.parametrize("aspect", [0.5, 1.0, 1.9])
def test_a_circle_of_the_photo_stays_a_circle(aspect: float) -> None:
    side = 168
    y, x = (torch.arange(side) + 0.5 - side / 2)[:, None], (torch.arange(side) + 0.5 - side / 2)[None, :]
    disc = (((x * aspect) ** 2 + y**2) < 25**2).float().expand(12, 1, side, side)
    pair = torch.tensor([[[56 + 20 / aspect, 56.0], [56.0, 36.0]]]).expand(12, 2, 2)
    aspects = torch.full((12,), aspect)
    turned, points = augment_points(disc, pair, Augmentation(rotation=90.0), 1, CROP, aspects)
    squeezed, _ = augment_points(disc, pair, Augmentation(rotation=90.0), 1, CROP)
    original = central_crop(disc, CROP)
    assert (turned - original).abs().mean() < 0.01
    assert (aspect == 1.0) == bool((squeezed - original).abs().mean() < 0.01)
    arms = (points - 56) * torch.tensor([aspect, 1.0])
    assert torch.allclose(arms.norm(dim=2), torch.tensor(20.0), atol=1e-3)
    assert (arms[:, 0] * arms[:, 1]).sum(1).abs().max() < 1e-2  # still at right angles
    drawn = draw(Augmentation(rotation=90.0), 12, CROP, CROP, generators(Augmentation(rotation=90.0), 1)).rotation
    assert drawn is not None
    counter_clockwise = torch.rad2deg(torch.atan2(-arms[:, 0, 1], arms[:, 0, 0]))
    assert torch.allclose(counter_clockwise, drawn, atol=1e-3)


def test_what_a_rotation_turns_in_is_photo_and_beyond_it_the_edge() -> None:
    bright = torch.ones(16, 1, 168, 168)
    nowhere = torch.full((16, 3, 2), math.nan)
    for images, crop in ((bright, CROP), (bright[..., :CROP, :CROP], 0)):
        turned, points = augment_points(images, nowhere, Augmentation(rotation=180.0, translate=0.3), 0, crop)
        assert turned.shape == (16, 1, CROP, CROP)
        assert (turned > 0.999).all()
        assert points.isnan().all()
    frame = bright.clone()
    frame[..., 20:-20, 20:-20] = 0
    turned, _ = augment_points(frame, nowhere, Augmentation(rotation=45.0), 0, CROP)
    assert turned.amax((1, 2, 3)).median() > 0.9  # the corners of the crop show what was stored around it


def test_non_faces_keep_nan_and_faces_their_numbers(stored: tuple[DatasetInfo, Examples]) -> None:
    images, points, aspects = batch(stored)
    some = points.clone()
    some[::2] = math.nan
    settings = Augmentation.model_validate(GEOMETRY["all"])
    _, moved = augment_points(images, points, settings, 5, CROP, aspects, PAIRS)
    _, masked = augment_points(images, some, settings, 5, CROP, aspects, PAIRS)
    assert masked[::2].isnan().all()
    assert masked[1::2].equal(moved[1::2])


@pytest.mark.parametrize("flip", ["flip", "vertical_flip"])
def test_a_flip_without_pairs_is_an_error(flip: str, stored: tuple[DatasetInfo, Examples]) -> None:
    info, examples = stored
    named = {"dataset.name": "faces", "dataset.path": "anywhere", "model.name": "stage3", "loss.name": "face"}
    settings = resolve(named, {f"augmentation.{flip}": True})
    for pairs in ((), PAIRS):
        data: Any = SimpleNamespace(info=replace(info, flip_pairs=pairs), splits={"train": examples})
        with nullcontext() if pairs else pytest.raises(ValueError, match=r"dataset\.flip_pairs"):
            DeviceData(settings, data, torch.device("cpu"))


def test_evaluation_turns_each_example_by_its_own_angle_always(stored: tuple[DatasetInfo, Examples]) -> None:
    images, points, aspects = batch(stored)
    angles = fixed_angles(range(5_000), 30.0)
    assert angles.abs().max() <= 30
    evenly = torch.linspace(-30, 30, 5_000)
    assert (angles.sort().values - evenly).abs().max() < 1.5
    assert angles[:3].tolist() == pytest.approx(GOLDEN_ANGLES, abs=1e-4)
    whole, whole_points = rotate_fixed(images, points, 30.0, range(len(images)), CROP, aspects)
    for rows in torch.arange(len(images)).split(7):
        part, part_points = rotate_fixed(images[rows], points[rows], 30.0, rows, CROP, aspects[rows])
        assert part.equal(whole[rows])
        assert part_points.equal(whole_points[rows])
    distance = (centroids(whole) - whole_points).norm(dim=2)
    assert distance.isfinite().float().mean() > 0.6
    assert distance.nan_to_num().max() < 0.75


# Renew by: python -c "from datasets.augmentation.landmarks import fixed_angles as f; print(f(range(3), 30.0).tolist())"
# A change here changes every evaluation of landmarks that anyone has made.
GOLDEN_ANGLES = [-0.4004, -15.7077, 11.2649]


def test_the_matrices_of_a_draw_are_those_that_move_its_points() -> None:
    draws = Draws(CROP, CROP, rotation=torch.tensor([90.0, -90.0]))
    given = torch.tensor([[[66.0, 56]], [[66.0, 56]]])
    moves = point_moves(draws, 2, CROP, None)
    _, points = move(torch.zeros(2, 1, CROP, CROP), given, moves, CROP, mirrored_order(1, ()))
    assert torch.allclose(points, torch.tensor([[[56.0, 46]], [[56.0, 66]]]), atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_every_device_gets_the_same_changes(stored: tuple[DatasetInfo, Examples], tmp_path: Path) -> None:
    images, points, aspects = batch(stored)
    settings = Augmentation.model_validate(GEOMETRY["all"])
    here = augment_points(images, points, settings, 5, CROP, aspects, PAIRS)
    there = augment_points(images.cuda(), points.cuda(), settings, 5, CROP, aspects.cuda(), PAIRS)
    for mine, other in zip(here, there, strict=True):
        torch.testing.assert_close(other.cpu(), mine, atol=1e-3, rtol=0)
