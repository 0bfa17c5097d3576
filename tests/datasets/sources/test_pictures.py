"""Which files of a folder are pictures, what is counted of the others, and what decoding remarks on."""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.audit import audit
from datasets.base import DataError, Source
from datasets.cache.cache import prepare
from datasets.sources.image_decoding import PictureWarning, image_record
from datasets.sources.image_folder import ImageFolder
from tests.datasets.makers import png16

WriteTree = Callable[..., Path]
SETTINGS = ImageFolder(image_size=8)
BY_NAME = ImageFolder(image_size=8, split_rule="by_name")


def classes_of(source: Source) -> Counter[str]:
    assert not source.faults
    return Counter(source.classes[row.label] for row in source.rows)


def picture(file: Path, i: int = 0, format: str | None = None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(i).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, format=format)
    return file


@pytest.mark.parametrize("extension", ["webp", "bmp", "tif", "TIFF", "GIF", "Jpg", "jpeg", "PNG"])
def test_every_format_is_read(extension: str, tree: Path, cache_dir: Path) -> None:
    for i in range(7):
        picture(tree / "cat" / f"new {i}.{extension}", i)
    assert classes_of(SETTINGS.source(tree)) == {"cat": 37, "dog": 30}
    assert sum(prepare(SETTINGS, tree, cache_dir).info.counts["train"]) > 40


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("name", ["scan", "scan.dat", "scan.jpg"])
def test_the_content_decides_and_not_the_name(format: str, name: str, tree: Path, cache_dir: Path) -> None:
    picture(tree / "cat" / name, format=format)
    assert classes_of(SETTINGS.source(tree))["cat"] == 31
    assert prepare(SETTINGS, tree, cache_dir).decoded


def test_what_is_no_picture_is_counted_by_its_extension(tree: Path, cache_dir: Path) -> None:
    for name, content in {
        "a.txt": b"BMI,age\n1,2\n",
        "b.TXT": b"",
        "c.heic": b"\0\0\0\x18ftypheic",
        "Thumbs.db": b"\xd0\xcf",
    }.items():
        (tree / "cat" / name).write_bytes(content)
    (tree / "dog" / "raw.nef").write_bytes(b"II*\0\x08\0\0\0")
    os.mkfifo(tree / "dog" / "pipe.png")
    (tree / "readme.md").write_text("")
    (tree / "dog" / "gone").symlink_to(tree / "nowhere")
    source = SETTINGS.source(tree)
    assert len(source.rows) == 60
    assert source.notes == (
        "not read, as they are beside the class folders, in none: 1 (1 readme.md)",
        "not read, as they are neither files nor folders: 1 (1 pipe.png)",
        "not read, as they are no JPEG, PNG, WebP, BMP, TIFF or GIF by their content: 6 (2 .txt, 1 .db, 1 .heic and 2 "
        "others)",
    )
    assert list(audit(prepare(SETTINGS, tree, cache_dir)).lines) == list(source.notes)


def test_hidden_files_and_folders_are_skipped_at_any_depth_and_counted(tree: Path) -> None:
    for path in (
        ".DS_Store",
        "cat/.DS_Store",
        "__MACOSX/cat/._a.png",
        "dog/.thumbs/a.png",
        "dog/deep/.x/y.png",
        "cat/._b.png",
    ):
        picture(tree / path, format="PNG")
    picture(tree / "dog" / "deep" / "a.png")
    source = SETTINGS.source(tree)
    assert classes_of(source) == {"cat": 30, "dog": 31}
    assert any("hidden: 6 (2 .DS_Store, 1 ._b.png, 1 .thumbs and 2 others)" in note for note in source.notes)


def test_folders_below_a_class_are_read_and_told(tree: Path) -> None:
    for i in range(5):
        picture(tree / "cat" / "session2" / f"{i}.png", i)
    picture(tree / "dog" / "2024" / "may" / "a.png")
    source = SETTINGS.source(tree)
    assert classes_of(source) == {"cat": 35, "dog": 31}
    assert source.notes == ("6 pictures lie in folders below their class's folder: 5 cat/session2, 1 dog/2024/may",)


def test_a_class_may_lie_in_folders_below_alone(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for i in range(12):
            picture(tmp_path / name / f"day {i % 3}" / f"{i}.png", i)
    assert classes_of(SETTINGS.source(tmp_path)) == {"cat": 12, "dog": 12}


def test_a_link_back_ends_the_walk(tree: Path) -> None:
    (tree / "cat" / "again").symlink_to(tree)
    (tree / "dog" / "self").symlink_to(tree / "dog" / "self")
    source = SETTINGS.source(tree)
    assert classes_of(source) == {"cat": 60, "dog": 30}  # the tree once more, but not the link in it
    assert any("links back to a folder above them: 1 (1 cat)" in note for note in source.notes)


def test_a_run_directory_in_the_data_is_no_class(tree: Path) -> None:
    for name in ("study.json", "log.jsonl"):
        (tree / "results" / "mine").mkdir(parents=True, exist_ok=True)
        (tree / "results" / "mine" / name).write_text("")
    picture(tree / "results" / "mine" / "artifacts" / "a.png")
    source = SETTINGS.source(tree)
    assert classes_of(source) == {"cat": 30, "dog": 30}
    assert any("run directories of this program: 1 (1 mine)" in note for note in source.notes)


@pytest.mark.parametrize("form", ["folders", "files"])
def test_one_name_in_two_unicode_forms_loses_no_picture(form: str, tree: Path, cache_dir: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    for k, name in enumerate((composed, decomposed)):
        for i in range(15):
            folder = tree / (name if form == "folders" else "coffee")
            picture(folder / f"{'' if form == 'folders' else name}{i}.png", 100 * k + i)
    if len(list(tree.iterdir())) < (4 if form == "folders" else 3):
        pytest.skip("this file system has one form of a name")
    source = SETTINGS.source(tree)
    assert classes_of(source) == {"caf\u00e9" if form == "folders" else "coffee": 30, "cat": 30, "dog": 30}
    assert len({row.path for row in source.rows}) == len(source.files) == 90
    told = "2 folders are called caf\u00e9 in several forms of Unicode, and are one class"
    assert (told in source.notes) == (form == "folders")
    assert audit(prepare(SETTINGS, tree, cache_dir)).across_splits == 0


def test_by_name_reads_what_runs_before_read_and_counts_the_rest(tree: Path) -> None:
    before = BY_NAME.source(tree)
    picture(tree / "cat" / "a.webp")
    picture(tree / "dog" / "deep" / "b.png")
    after = BY_NAME.source(tree)
    assert (after.rows, after.files) == (before.rows, before.files)
    assert after.notes == ("not read, as they are not found by dataset.split_rule = by_name: 2 (1 .webp, 1 dog/deep)",)


def remarks_of(tree: Path, cache_dir: Path) -> list[str]:
    remarks = audit(prepare(SETTINGS, tree, cache_dir)).remarks
    assert audit(prepare(SETTINGS, tree, cache_dir)).remarks == remarks  # told again, though nothing is decoded again
    return list(remarks)


@pytest.mark.parametrize(("bits", "dark"), [(8, True), (10, True), (12, True), (14, True), (16, False)])
@pytest.mark.parametrize("kind", ["png", "tif", "rgb"])
def test_few_bits_in_sixteen_are_named(bits: int, dark: bool, kind: str, tree: Path, cache_dir: Path) -> None:
    for i in range(5):
        values = np.random.default_rng(i).integers(0, 2**bits, (12, 12, 3)).astype(np.uint16)
        if kind == "rgb":
            (tree / "cat" / f"deep {i}.png").write_bytes(png16(values))
        else:
            Image.fromarray(values[..., 0]).save(tree / "cat" / f"deep {i}.{kind}")
    found = remarks_of(tree, cache_dir)
    assert len(found) == dark
    assert all("cat/deep 2." in told and "and 2 more pictures: stored with more than 8 bits" in told for told in found)


def test_a_float_picture_is_named(tree: Path, cache_dir: Path) -> None:
    Image.fromarray(np.random.default_rng(0).random((9, 9)).astype(np.float32)).save(tree / "cat" / "float.tif")
    (told,) = remarks_of(tree, cache_dir)
    assert told.startswith("cat/float.tif: stored with more than 8 bits")


@pytest.mark.parametrize("extension", ["gif", "webp", "png", "tif"])
def test_of_several_frames_the_first_is_read_and_it_is_told(extension: str, tree: Path, cache_dir: Path) -> None:
    frames = [Image.new("RGB", (9, 9), (200 - 60 * i, 0, 0)) for i in range(3)]
    file = tree / "cat" / f"film.{extension}"
    frames[0].save(file, save_all=True, append_images=frames[1:], **({"lossless": True} if extension == "webp" else {}))
    assert remarks_of(tree, cache_dir) == [
        f"cat/film.{extension}: holds several frames or pages, of which the first is read"
    ]
    with pytest.warns(PictureWarning, match="several frames"):
        assert image_record(file, 3, 4).image[0, 0, 0] == 200


def corrupt_exif(file: Path) -> None:
    """A JPEG whose EXIF ends in the middle of a tag."""
    exif = Image.Exif()
    exif[0x010E] = "a long description of the picture"
    whole = exif.tobytes()
    Image.new("RGB", (9, 9), (file.stem.encode()[-1], 0, 0)).save(file, exif=whole[:-30])


def test_a_warning_of_pillow_is_a_sentence_that_names_the_file(
    tree: Path, cache_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for i in range(4):
        corrupt_exif(tree / "dog" / f"old {i}.jpg")
    (told,) = remarks_of(tree, cache_dir)
    assert told.startswith("dog/old 0.jpg, dog/old 1.jpg, dog/old 2.jpg and 1 more pictures: ")
    assert "Warning" not in capfd.readouterr().err


def test_a_broken_picture_of_a_new_format_is_a_fault(tree: Path, cache_dir: Path) -> None:
    for extension in ("webp", "bmp", "tif", "gif"):
        file = picture(tree / "cat" / f"cut.{extension}")
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(DataError) as error:
        prepare(SETTINGS, tree, cache_dir)
    for extension in ("webp", "bmp", "tif", "gif"):
        assert any(f"cut.{extension}: cannot be decoded as a picture" in fault for fault in error.value.faults)
