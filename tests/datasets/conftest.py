"""Small trees of real image files, written in the layouts that users have."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.datasets.faces.face_cases import LANDMARKS
from tests.datasets.makers import make_faces

WriteTree = Callable[[Path, Mapping[str, int]], Path]


@pytest.fixture(scope="session")
def write_tree() -> WriteTree:
    """write_tree(root, {"cat": 5, "train/dog": 3}): so many images of noise in each folder, no two alike."""

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
    """Two classes of thirty images without splits."""
    return write_tree(tmp_path / "data", {"cat": 30, "dog": 30})


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with generated faces, to be read only."""
    return make_faces(tmp_path_factory.mktemp("faces"))


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A data root with the source's example face, the first of twenty like it in photos of their own."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "root" / "faces" / "photos"
    folder.mkdir(parents=True)
    lines = []
    for i in range(20):
        Image.fromarray(rng.integers(0, 256, (480, 640), dtype=np.uint8)).save(folder / f"{i}.png", compress_level=0)
        lines.append(f"{i}.png 153 210 221 277{LANDMARKS}")
    (folder / "label.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "root"
