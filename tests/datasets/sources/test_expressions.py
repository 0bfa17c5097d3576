"""FER2013 in folders and as its csv: the same images, splits and class order, and every fault of a line named."""

from pathlib import Path

import numpy as np
import pytest

from datasets.base import DataError, Dataset
from datasets.cache.cache import open_dataset, prepare
from datasets.sources.expressions import Expressions
from tests.datasets.makers import EMOTIONS, make_expressions

PIXELS = " ".join(["7"] * 48 * 48)


def opened(root: Path, cache_dir: Path, **settings: int) -> Dataset:
    chosen = Expressions.model_validate(settings)
    return open_dataset(chosen, prepare(chosen, root, cache_dir).path)


@pytest.mark.parametrize("validation", ["validation", "val", "valid"])
def test_folders_and_csv_hold_the_same_images(validation: str, tmp_path: Path, cache_dir: Path) -> None:
    folders = opened(make_expressions(tmp_path / "a", validation=validation), cache_dir)
    table = opened(make_expressions(tmp_path / "b", validation=validation, csv=True), cache_dir)
    assert folders.info.classes == table.info.classes == tuple(sorted(EMOTIONS))
    assert folders.info.image_shape == table.info.image_shape == (1, 48, 48)
    assert folders.info.counts == table.info.counts
    assert folders.info.counts == {"train": (12,) * 7, "val": (6,) * 7, "test": (6,) * 7}
    for split, part in folders.splits.items():
        other = table.splits[split]
        mine, theirs = (
            sorted((label, image.tobytes()) for label, image in zip(p.labels.tolist(), p.images, strict=True))
            for p in (part, other)
        )
        assert mine == theirs


def test_the_csv_s_rows_are_named_by_their_lines_and_resized(tmp_path: Path, cache_dir: Path) -> None:
    root = make_expressions(tmp_path / "root", csv=True)
    lines = (root / "expressions" / "fer2013.csv").read_text().splitlines()
    data = opened(root, cache_dir)
    for part in data.splits.values():
        for image, label, path in zip(part.images, part.labels, part.paths, strict=True):
            emotion, pixels, _ = lines[int(path.removeprefix("fer2013.csv:")) - 1].split(",")
            assert EMOTIONS[int(emotion)] == data.info.classes[label]
            assert image.reshape(-1).tolist() == [int(value) for value in pixels.split()]
    assert opened(root, cache_dir, image_size=24).info.image_shape == (1, 24, 24)


def test_columns_in_any_order_quoted_and_a_missing_split_drawn(tmp_path: Path, cache_dir: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "root" / "expressions"
    folder.mkdir(parents=True)
    rows = [f'{i % 2 + 5}, Training,"{" ".join(map(str, rng.integers(0, 256, 2304)))}"' for i in range(60)]
    (folder / "fer2013.csv").write_text("\ufeffemotion, Usage, pixels\r\n" + "\r\n".join(rows) + "\r\n\r\n")
    data = opened(folder.parent, cache_dir)
    assert data.info.classes == ("neutral", "surprise")
    assert all(sum(n) for n in data.info.counts.values())


FAULTS = [
    (f"7,{PIXELS},Training", "unknown emotion '7'; allowed: 0 = angry"),
    (f",{PIXELS},Training", "unknown emotion ''"),
    (f"1,{PIXELS},Trainign", "unknown Usage 'Trainign'; allowed: Training, PublicTest, PrivateTest; did you mean"),
    (f"1,{PIXELS}", "2 columns, where the header has 3"),
    (f"1,{PIXELS} 1,Training", "2305 pixels, expected 48 × 48 = 2304"),
    (f"1,{PIXELS[:-1]}256,Training", "pixels from 7 to 256, allowed: 0 to 255"),
    (f"1,{PIXELS[:-1]}x,Training", "pixels are whole numbers between blanks"),
    ("1,,Training", "0 pixels, expected"),
]


def test_every_fault_of_the_csv_is_named_by_its_line(tmp_path: Path, cache_dir: Path) -> None:
    root = make_expressions(tmp_path / "root", csv=True)
    file = root / "expressions" / "fer2013.csv"
    n_lines = len(file.read_text().splitlines())
    file.write_text(file.read_text() + "\n".join(line for line, _ in FAULTS) + "\n")
    with pytest.raises(DataError) as error:
        prepare(Expressions(), root, cache_dir)
    faults = error.value.faults
    for number, (_, message) in enumerate(FAULTS, start=n_lines + 1):
        assert any(fault.startswith(f"{file}:{number}: ") and message in fault for fault in faults), (message, faults)
    assert len(faults) == len(FAULTS)


def test_other_columns_and_a_class_without_training_rows_are_refused(tmp_path: Path, cache_dir: Path) -> None:
    root = make_expressions(tmp_path / "root", csv=True)
    file = root / "expressions" / "fer2013.csv"
    lines = [line for line in file.read_text().splitlines() if not (line[0] == "3" and line.endswith("Training"))]
    file.write_text("\n".join(lines))
    with pytest.raises(DataError, match="class happy has no training pictures, only test and val"):
        prepare(Expressions(), root, cache_dir)
    file.write_text("label,image\n")
    with pytest.raises(DataError, match=r"fer2013\.csv:1: expected the columns emotion,pixels,Usage"):
        prepare(Expressions(), root, cache_dir)
