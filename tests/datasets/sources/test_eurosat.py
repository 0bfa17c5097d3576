"""EuroSAT wherever its archive put it: the same names, splits and fingerprint."""

from pathlib import Path

import pytest

from datasets.base import DataError
from datasets.cache.cache import open_dataset, prepare
from datasets.sources.eurosat import EuroSat
from tests.datasets.makers import LAND_USES, make_eurosat


def test_every_layout_of_the_archive_is_the_same_data(tmp_path: Path, cache_dir: Path) -> None:
    prepared = [
        prepare(EuroSat(), make_eurosat(tmp_path / str(i), below=below), cache_dir)
        for i, below in enumerate(("", "2750", "EuroSAT/2750"))
    ]
    assert len({own.path for own in prepared}) == 1
    info = prepared[0].info
    assert info.classes == LAND_USES
    assert info.image_shape == (3, 64, 64)
    paths = [path for part in open_dataset(EuroSat(), prepared[0].path).splits.values() for path in part.paths]
    assert "AnnualCrop/AnnualCrop_11.jpg" in paths


def test_the_split_is_70_10_20(tmp_path: Path, cache_dir: Path) -> None:
    counts = prepare(EuroSat(image_size=8), make_eurosat(tmp_path / "data", per_class=100), cache_dir).info.counts
    shares = [sum(counts[split]) / 1_000 for split in ("train", "val", "test")]
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.03)


def test_the_long_tail_leaves_validation_and_test_alone(tmp_path: Path, cache_dir: Path) -> None:
    root = make_eurosat(tmp_path / "data")
    tailed = prepare(EuroSat(imbalance_factor=10), root, cache_dir)
    full, thin = tailed.full.counts["train"], tailed.info.counts["train"]
    assert min(thin) == round(max(full) / 10)
    assert all(a <= b for a, b in zip(thin, full, strict=True))
    assert tailed.info.counts["val"] == tailed.full.counts["val"]
    assert tailed.info.counts["test"] == tailed.full.counts["test"]


def test_a_missing_folder_names_the_layout(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"EuroSAT/2750/, as the archive unpacks"):
        EuroSat().source(tmp_path)
