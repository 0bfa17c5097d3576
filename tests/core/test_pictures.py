"""Pictures are opened by their content, in six formats alone."""

import io
from pathlib import Path

import pytest
from PIL import Image, UnidentifiedImageError

from analysis.figures.gallery import read_image
from core.pictures import FORMATS, open_picture
from datasets.base import DataError
from datasets.sources.image_decoding import decode_photo
from tests.conftest import ROOT


def saved(name: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, name, **options)
    return file.getvalue()


@pytest.mark.parametrize("name", [*FORMATS, "MPO"])  # which cameras write as JPEG
def test_they_open_whatever_the_file_is_called(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.eps").write_bytes(saved(name))
    assert decode_photo(tmp_path / "x.eps", 3).shape == (8, 8, 3)


@pytest.mark.parametrize("name", ["EPS", "PPM", "ICO", "PCX", "TGA", "SGI", "PDF", "JPEG2000"])
def test_other_formats_do_not_though_pillow_knows_them(name: str, tmp_path: Path) -> None:
    file = tmp_path / "x.jpg"
    file.write_bytes(saved(name))
    with pytest.raises(UnidentifiedImageError):
        open_picture(file)
    with pytest.raises(DataError, match="no picture format in it"):
        decode_photo(file, 3)
    assert read_image(file, lambda mode: mode) is None


def test_no_other_module_opens_pictures() -> None:
    sources = [
        path
        for name in ("analysis", "core", "datasets", "engine", "trainables")
        for path in (ROOT / name).rglob("*.py")
    ]
    assert [path.name for path in sources if "Image.open(" in path.read_text()] == ["pictures.py"]
