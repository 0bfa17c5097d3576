"""Class folders as users have them: layouts, splits, and every fault named at once."""

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from core.text import name_fault
from datasets.base import DataError, Row, Source
from datasets.cache.cache import open_dataset, prepare
from datasets.sources.animals import Animals
from datasets.sources.folders import classified
from datasets.sources.image_decoding import image_record
from datasets.sources.image_folder import ImageFolder
from datasets.splits import hash_split
from tests.datasets.makers import png_header

WriteTree = Callable[..., Path]
SETTINGS, BY_NAME = ImageFolder(image_size=8), ImageFolder(image_size=8, split_rule="by_name")


def splits_of(source: Source) -> dict[str, str]:
    return {row.path: row.split for row in source.rows}


def faults_of(root: Path, cache_dir: Path) -> list[str]:
    with pytest.raises(DataError) as error:
        prepare(SETTINGS, root, cache_dir)
    return error.value.faults


def test_classes_are_the_folders_by_name_and_other_files_do_not_count(tree: Path, write_tree: WriteTree) -> None:
    write_tree(tree, {"Ant": 5})
    (tree / "cat" / ".hidden.jpg").write_text("")
    (tree / "cat" / "notes.txt").write_text("")
    (tree / ".git").mkdir()
    (tree / "readme.jpg").write_text("")
    source = SETTINGS.source(tree)
    assert source.classes == ("Ant", "cat", "dog")
    assert len(source.rows) == 65
    assert not source.faults
    assert all(source.classes[row.label] == row.path.split("/")[0] for row in source.rows)


def test_by_name_each_image_s_own_hash_decides_and_a_new_one_moves_no_other(tree: Path, write_tree: WriteTree) -> None:
    before = splits_of(BY_NAME.source(tree))
    assert before == {path: hash_split(path, 0, test=0.2, validation=0.15) for path in BY_NAME.source(tree).files}
    write_tree(tree, {"cat": 40, "bee": 9})
    after = splits_of(BY_NAME.source(tree))
    assert len(after) == len(before) + 19
    assert before.items() <= after.items()


@pytest.mark.parametrize("validation", ["validation", "val", "valid"])
def test_splits_on_disk_are_kept(validation: str, tmp_path: Path, write_tree: WriteTree) -> None:
    counts = {f"{split}/{name}": 4 for split in ("train", validation, "test") for name in ("cat", "dog")}
    source = SETTINGS.source(write_tree(tmp_path, counts))
    assert not source.faults
    folders = {"train": "train", validation: "val", "test": "test"}
    assert all(row.split == folders[row.path.split("/")[0]] for row in source.rows)


def test_missing_splits_are_taken_from_training(tmp_path: Path, write_tree: WriteTree) -> None:
    no_validation = write_tree(tmp_path / "a", {f"{s}/{c}": 60 for s in ("train", "test") for c in ("cat", "dog")})
    splits = splits_of(SETTINGS.source(no_validation))
    assert {split for path, split in splits.items() if path.startswith("test/")} == {"test"}
    assert {split for path, split in splits.items() if path.startswith("train/")} == {"train", "val"}
    only_train = write_tree(tmp_path / "b", {f"train/{name}": 60 for name in ("cat", "dog")})
    assert set(splits_of(SETTINGS.source(only_train)).values()) == {"train", "val", "test"}


def test_class_ordered_folders_come_out_mixed(tree: Path, cache_dir: Path) -> None:
    labels = open_dataset(SETTINGS, prepare(SETTINGS, tree, cache_dir).path).splits["train"].labels
    changes = int((labels[1:] != labels[:-1]).sum())
    assert changes > len(labels) / 4


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_images_are_converted_and_resized_as_pillow_does(
    channels: Literal[1, 3], mode: str, tree: Path, cache_dir: Path
) -> None:
    settings = ImageFolder(image_size=7, channels=channels)
    dataset = open_dataset(settings, prepare(settings, tree, cache_dir).path)
    for rows in dataset.splits.values():
        for image, path in zip(rows.images, rows.paths, strict=True):
            with Image.open(tree / path) as original:
                expected = np.asarray(original.convert(mode).resize((7, 7), Image.Resampling.BILINEAR))
            assert np.array_equal(image, expected.reshape(7, 7, channels).transpose(2, 0, 1))


def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path: Path) -> None:
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    Image.fromarray(pixels).save(tmp_path / "deep.png")
    assert np.array_equal(image_record(tmp_path / "deep.png", 1, 8).image[0], pixels >> 8)
    assert np.array_equal(image_record(tmp_path / "deep.png", 3, 8).image[2], pixels >> 8)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1"])
def test_every_mode_of_images_decodes(mode: str, tmp_path: Path) -> None:
    file = tmp_path / ("picture.jpg" if mode == "CMYK" else "picture.png")
    image = Image.new("RGB", (9, 6), "white").convert(mode)
    if mode == "P":
        image.info["transparency"] = 0
    image.save(file)
    for channels in (1, 3):
        assert (image_record(file, channels, 8).image == 255).all()


def test_an_image_is_turned_upright(tmp_path: Path) -> None:
    image = Image.new("L", (8, 8))
    image.paste(255, (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    image.save(tmp_path / "turned.png", exif=exif)
    decoded = image_record(tmp_path / "turned.png", 1, 8).image[0]
    assert (decoded[:4] == 0).all()
    assert (decoded[4:] == 255).all()


def test_every_fault_is_named_at_once(tree: Path, cache_dir: Path) -> None:
    whole = (tree / "cat" / "cat (1).jpg").read_bytes()
    (tree / "cat" / "cut.jpg").write_bytes(whole[:-100])
    (tree / "cat" / "text.png").write_text("no picture")
    (tree / "cat" / "nothing.png").write_text("")
    (tree / "dog" / "link.jpg").symlink_to(tree / "gone.jpg")
    (tree / "emu").mkdir()
    (tree / "emu" / "film.mp4").write_text("")
    faults = "\n".join(faults_of(tree, cache_dir))
    assert "cut.jpg: cannot be decoded as a picture" in faults
    assert "truncated" in faults
    assert "text.png: cannot be decoded as a picture (no picture format in it)" in faults
    assert "nothing.png: cannot be decoded as a picture (the file is empty)" in faults
    assert "link.jpg: cannot be read (No such file or directory)" in faults
    assert "emu: empty class folder: no JPEG, PNG, WebP, BMP, TIFF or GIF in it or below it" in faults
    assert "begin its name with a dot" in faults
    assert not list(cache_dir.glob("*.arrow"))


@pytest.mark.parametrize("side", [7_072, 10_000, 60_000, 100_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_giant_is_refused_from_its_header(side: int, tree: Path, cache_dir: Path) -> None:
    (tree / "cat" / "giant.png").write_bytes(png_header(side, side))
    (fault,) = faults_of(tree, cache_dir)
    assert "giant.png" in fault
    assert "50 megapixels" in fault


def test_fewer_than_two_classes_are_refused(tmp_path: Path, write_tree: WriteTree, cache_dir: Path) -> None:
    (fault,) = faults_of(write_tree(tmp_path / "data", {"cat": 40}), cache_dir)
    assert "only the class cat; at least two classes are needed" in fault
    (tmp_path / "bare").mkdir()
    (fault,) = faults_of(tmp_path / "bare", cache_dir)
    assert "no pictures in class folders" in fault
    assert "CLASS/*.jpg" in fault


def test_a_class_without_training_images_is_refused(tmp_path: Path, write_tree: WriteTree, cache_dir: Path) -> None:
    counts = {f"{split}/{name}": 4 for split in ("train", "val", "test") for name in ("cat", "dog")}
    (fault,) = faults_of(write_tree(tmp_path / "data", {**counts, "test/emu": 2}), cache_dir)
    assert "class emu has no training pictures, only test" in fault


def test_an_empty_split_is_refused(tmp_path: Path, write_tree: WriteTree, cache_dir: Path) -> None:
    root = write_tree(
        tmp_path / "data", {f"{split}/{name}": 1 for split in ("train", "test") for name in ("cat", "dog")}
    )
    assert not any(hash_split(f"train/{name}/{name} (0).png", 0, test=0) == "val" for name in ("cat", "dog"))
    assert faults_of(root, cache_dir) == [f"{root}: no pictures in the val split, 4 in all; add some"]


def test_split_folders_that_contradict_each_other_are_refused(
    tmp_path: Path, write_tree: WriteTree, cache_dir: Path
) -> None:
    splits = ("train", "val", "valid", "test", "dev")
    root = write_tree(tmp_path / "data", {f"{split}/{name}": 3 for split in splits for name in ("cat", "dog")})
    faults = faults_of(root, cache_dir)
    assert any("val and valid both hold the val split" in fault for fault in faults)
    assert any("dev: holds class folders, but is no split by its name" in fault for fault in faults)


def test_a_class_may_be_called_train(tmp_path: Path, write_tree: WriteTree) -> None:
    source = SETTINGS.source(write_tree(tmp_path, {"train": 20, "plane": 20}))
    assert source.classes == ("plane", "train")
    assert not source.faults


def test_a_missing_folder_names_the_layout_the_option_and_the_nearest_folder(tree: Path) -> None:
    with pytest.raises(DataError, match=r"did you mean cat\?.*CLASS/\*\.jpg"):
        ImageFolder(path="cats").source(tree)
    with pytest.raises(DataError, match="--data-root nowhere"):
        ImageFolder(path="cats").source(Path("nowhere"))
    with pytest.raises(DataError, match=r"--set dataset\.path=DIR or --data-root DIR"):
        ImageFolder().source(None)


def test_the_path_is_below_the_root_or_the_user_s_own(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for path, root in (("data", tmp_path), ("data", None), ("data", tmp_path / "empty"), (str(tree), None)):
        assert ImageFolder(path=path).source(root).root == tree
    assert ImageFolder().source(tree).root == tree


def test_symbolic_links_of_the_user_are_followed(tree: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tree / "dog").rename(elsewhere)
    (tree / "dog").symlink_to(elsewhere)
    assert len(SETTINGS.source(tree).rows) == 60


def test_the_same_name_in_two_unicode_forms_splits_alike(tmp_path: Path, write_tree: WriteTree) -> None:
    composed = write_tree(tmp_path / "a", {"caf\u00e9": 20, "dog": 20})
    decomposed = tmp_path / "b"
    shutil.copytree(composed, decomposed)
    for file in [*(decomposed / "caf\u00e9").iterdir()]:
        file.rename(file.with_name(file.name.replace("\u00e9", "e\u0301")))
    (decomposed / "caf\u00e9").rename(decomposed / "cafe\u0301")
    assert SETTINGS.source(composed).rows == SETTINGS.source(decomposed).rows


def test_a_name_that_is_no_text_is_a_fault(tree: Path, cache_dir: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tree / "cat") + b"/\xff.jpg")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert any("not valid UTF-8" in fault for fault in faults_of(tree, cache_dir))


@pytest.mark.parametrize(("setting", "value"), [("channels", 2), ("image_size", 0), ("image_size", "64"), ("path", 3)])
def test_settings_outside_their_domain_are_refused(setting: str, value: object) -> None:
    with pytest.raises(ValidationError, match=setting):
        ImageFolder.model_validate({setting: value})


@pytest.mark.skipif("TEST_DATA_ROOT" not in os.environ, reason="TEST_DATA_ROOT names no folder with real photos")
def test_real_photos_decode(cache_dir: Path) -> None:
    prepared = prepare(ImageFolder(path="animals"), Path(os.environ["TEST_DATA_ROOT"]), cache_dir)
    assert len(prepared.info.classes) == 22
    assert sum(map(sum, prepared.info.counts.values())) == 1939
    assert all(0.3 < value < 0.7 for value in prepared.info.mean)


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("Training", "Validation", "Testing"),
        ("TRAIN", "VAL", "TEST"),
        ("train_set", "valid-set", "test set"),
        ("trainset", "val_images", "testing_data"),
    ],
)
def test_splits_are_known_by_usual_names(
    train: str, validation: str, test: str, tmp_path: Path, write_tree: WriteTree
) -> None:
    counts = {f"{split}/{name}": 4 for split in (train, validation, test) for name in ("cat", "dog")}
    source = SETTINGS.source(write_tree(tmp_path, counts))
    assert (source.faults, source.classes) == ((), ("cat", "dog"))
    assert {row.path.split("/")[0]: row.split for row in source.rows} == {
        train: "train",
        validation: "val",
        test: "test",
    }
    assert source.facts["splits"] == "train, val, test as given"


@pytest.mark.parametrize("names", [("trian", "test"), ("Testing", "more"), ("validation", "learn")])
def test_folders_that_only_look_like_splits_are_not_taken_for_classes(
    names: tuple[str, str], tmp_path: Path, write_tree: WriteTree, cache_dir: Path
) -> None:
    root = write_tree(tmp_path / "data", {f"{split}/{name}": 4 for split in names for name in ("cat", "dog")})
    (fault,) = [fault for fault in faults_of(root, cache_dir) if "called like a split" in fault]
    assert "folders (cat, dog, …)" in fault
    assert "needs one called train (allowed: train, training, val" in fault


def test_a_folder_that_is_no_split_is_counted(tmp_path: Path, write_tree: WriteTree) -> None:
    counts = {f"{split}/{name}": 4 for split in ("train", "test") for name in ("cat", "dog")}
    source = SETTINGS.source(write_tree(tmp_path, {**counts, "extra/bird": 3}))
    assert len(source.rows) == 16
    assert "not read, as they are in folders that are no split by their name: 3 (3 extra/bird)" in source.notes


def test_classes_one_folder_deeper_are_pointed_to(tmp_path: Path, write_tree: WriteTree, cache_dir: Path) -> None:
    root = write_tree(tmp_path / "data", {"archive/cat": 9, "archive/dog": 9})
    only, hint = faults_of(root, cache_dir)
    assert "only the class archive" in only
    assert (
        hint
        == f"{root / 'archive'}: holds folders (cat, dog); if they are the classes, name this one: {root / 'archive'}"
    )
    assert not ImageFolder(path=str(root / "archive")).source(None).faults


def test_pictures_in_no_folder_and_archives_are_pointed_to(
    tmp_path: Path, write_tree: WriteTree, cache_dir: Path
) -> None:
    root = write_tree(tmp_path / "data", {"": 5})
    (root / "train.zip").write_bytes(b"PK")
    _, loose, packed = faults_of(root, cache_dir)
    assert loose == f"{root}: 5 pictures lie in no folder; make one for each class"
    assert packed == f"{root / 'train.zip'}: is an archive; unpack it"


@pytest.mark.parametrize("name", ["data.zip", "pets.tar.gz", "PETS.RAR"])
def test_an_archive_is_to_be_unpacked(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("")
    for settings, root in (
        (ImageFolder(path=name), tmp_path),
        (ImageFolder(), tmp_path / name),
        (Animals(), tmp_path / name),
    ):
        with pytest.raises(DataError, match="is an archive; unpack it and name the folder that comes out") as error:
            settings.source(root)
        assert "did you mean" not in str(error.value)


def test_a_file_is_no_folder(tree: Path) -> None:
    with pytest.raises(DataError, match=r"cat \(0\)\.png: is a file; name a folder"):
        ImageFolder(path="cat/cat (0).png").source(tree)


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(0, 5))
def test_drawn_splits_are_exact_in_every_class_and_each_has_its_own(labels: list[int], seed: int) -> None:
    settings = ImageFolder(split_seed=seed)
    named = [(str(label), Row(str(i), 0, "")) for i, label in enumerate(labels)]
    splits = [row.split for row in classified(named, settings).rows]
    for label, n in Counter(labels).items():
        own = Counter(split for split, of in zip(splits, labels, strict=True) if of == label)
        assert own["train"] >= 1
        assert own["test"] == min(n - 1, max(1, round(0.2 * n)))
        assert own["val"] == min(n - own["test"] - 1, max(1, round(0.15 * (n - own["test"]))))


def test_no_class_of_a_small_set_lacks_a_split(tmp_path: Path, write_tree: WriteTree) -> None:
    classes = ("a", "b", "c", "d", "e", "f")
    source = SETTINGS.source(write_tree(tmp_path, dict.fromkeys(classes, 5)))
    counts = Counter((row.label, row.split) for row in source.rows)
    assert all(counts[label, split] == n for label in range(6) for split, n in (("train", 3), ("val", 1), ("test", 1)))


def test_the_seed_draws_other_splits(tree: Path) -> None:
    assert splits_of(SETTINGS.source(tree)) != splits_of(ImageFolder(image_size=8, split_seed=1).source(tree))


@pytest.mark.parametrize("name", ["a\x1b[2J", "a\nb", "a\u2028b", "\u202ea", "\ufffe", "[conv1]", "<b>=1|`$👩‍🔬"])
def test_a_class_whose_name_would_act_is_refused_before_anything_is_decoded(
    name: str, tmp_path: Path, write_tree: WriteTree
) -> None:
    write_tree(tmp_path / "data", {"cat": 8, name: 8})
    settings = ImageFolder(path=str(tmp_path / "data"), image_size=8)
    if name_fault(name) is None:
        assert name in prepare(settings, None, tmp_path / "cache").info.classes
        return
    with pytest.raises(DataError, match=r"class '.*': holds .*U\+"):
        prepare(settings, None, tmp_path / "cache")
    assert not [*(tmp_path / "cache").rglob("*.arrow")]
