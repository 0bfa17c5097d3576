"""What the tests of faces share: rows, data and faults of a folder, and overlaps counted the plain way."""

from pathlib import Path
from typing import Any

import pytest

from datasets.base import Box, DataError, Dataset
from datasets.cache.cache import open_dataset, prepare
from datasets.faces.dataset import Faces
from datasets.faces.rows import FaceRow

LANDMARKS = " 161.97 218.48 200 240"


def rows_of(root: Path, **settings: Any) -> list[FaceRow]:
    source = Faces.model_validate(settings).source(root)
    assert not source.faults
    return [row for row in source.rows if isinstance(row, FaceRow)]


def opened(root: Path, cache_dir: Path, **settings: Any) -> Dataset:
    chosen = Faces.model_validate(settings)
    return open_dataset(chosen, prepare(chosen, root, cache_dir).path)


def faults_of(root: Path, cache_dir: Path, **settings: Any) -> list[str]:
    with pytest.raises(DataError) as error:
        prepare(Faces.model_validate(settings), root, cache_dir)
    return error.value.faults


def brute_force_iou(a: Box, b: Box) -> float:
    across = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    down = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return across * down / (sum(areas) - across * down)
