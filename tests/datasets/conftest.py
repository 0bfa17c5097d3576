"""Small trees of real picture files, written in the layouts that users have."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

WriteTree = Callable[[Path, Mapping[str, int]], Path]


@pytest.fixture(scope="session")
def write_tree() -> WriteTree:
    """write_tree(root, {"cat": 5, "train/dog": 3}): so many pictures of noise in each folder, no two alike."""

    def write(root: Path, counts: Mapping[str, int]) -> Path:
        for folder, n in counts.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for i in range(n):
                rng = np.random.default_rng([i, *folder.encode()])
                extension = (".png", ".jpg", ".JPEG")[i % 3]
                pixels = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / folder / f"{folder.split('/')[-1]} ({i}){extension}")
        return root

    return write


@pytest.fixture
def tree(tmp_path: Path, write_tree: WriteTree) -> Path:
    """Two classes of thirty pictures without splits."""
    return write_tree(tmp_path / "data", {"cat": 30, "dog": 30})


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    return tmp_path / "cache"
