"""Animals from class folders and from the list: the same splits both ways, and every fault of a line named."""

import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from datasets.base import DataError
from datasets.cache.cache import open_dataset, prepare
from datasets.sources.animals import CSV, Animals, write_csv
from tests.datasets.makers import ANIMALS, make_animals, png_header

SETTINGS = Animals(image_size=16)


def faults_of(root: Path, cache_dir: Path) -> list[str]:
    with pytest.raises(DataError) as error:
        prepare(SETTINGS, root, cache_dir)
    return error.value.faults


def test_folders_and_list_give_the_same_data(tmp_path: Path, cache_dir: Path) -> None:
    from_folders = prepare(SETTINGS, make_animals(tmp_path / "a"), cache_dir)
    from_list = prepare(SETTINGS, make_animals(tmp_path / "b", csv=True), cache_dir)
    assert from_list.info == from_folders.info
    assert from_list.path != from_folders.path
    assert from_list.info.classes == ANIMALS
    assert from_list.info.image_shape == (3, 16, 16)
    assert Animals().image_size == 224


def test_a_written_list_is_shuffled_and_read_instead_of_the_tree(tmp_path: Path, cache_dir: Path) -> None:
    root = make_animals(tmp_path / "root")
    before = prepare(SETTINGS, root, cache_dir)
    file = write_csv(SETTINGS, root, root / "animals")
    header, *lines = file.read_text().splitlines()
    assert header == "path,label"
    assert len(lines) == 90
    labels = [line.rsplit(",")[1] for line in lines]
    assert all(line.startswith(f"{label}/") for line, label in zip(lines, labels, strict=True))
    assert sum(a != b for a, b in pairwise(labels)) > 40
    assert prepare(SETTINGS, root, cache_dir).info == before.info
    with pytest.raises(DataError, match="is there already"):
        write_csv(SETTINGS, root, root / "animals")


def test_a_list_may_name_a_part_by_number_in_either_separator(tmp_path: Path, cache_dir: Path) -> None:
    root = make_animals(tmp_path / "root")
    lines = [
        f"{label},x,{'abc'[i % 3] and name}\\{name} ({i}){ext}"
        for label, name in enumerate(ANIMALS[:2])
        for i, ext in numbered()
    ]
    (root / "animals" / CSV).write_text("\ufeffLabel, note, Path\r\n" + "\r\n".join(lines) + "\r\n\r\n")
    data = open_dataset(SETTINGS, prepare(SETTINGS, root, cache_dir).path)
    assert data.info.classes == ("cat", "dog")
    for part in data.splits.values():
        assert [path.split("/")[0] for path in part.paths] == [data.info.classes[label] for label in part.labels]


def numbered() -> list[tuple[int, str]]:
    return [(i, (".jpg", ".png", ".JPEG")[i % 3]) for i in range(30)]


def test_photos_in_one_folder_are_labelled_by_the_list_alone(tmp_path: Path, cache_dir: Path) -> None:
    folder = make_animals(tmp_path / "root") / "animals"
    lines = []
    for label, name in enumerate(ANIMALS):
        for file in sorted((folder / name).iterdir()):
            file.rename(folder / file.name)
            lines.append(f"{file.name},{label + 9}")
        (folder / name).rmdir()
    (folder / CSV).write_text("path,label\n" + "\n".join(lines))
    assert prepare(SETTINGS, folder.parent, cache_dir).info.classes == ("9", "10", "11")


FAULTS = [
    ("cat/cat (0).jpg,cta", "unknown label 'cta'; allowed: cat, dog, emu; did you mean 'cat'?"),
    ("cat/cat (0).jpg,3", "unknown label '3'"),
    ("cat/cat (0).jpg,", "unknown label ''"),
    ("cat/gone.jpg,cat", "no such picture"),
    ("../../cat.jpg,cat", "path '../../cat.jpg' is absolute or leaves the data set's folder by '..'"),
    ("/etc/cat.jpg,cat", "is absolute or leaves"),
    ("cat/cat (0).jpg", "1 columns, where the header has 2"),
    ("cat/cat (1).png,cat", "cat/cat (1).png stands in line"),
]


def test_every_fault_of_the_list_is_named_by_its_line(tmp_path: Path, cache_dir: Path) -> None:
    root = make_animals(tmp_path / "root", csv=True)
    file = root / "animals" / CSV
    n_lines = len(file.read_text().splitlines())
    file.write_text(file.read_text() + "\n".join(line for line, _ in FAULTS) + "\n")
    (root / "animals" / "dog" / "dog (1).png").write_bytes(png_header(100_000, 100_000))
    *faults, giant = faults_of(root, cache_dir)
    for number, (line, message) in enumerate(FAULTS, start=n_lines + 1):
        assert any(fault.startswith(f"{file}:{number}: ") and message in fault for fault in faults), (line, faults)
    named = [int(fault.removeprefix(f"{file}:").split(":")[0]) for fault in faults]
    assert named == sorted(named)
    assert set(named) == set(range(n_lines + 1, n_lines + 1 + len(FAULTS)))
    assert "dog (1).png" in giant
    assert "50 megapixels" in giant


def test_other_columns_and_a_class_in_one_split_only_are_refused(tmp_path: Path, cache_dir: Path) -> None:
    root = make_animals(tmp_path / "root")
    (root / "animals" / CSV).write_text("file,class\n")
    assert any(f"{CSV}:1: expected the columns path,label, found file,class" in f for f in faults_of(root, cache_dir))
    (root / "animals" / CSV).unlink()
    tested = next(row.path for row in SETTINGS.source(root).rows if row.split == "test" and row.label == 2)
    lines = [f"{row.path},{row.path.split('/')[0]}" for row in SETTINGS.source(root).rows if row.label < 2]
    (root / "animals" / CSV).write_text("\n".join(["path,label", *lines, f"{tested},emu"]))
    (fault,) = faults_of(root, cache_dir)
    assert "class emu has no training pictures, only test" in fault


def test_a_decomposed_name_on_disk_is_found(tmp_path: Path) -> None:
    root = make_animals(tmp_path / "root", csv=True)
    shutil.copy(root / "animals" / "cat" / "cat (1).png", root / "animals" / "cat" / "cafe\u0301.png")
    with (root / "animals" / CSV).open("a") as stream:
        stream.write("cat/caf\u00e9.png,cat\n")
    source = SETTINGS.source(root)
    assert not source.faults
    with Image.open(source.files["cat/caf\u00e9.png"]) as image:
        assert image.size == (24, 31)
