"""How a picture becomes a square: as before by default, as torchvision crops it, with black beside it."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from datasets.cache.cache import open_dataset, prepare
from datasets.registry import DATASETS
from datasets.sources.image_decoding import SLIVER, image_record
from datasets.sources.image_folder import ImageFolder

SIDES, SIZES = st.integers(1, 90), st.integers(1, 40)


def pixels(width: int, height: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng([width, height]).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("resize") / "picture.png"


@given(SIDES, SIDES, SIZES)
@example(90, 23, 17)
@example(23, 90, 40)
def test_crop_is_torchvisions_to_the_bit(file: Path, width: int, height: int, size: int) -> None:
    picture = Image.fromarray(pixels(width, height))
    if max(picture.size) > SLIVER * min(picture.size):
        return
    picture.save(file)
    expected = v2.Compose([v2.Resize(size), v2.CenterCrop(size), v2.PILToTensor()])(picture)
    assert np.array_equal(image_record(file, 3, size, "crop").image, expected.numpy())


@pytest.mark.parametrize("size", [(3, 20_000), (20_000, 3)])
def test_a_strip_is_cropped_to_its_middle_and_does_not_fill_the_memory(file: Path, size: tuple[int, int]) -> None:
    strip = Image.new("L", size)
    strip.paste(200, [n // 2 - 4 if n > 3 else 0 for n in size] + [n // 2 + 4 if n > 3 else n for n in size])
    strip.save(file)
    image = image_record(file, 1, 32, "crop").image
    assert image.shape == (1, 32, 32)
    assert image.min() > 150, "the bright middle, of whose eight pixels the crop has three"


@given(SIDES, SIDES, SIZES)
def test_pad_keeps_the_picture_and_its_middle(file: Path, width: int, height: int, size: int) -> None:
    Image.new("RGB", (width, height), (255, 255, 255)).save(file)
    white = image_record(file, 3, size, "pad").image[0] > 0
    rows, columns = white.any(1).sum(), white.any(0).sum()
    assert max(rows, columns) == size
    assert white.sum() == rows * columns
    assert columns * height == pytest.approx(rows * width, abs=max(width, height))  # the ratio, to a pixel
    for axis, n in ((1, rows), (0, columns)):
        first = int(white.any(axis).argmax())
        assert first == (size - n) // 2


def test_stretch_is_the_default_and_as_it_was(file: Path) -> None:
    picture = Image.fromarray(pixels(50, 20))
    picture.save(file)
    expected = np.asarray(picture.resize((16, 16), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    for found in (image_record(file, 3, 16), image_record(file, 3, 16, "stretch")):
        assert np.array_equal(found.image, expected)
    square = Image.fromarray(pixels(30, 30))
    square.save(file)
    one, *others = (image_record(file, 3, 16, how).image for how in ("stretch", "crop", "pad"))
    assert all(np.array_equal(one, other) for other in others), "a square picture is one in all ways"


def test_a_picture_on_its_side_is_turned_before_it_is_cropped(file: Path) -> None:
    upright, turned = Image.fromarray(pixels(40, 20)), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 8
    upright.rotate(-90, expand=True).save(turned, "png", exif=exif)
    file.write_bytes(turned.getvalue())
    expected = v2.Compose([v2.Resize(8), v2.CenterCrop(8), v2.PILToTensor()])(upright)
    assert np.array_equal(image_record(file, 3, 8, "crop").image, expected.numpy())


@pytest.mark.parametrize("how", ["stretch", "crop", "pad"])
def test_a_set_and_a_picture_of_predict_are_decoded_alike(how: str, tree: Path, tmp_path: Path) -> None:
    settings = ImageFolder.model_validate({"image_size": 9, "resize": how})
    rows = open_dataset(settings, prepare(settings, tree, tmp_path / "cache").path).splits["test"]
    for image, path in zip(rows.images, rows.paths, strict=True):
        assert np.array_equal(settings.read_file(tree / path, (3, 9, 9)).image, image)


def test_what_was_decoded_before_these_settings_is_found() -> None:
    """The names of cache files hang on it; `by_name` was there before and stays in it."""
    for name in ("image_folder", "animals", "expressions", "eurosat"):
        kind = DATASETS[name]
        assert not {"resize", "group_regex"} & kind().reading().keys()
        changed = kind.model_validate({"resize": "crop", "group_regex": "x", "split_rule": "by_name"}).reading()
        assert (changed["resize"], changed["group_regex"], changed["split_rule"]) == ("crop", "x", "by_name")
        assert kind.model_validate({"split_rule": "by_name"}).reading()["split_rule"] == "by_name"
