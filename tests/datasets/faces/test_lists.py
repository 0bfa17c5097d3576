"""Face data's text files: ready lists written and read back, and every fault named by its file and line."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from datasets.base import DataError
from datasets.cache.cache import open_dataset, prepare
from datasets.faces.dataset import Faces, write_lists
from tests.datasets.faces.face_cases import faults_of, opened, rows_of
from tests.datasets.makers import png_header


def test_written_lists_read_back_as_the_same_rows(made: Path, tmp_path: Path, cache_dir: Path) -> None:
    for name, settings in {"plain": {}, "grouped": {"group_regex": r"^\d{5}", "context": 1.5}}.items():
        root = tmp_path / name
        shutil.copytree(made, root)
        chosen = Faces.model_validate(settings)
        before = prepare(chosen, root, cache_dir)
        train, test = write_lists(chosen, root, root / "faces")
        assert (train.name, test.name) == ("stage_3_train.txt", "stage_3_test.txt")
        assert write_lists(chosen, root, root / "faces") == (train, test)
        shutil.rmtree(root / "faces" / "photos" / "more" / "label.txt", ignore_errors=True)
        after = prepare(chosen, root, cache_dir)
        assert after.path != before.path
        assert after.info == before.info
        mine, theirs = (open_dataset(chosen, prepared.path) for prepared in (before, after))
        assert [list(part.paths) for part in mine.splits.values()] == [list(p.paths) for p in theirs.splits.values()]


def test_lists_of_either_separator_are_used_instead_of_labels(made: Path, tmp_path: Path, cache_dir: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(made, root)
    (root / "faces" / "photos" / "00000a.png").rename(root / "faces" / "photos" / "my photo 1.png")
    (root / "faces" / "photos" / "label.txt").write_text("nonsense")
    rng = np.random.default_rng(0)
    photos = [f"photos\\{'abc'[i % 3] and f'{i // 3:05d}'}{'abc'[i % 3]}.png" for i in range(2, 40, 2)]
    lines = [f"{photo} 10 20 61 70.5 {' '.join(map(str, rng.uniform(0, 50, 4)))}\r\n" for photo in photos]
    other = [f"{photo} 80 80 120 121 0\r\n" for photo in photos]
    (root / "faces" / "stage_3_train.txt").write_text("".join(lines + other))
    (root / "faces" / "stage_3_test.txt").write_text("photos/my photo 1.png 10 20 60 70 1 2 3 4\n")
    rows = rows_of(root)
    assert len(rows) == 2 * len(photos) + 1
    assert [row.path for row in rows if row.split == "test"] == ["photos/my photo 1.png@10,20,60,70"]
    assert {row.split for row in rows} == {"train", "val", "test"}
    assert rows[0].file == "photos/00000c.png"
    assert rows[0].box == (10, 20, 61, 70.5)
    data = opened(root, cache_dir)
    part = data.splits["test"]
    assert part.points is not None
    assert part.points[0].tolist() == pytest.approx(np.array([[1, 2], [3, 4]]) * 112 / 50)
    (root / "faces" / "stage_3_test.txt").unlink()
    assert {row.split for row in rows_of(root)} == {"train", "val", "test"}


def test_lists_are_not_written_over_others(made: Path, tmp_path: Path) -> None:
    (tmp_path / "stage_3_test.txt").write_text("mine\n")
    with pytest.raises(DataError, match=r"stage_3_test\.txt: holds other lines"):
        write_lists(Faces(), made, tmp_path)
    assert not (tmp_path / "stage_3_train.txt").exists()


RAW_FAULTS = [
    ("a.png 1 2 3", "3 numbers after the file's name; expected 4 of the box, then x and y of every landmark"),
    ("a.png 10 10 50 50", "4 numbers after"),
    ("a.png 10 10 50 50 1", "5 numbers after"),
    ("a.png 10 10 50 50 0", "5 numbers after"),
    ("a.png 10 10 50 50 1 2", "1 landmarks, where most faces have 2"),
    ("a.png 10 10 50 50 1 2 nan 4", "nan is not a finite number"),
    ("a.png 10 10 50 50 1 2 3 -inf", "-inf is not a finite number"),
    ("a.png 10 1O 50 50 1 2 3 4", "'1O' is not a number"),
    ("a.png 50 10 10 50 1 2 3 4", "box 50 10 10 50 is empty or its corners are swapped"),
    ("a.png 10 50 50 10 1 2 3 4", "corners are swapped"),
    ("a.png 10 10 10 50 1 2 3 4", "is empty"),
    ("a.png 10 10 10.2 50 1 2 3 4", "smaller than a pixel"),
    ("a.png 700 10 750 50 1 2 3 4", "box 700 10 750 50 lies outside the photo of 640 × 480 pixels"),
    ("a.png 10 -60 50 -10 1 2 3 4", "lies outside the photo"),
    ("gone.png 10 10 50 50 1 2 3 4", "no such photo"),
    ("gone 10 10 50 50 1 2 3 4", "no such photo"),
    ("../../../a.png 10 10 50 50 1 2 3 4", "path '../../../a.png' is absolute or leaves the data set's folder"),
    ("..\\..\\..\\a.png 10 10 50 50 1 2 3 4", "leaves the data set's folder"),
    ("/etc/a.png 10 10 50 50 1 2 3 4", "is absolute or leaves"),
    ("C:\\a.png 10 10 50 50 1 2 3 4", "is absolute or leaves"),
    ("text.png 10 10 50 50 1 2 3 4", "cannot be decoded as a picture (no picture format in it)"),
    ("giant.png 10 10 50 50 1 2 3 4", "more than 50 megapixels"),
]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("ready", [False, True])
def test_every_fault_is_named_with_file_and_line_at_once(ready: bool, one: Path, cache_dir: Path) -> None:
    folder = one / "faces" if ready else one / "faces" / "photos"
    file = folder / ("stage_3_train.txt" if ready else "label.txt")
    first = (one / "faces" / "photos" / "label.txt").read_text().splitlines()
    shutil.copy(one / "faces" / "photos" / "0.png", folder / "a.png")
    for i in range(20):
        shutil.copy(one / "faces" / "photos" / f"{i}.png", folder / f"{i}.png") if ready else None
    (folder / "text.png").write_text("no picture")
    (folder / "giant.png").write_bytes(png_header(100_000, 100_000))
    expected = [case for case in RAW_FAULTS if not (ready and (case[0].endswith(" 0") or "smaller" in case[1]))]
    file.write_text("\n".join(["", *first, *(line for line, _ in expected)]) + "\n")
    faults = [fault for fault in faults_of(one, cache_dir) if fault.startswith(str(file))]
    for number, (line, message) in enumerate(expected, start=len(first) + 2):
        assert any(f.startswith(f"{file}:{number}: ") and message in f for f in faults), (line, faults)
    assert len(faults) == len(expected)
    assert not list(cache_dir.glob("*.arrow"))


def test_a_folder_without_labels_and_a_missing_folder_say_what_is_expected(tmp_path: Path, cache_dir: Path) -> None:
    root = tmp_path / "root"
    with pytest.raises(DataError, match=r"expected layout: photos/label\.txt.*stage_3_train\.txt"):
        Faces().source(root)
    (root / "faces").mkdir(parents=True)
    assert any("no label.txt in it or below it" in fault for fault in faults_of(root, cache_dir))
    (root / "faces" / "stage_3_test.txt").write_text("")
    assert any("stage_3_test.txt without stage_3_train.txt" in fault for fault in faults_of(root, cache_dir))
