"""The audit on small folders and, where they are, on the real ones: what is doubtful is counted and named."""

import os
import time
from pathlib import Path

import pytest
from PIL import Image

import datasets.audit
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


def leaking(root: Path) -> Path:
    """Animals with copies of a training picture in test, and of another in another class."""
    rows = Animals().source(make_animals(root)).rows
    first = {split: [row.path for row in rows if row.split == split and row.label == 0] for split in ("train", "test")}
    for source, to in ((first["train"][0], first["test"][0]), (first["train"][1], "dog/copy.png")):
        (root / "animals" / to).write_bytes((root / "animals" / source).read_bytes())
    return root


def test_leaks_are_told_with_what_drop_leaks_does(tmp_path: Path, cache_dir: Path) -> None:
    root = leaking(tmp_path / "data")
    found = audit(prepare(Animals(image_size=16), root, cache_dir))
    assert [line.partition(", e.g.")[0] for line in found.leaks[:2]] == [
        "2 identical pictures across splits",
        "2 identical pictures across classes",
    ]
    assert found.leaks[2].startswith(f"--drop-leaks would leave out {found.leaked} of ")
    dropped = audit(prepare(Animals(image_size=16, drop_leaks=True), root, cache_dir))
    assert dropped.leaks[2].startswith(f"--drop-leaks leaves out {found.leaked} of ")


def test_the_audit_is_made_once_and_kept_beside_the_data(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, made = leaking(tmp_path / "data"), []
    monkeypatch.setattr(
        datasets.audit, "_made", lambda opened, real=datasets.audit._made: made.append(1) or real(opened)
    )
    prepared = prepare(Animals(image_size=16), root, cache_dir)
    found = audit(prepared)
    assert audit(prepare(Animals(image_size=16, limit_train=5), root, cache_dir)) == found
    assert len(made) == 1
    (kept,) = cache_dir.glob("*.audit.json")
    kept.write_text(kept.read_text()[:-9])
    assert audit(prepared) == found
    assert len(made) == 2
    (root / "animals" / "cat" / "notes.txt").write_text("")  # what the folder holds is looked at anew, the data are not
    assert "1 .txt" in audit(prepare(Animals(image_size=16), root, cache_dir)).lines[0]
    assert len(made) == 2


@pytest.mark.skipif("TEST_DATA_ROOT" not in os.environ, reason="TEST_DATA_ROOT names no folder with real photos")
def test_the_copies_of_the_real_fer2013_are_found_quickly(cache_dir: Path) -> None:
    prepared = prepare(Expressions(), Path(os.environ["TEST_DATA_ROOT"]), cache_dir)
    start = time.perf_counter()
    found = audit(prepared)
    assert time.perf_counter() - start < 3
    assert (found.across_splits, found.across_classes) == (265, 23)
    assert prepare(Expressions(drop_leaks=True), Path(os.environ["TEST_DATA_ROOT"]), cache_dir).info.dropped == 283
