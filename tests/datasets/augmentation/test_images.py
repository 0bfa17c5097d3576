"""Augmentation against torchvision, image by image; its draws against torchvision's distributions."""

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as F  # noqa: N812

from datasets.augmentation.images import Draws, apply, draw, generators
from datasets.augmentation.settings import Augmentation
from tests.datasets.augmentation.changes import augment

ALL_ON: dict[str, Any] = {
    "flip": True,
    "vertical_flip": True,
    "rotation": 30.0,
    "translate": 0.2,
    "crop_scale": (0.3, 1.0),
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.4,
    "hue": 0.1,
}
OPERATION = {"crop_scale": "crop"}
B, H, W = 12, 14, 18


@pytest.fixture
def images() -> Tensor:
    return torch.rand(B, 3, H, W, generator=torch.Generator().manual_seed(0))


def drawn(n: int = B, seed: int = 1, height: int = H, width: int = W, **settings: Any) -> Draws:
    chosen = Augmentation.model_validate(settings)
    return draw(chosen, n, height, width, generators(chosen, seed))


def changed(images: Tensor, draws: Draws) -> Tensor:
    return apply(images, draws.moves(len(images)))


def test_everything_off_returns_the_same_tensor(images: Tensor) -> None:
    assert augment(images, Augmentation(), 0) is images


@pytest.mark.parametrize("name", ALL_ON)
def test_every_operation_changes_the_batch_and_repeats_by_seed(name: str, images: Tensor) -> None:
    settings = Augmentation.model_validate({name: ALL_ON[name]})
    before = images.clone()
    once, again, other = (augment(images, settings, seed) for seed in (1, 1, 2))
    assert images.equal(before)
    assert once.equal(again)
    assert not once.equal(images)
    assert not once.equal(other)
    assert once.shape == images.shape
    assert once.min() >= 0
    assert once.max() <= 1


@pytest.mark.parametrize("name", ALL_ON)
def test_turning_one_operation_on_changes_no_draw_of_another(name: str) -> None:
    everything, without = drawn(**ALL_ON), drawn(**{key: value for key, value in ALL_ON.items() if key != name})
    for field in (OPERATION.get(key, key) for key in ALL_ON if key != name):
        assert getattr(everything, field).equal(getattr(without, field))
    assert getattr(without, OPERATION.get(name, name)) is None


def test_flips_are_exact(images: Tensor) -> None:
    draws = drawn(flip=True, vertical_flip=True)
    assert draws.flip is not None
    assert draws.vertical_flip is not None
    for image, result, left_right, upside_down in zip(
        images, changed(images, draws), draws.flip, draws.vertical_flip, strict=True
    ):
        expected = F.hflip(image) if left_right else image
        assert result.equal(F.vflip(expected) if upside_down else expected)


def test_a_crop_is_torchvisions_resized_crop(images: Tensor) -> None:
    draws = drawn(crop_scale=(0.1, 1.0))
    assert draws.crop is not None
    for image, result, box in zip(images, changed(images, draws), draws.crop.int().tolist(), strict=True):
        left, top, width, height = box
        expected = F.resized_crop(image, top, left, height, width, [H, W], antialias=True)
        torch.testing.assert_close(result, expected, atol=2e-5, rtol=0)


def test_a_rotation_is_torchvisions(images: Tensor) -> None:
    draws = drawn(rotation=180.0)
    assert draws.rotation is not None
    for image, result, angle in zip(images, changed(images, draws), draws.rotation.tolist(), strict=True):
        expected = F.rotate(image, angle, InterpolationMode.BILINEAR, fill=None)
        torch.testing.assert_close(result, expected, atol=2e-4, rtol=0)


def test_a_translation_moves_whole_pixels_and_bares_black(images: Tensor) -> None:
    draws = drawn(translate=0.5)
    assert draws.translate is not None
    for image, result, (right, down) in zip(
        images, changed(images, draws), draws.translate.int().tolist(), strict=True
    ):
        expected = torch.zeros_like(image)
        expected[:, max(0, down) : H + min(0, down), max(0, right) : W + min(0, right)] = image[
            :, max(0, -down) : H - max(0, down), max(0, -right) : W - max(0, right)
        ]
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)


def test_rotation_then_crop_is_torchvisions_chain_up_to_its_second_interpolation() -> None:
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    smooth = (0.5 + 0.25 * torch.sin(x / 9) + 0.25 * torch.cos(y / 7)).expand(B, 3, 48, 48)
    draws = drawn(height=48, width=48, rotation=20.0, crop_scale=(0.05, 0.15))
    assert draws.crop is not None
    assert draws.rotation is not None
    for image, result, box, angle in zip(
        smooth, changed(smooth, draws), draws.crop.int().tolist(), draws.rotation.tolist(), strict=True
    ):
        left, top, width, height = box
        turned = F.rotate(image, angle, InterpolationMode.BILINEAR, fill=None)
        if (turned[0, top : top + height, left : left + width] > 0).all():
            expected = F.resized_crop(turned, top, left, height, width, [48, 48], antialias=True)
            assert (result - expected).abs().mean() < 5e-3


@pytest.mark.parametrize("strength", [0.4, 1.5])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
@pytest.mark.parametrize("channels", [1, 3])
def test_colour_is_torchvisions(channels: int, name: str, strength: float, images: Tensor) -> None:
    images = images[:, :channels]
    settings: dict[str, Any] = {name: min(strength, 0.5) if name == "hue" else strength}
    draws = drawn(**settings)
    adjust = getattr(F, f"adjust_{name}")
    for image, result, value in zip(images, changed(images, draws), getattr(draws, name).tolist(), strict=True):
        torch.testing.assert_close(result, adjust(image, value), atol=1e-5, rtol=0)


def test_hue_of_greys_and_pure_colours_is_torchvisions() -> None:
    levels = torch.tensor([0.0, 0.5, 1.0])
    corners = torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, 3, 9)
    for shift in (-0.5, -0.2, 0.1, 0.5):
        result = apply(corners, Draws(3, 9, hue=torch.tensor([shift])).moves(1))
        torch.testing.assert_close(result, F.adjust_hue(corners, shift), atol=1e-5, rtol=0)


def test_colour_comes_in_the_documented_order(images: Tensor) -> None:
    draws = drawn(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
    for i, result in enumerate(changed(images, draws)):
        expected = images[i]
        for name in ("brightness", "contrast", "saturation", "hue"):
            expected = getattr(F, f"adjust_{name}")(expected, float(getattr(draws, name)[i]))
        torch.testing.assert_close(result, expected, atol=2e-5, rtol=0)


def test_half_of_the_images_are_flipped_and_the_two_flips_are_independent() -> None:
    draws = drawn(20_000, flip=True, vertical_flip=True)
    assert draws.flip is not None
    assert draws.vertical_flip is not None
    for share, expected in ((draws.flip, 0.5), (draws.vertical_flip, 0.5), (draws.flip & draws.vertical_flip, 0.25)):
        assert share.float().mean().item() == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize(
    ("name", "strength", "low", "high"),
    [("rotation", 30.0, -30, 30), ("brightness", 0.4, 0.6, 1.4), ("contrast", 1.5, 0, 2.5), ("hue", 0.1, -0.1, 0.1)],
)
def test_strengths_are_uniform_between_their_bounds(name: str, strength: float, low: float, high: float) -> None:
    settings: dict[str, Any] = {name: strength}
    values = (getattr(drawn(20_000, **settings), name).double() - low) / (high - low)
    assert values.min() >= -1e-6
    assert values.max() <= 1 + 1e-6
    evenly = torch.linspace(0, 1, len(values), dtype=torch.float64)
    assert (values.sort().values - evenly).abs().max() < 0.02  # Kolmogorov–Smirnov: 0.012 at the 1 % level


@pytest.mark.parametrize(
    ("height", "width", "scale", "ratio"),
    [(32, 32, (0.08, 1.0), (3 / 4, 4 / 3)), (20, 60, (0.5, 1.0), (3 / 4, 4 / 3)), (60, 20, (0.9, 1.0), (0.9, 1.1))],
)
def test_crops_are_distributed_like_torchvisions(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    n = 4_000
    ours = drawn(n, height=height, width=width, crop_scale=scale, crop_ratio=ratio).crop
    assert ours is not None
    torch.manual_seed(0)
    image = torch.empty(1, height, width)
    params = [RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(n)]
    theirs = torch.tensor([[left, top, w, h] for top, left, h, w in params], dtype=torch.float32)
    assert (ours[:, 0] + ours[:, 2] <= width).all()
    assert (ours[:, 1] + ours[:, 3] <= height).all()

    def features(box: Tensor) -> list[Tensor]:
        return [*box.unbind(1), box[:, 2] * box[:, 3], box[:, 2] / box[:, 3]]

    for mine, other in zip(features(ours), features(theirs), strict=True):
        a, b = mine.sort().values, other.sort().values
        at = torch.cat([a, b])
        distance = (torch.searchsorted(a, at, right=True) - torch.searchsorted(b, at, right=True)).abs().max() / n
        assert distance < 1.95 * math.sqrt(2 / n)  # two-sample Kolmogorov–Smirnov at the 0.1 % level


@pytest.mark.parametrize("name", ["flip", "vertical_flip", "rotation", "translate", "crop_scale", "all"])
def test_points_move_with_the_pixels(name: str) -> None:
    size, point = 64, torch.tensor([30.0, 36.0, 1.0], dtype=torch.float64)
    blob = torch.zeros(B, 1, size, size)
    blob[:, :, 35:37, 29:31] = 1  # four pixels around (30, 36)
    geometric = {key: ALL_ON[key] for key in ("flip", "vertical_flip", "rotation", "translate", "crop_scale")}
    draws = drawn(height=size, width=size, **(geometric if name == "all" else {name: ALL_ON[name]}))
    result = changed(blob, draws)[:, 0]
    places = torch.arange(size) + 0.5
    n_checked = 0
    for image, matrix in zip(result, draws.matrices(B), strict=True):
        x, y = (matrix @ point).tolist()
        if 4 < x < size - 4 and 4 < y < size - 4:
            mass = image.sum()
            assert float((image.sum(0) * places).sum() / mass) == pytest.approx(x, abs=0.2)
            assert float((image.sum(1) * places).sum() / mass) == pytest.approx(y, abs=0.2)
            n_checked += 1
    assert n_checked > B / 3


def test_a_list_is_a_pair_as_configuration_files_write_it() -> None:
    assert Augmentation.model_validate({"crop_scale": [0.08, 1]}).crop_scale == (0.08, 1.0)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("crop_scale", (0.0, 1.0)),
        ("crop_scale", (0.5, 0.2)),
        ("crop_scale", (0.5, 1.2)),
        ("crop_ratio", (1.1, 0.9)),
        ("crop_scale", (0.5,)),
        ("rotation", 181.0),
        ("rotation", "30"),
        ("hue", 0.6),
        ("brightness", -0.1),
        ("flip", 1),
    ],
)
def test_settings_outside_their_domain_are_refused(setting: str, value: object) -> None:
    with pytest.raises(ValidationError, match=setting):
        Augmentation.model_validate({setting: value})


def test_colour_without_effect_on_grey_images_is_a_fault() -> None:
    settings = Augmentation(saturation=0.4, hue=0.1, brightness=0.4)
    assert [fault.split(" ")[0] for fault in settings.faults(1)] == ["augmentation.saturation", "augmentation.hue"]
    assert settings.faults(3) == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_every_device_gets_the_same_changes(images: Tensor) -> None:
    settings = Augmentation.model_validate(ALL_ON)
    there = augment(images.cuda(), settings, 5)
    torch.testing.assert_close(there.cpu(), augment(images, settings, 5), atol=1e-4, rtol=0)
