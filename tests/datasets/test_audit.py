"""The audit on small folders and, where they are, on the real ones: what is doubtful is counted and named."""

import os
import time
from pathlib import Path

import pytest
from PIL import Image

from datasets.audit import audit
from datasets.cache.cache import prepare
from datasets.faces.dataset import Faces
from datasets.sources.animals import Animals
from datasets.sources.expressions import Expressions
from datasets.summary import summary
from tests.datasets.makers import make_animals, make_expressions, make_faces


def test_a_clean_data_set_has_nothing_doubtful(tmp_path: Path, cache_dir: Path) -> None:
    prepared = prepare(Expressions(), make_expressions(tmp_path / "data"), cache_dir)
    found = audit(prepared)
    assert (found.across_splits, found.across_classes, found.leaked, found.tiny, found.rare) == (0, 0, 0, 0, ())
    assert found.lines == ()
    assert ("audit", "nothing doubtful found") in summary(prepared).facts


def test_tiny_images_and_rare_classes_are_named(tmp_path: Path, cache_dir: Path) -> None:
    root = make_animals(tmp_path / "data")
    for file in sorted((root / "animals" / "emu").iterdir())[5:]:
        file.unlink()
    for i, side in enumerate((7, 8, 3)):
        Image.new("RGB", (30, side), (i, 0, 0)).save(root / "animals" / "cat" / f"flat {side}.png")
    prepared = prepare(Animals(image_size=16), root, cache_dir)
    found = audit(prepared)
    assert (found.tiny, found.rare) == (2, ("emu",))
    assert "2 pictures of fewer than 8 pixels a side, e.g. cat/flat 3.png (3)" in found.lines
    assert "class emu has few examples: 3 train, 1 val, 1 test" in found.lines
    assert {("audit", line) for line in found.lines} <= set(summary(prepared).facts)


def test_faces_tell_their_counts(tmp_path: Path, cache_dir: Path) -> None:
    prepared = prepare(Faces(widen=0.9), make_faces(tmp_path / "data", size=(60, 60)), cache_dir)
    found = audit(prepared)
    assert found.counts["faces"] == 75
    assert found.counts["faces_short"] > 0
    assert found.counts["from_backgrounds"] > 0
    assert found.lines[0] == f"75 faces and {found.counts['non_faces']} non-faces from {found.counts['photos']} photos"
    assert any("faces leave room in their photo for fewer non-faces than asked for" in line for line in found.lines)


@pytest.mark.skipif("TEST_DATA_ROOT" not in os.environ, reason="TEST_DATA_ROOT names no folder with real photos")
def test_the_copies_of_the_real_fer2013_are_found_quickly(cache_dir: Path) -> None:
    prepared = prepare(Expressions(), Path(os.environ["TEST_DATA_ROOT"]), cache_dir)
    start = time.perf_counter()
    found = audit(prepared)
    assert time.perf_counter() - start < 3
    assert (found.across_splits, found.across_classes) == (265, 23)
    assert prepare(Expressions(drop_leaks=True), Path(os.environ["TEST_DATA_ROOT"]), cache_dir).info.dropped == 283
