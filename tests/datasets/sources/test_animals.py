"""Animals from class folders and from the list: the same splits both ways, and every fault of a line named."""

import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from datasets.base import DataError
from datasets.cache.cache import open_dataset, prepare
from datasets.sources.animals import CSV, Animals, write_csv
from datasets.splits import hash_split
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
    rows = SETTINGS.source(root).rows
    lines = [f"{row.path},{row.path.split('/')[0]},{row.split}" for row in rows if row.label < 2]
    (root / "animals" / CSV).write_text("\n".join(["path,label,split", *lines, "emu/emu (1).png,emu,test"]))
    (fault,) = faults_of(root, cache_dir)
    assert "class emu has no training pictures, only test" in fault


def listed(folder: Path, column: str, *splits: str) -> Path:
    """A list of the class folders with a column of splits, which are given to the pictures of a class in turn."""
    lines = [f"path,label,{column}"]
    for name in sorted(entry.name for entry in folder.iterdir()):
        files = sorted((folder / name).iterdir())
        lines += [f"{name}/{file.name},{name},{splits[i % len(splits)]}" for i, file in enumerate(files)]
    (folder / CSV).write_text("\n".join(lines) + "\n")
    return folder.parent


@pytest.mark.parametrize("column", ["split", "Split", "subset", "partition", "set", "usage"])
def test_a_column_of_splits_is_kept(column: str, tmp_path: Path) -> None:
    root = listed(make_animals(tmp_path) / "animals", column, "Train", "train", "validation", "TEST", "training")
    source = SETTINGS.source(root)
    assert not source.faults
    wanted = {"Train": "train", "train": "train", "training": "train", "validation": "val", "TEST": "test"}
    lines = (root / "animals" / CSV).read_text().splitlines()[1:]
    assert {row.path: row.split for row in source.rows} == {
        path: wanted[split] for path, _, split in (line.split(",") for line in lines)
    }
    assert source.facts["splits"] == f"train, val, test as given; given by column {column.lower()} of {CSV}"


def test_a_split_that_the_column_lacks_is_drawn_from_training(tmp_path: Path) -> None:
    source = SETTINGS.source(listed(make_animals(tmp_path) / "animals", "split", "train", "train", "test"))
    counts = {split: [0, 0, 0] for split in ("train", "val", "test")}
    for row in source.rows:
        counts[row.split][row.label] += 1
    assert counts == {"train": [17] * 3, "val": [3] * 3, "test": [10] * 3}
    assert "drawn of the training pictures, stratified: val 15 %" in source.facts["splits"]


@pytest.mark.parametrize("value", ["hold-out", ""])
def test_a_split_that_is_none_is_named_by_its_line(value: str, tmp_path: Path) -> None:
    source = SETTINGS.source(listed(make_animals(tmp_path) / "animals", "split", "train", value, "test"))
    assert len(source.faults) == 30
    assert f"{CSV}:3: unknown split {value!r}; allowed: train, training, val" in source.faults[0]


@pytest.mark.parametrize(("column", "values"), [("fold", "12345"), ("set", "AB"), ("split", ("", "", ""))])
def test_a_column_that_gives_no_split_is_named_as_not_read(column: str, values: str, tmp_path: Path) -> None:
    source = SETTINGS.source(listed(make_animals(tmp_path) / "animals", column, *values))
    assert source.notes == (f"{CSV}: not read: column {column}",)
    assert source.facts["splits"] == "drawn, stratified: test 20 %, val 15 % of the rest"


def test_pictures_that_no_line_names_are_counted(tmp_path: Path) -> None:
    root = make_animals(tmp_path, csv=True)
    Image.new("RGB", (9, 9)).save(root / "animals" / "cat" / "new.webp")
    assert SETTINGS.source(root).notes == (f"1 pictures in the folders stand in no line of {CSV}",)


@pytest.mark.parametrize(
    "below", ["{}", "train/{}", "{}/session"], ids=["class folders", "split folders", "folders below"]
)
def test_a_written_list_of_numbered_classes_gives_the_data_of_the_tree(
    below: str, tmp_path: Path, cache_dir: Path
) -> None:
    classes = [str(n) for n in range(1, 13)]
    root = make_animals(tmp_path / "root", 10, [below.format(name) for name in classes])
    if below.startswith("train"):
        make_animals(root, 3, [f"test/{name}" for name in classes])
    before = prepare(SETTINGS, root, cache_dir)
    assert before.info.classes == tuple(sorted(classes))
    write_csv(SETTINGS, root, root / "animals")
    assert prepare(SETTINGS, root, cache_dir).info == before.info


def test_by_name_a_list_is_read_as_runs_before_did(tmp_path: Path) -> None:
    root = listed(make_animals(tmp_path, 12, ["1", "2", "10"]) / "animals", "split", "train", "test")
    source = SETTINGS.model_copy(update={"split_rule": "by_name"}).source(root)
    assert source.classes == ("1", "2", "10")
    assert {row.path: row.split for row in source.rows} == {row.path: hash_split(row.path, 0) for row in source.rows}


def test_a_decomposed_name_on_disk_is_found(tmp_path: Path) -> None:
    root = make_animals(tmp_path / "root", csv=True)
    shutil.copy(root / "animals" / "cat" / "cat (1).png", root / "animals" / "cat" / "cafe\u0301.png")
    with (root / "animals" / CSV).open("a") as stream:
        stream.write("cat/caf\u00e9.png,cat\n")
    source = SETTINGS.source(root)
    assert not source.faults
    with Image.open(source.files["cat/caf\u00e9.png"]) as image:
        assert image.size == (24, 31)
