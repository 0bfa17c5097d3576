"""The cache: found again when the content is the same, rebuilt when it is not whole, safe among processes and kills."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from benchmarks.data import ADDED
from datasets.base import DataError, DatasetSettings, Record, Row, Source
from datasets.cache import arrow_file, content
from datasets.cache.cache import channel_statistics, open_dataset, prepare
from datasets.sources.image_folder import ImageFolder
from datasets.summary import summary
from tests.conftest import ROOT

SETTINGS = ImageFolder(image_size=8)


def test_the_second_time_nothing_is_decoded(tree: Path, cache_dir: Path) -> None:
    first, second = prepare(SETTINGS, tree, cache_dir), prepare(SETTINGS, tree, cache_dir)
    assert (first.decoded, second.decoded) == (True, False)
    assert (first.path, first.info) == (second.path, second.info)


def test_a_moved_and_touched_folder_hits_the_same_file(tree: Path, cache_dir: Path) -> None:
    path = prepare(SETTINGS, tree, cache_dir).path
    moved = tree.rename(tree.parent / "moved")
    for file in moved.rglob("*.*"):
        os.utime(file)
    for settings, root in ((SETTINGS, moved), (ImageFolder(image_size=8, path=str(moved)), None)):
        prepared = prepare(settings, root, cache_dir)
        assert (prepared.path, prepared.decoded) == (path, False)


def test_a_changed_image_makes_a_new_file(tree: Path, cache_dir: Path) -> None:
    before = prepare(SETTINGS, tree, cache_dir)
    image = tree / "cat" / "cat (0).png"
    Image.new("RGB", (9, 9), "red").save(image)
    after = prepare(SETTINGS, tree, cache_dir)
    assert after.path != before.path
    assert after.info.fingerprint != before.info.fingerprint


@pytest.mark.parametrize(
    ("change", "decodes"), [({"limit_train": 3}, False), ({"imbalance_factor": 9.0}, False), ({"image_size": 9}, True)]
)
def test_only_settings_of_reading_decode_again(
    change: dict[str, float], decodes: bool, tree: Path, cache_dir: Path
) -> None:
    prepare(SETTINGS, tree, cache_dir)
    assert prepare(SETTINGS.model_copy(update=change), tree, cache_dir).decoded is decodes


def test_unchanged_files_are_not_read_again(tree: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "SETTLE_NS", -(10**12))
    prepare(SETTINGS, tree, cache_dir)
    read: list[Path] = []
    digest = content._digest

    def noted(file: Path) -> str:
        read.append(file)
        return digest(file)

    monkeypatch.setattr(content, "_digest", noted)
    os.utime(tree / "dog" / "dog (1).jpg")
    assert not prepare(SETTINGS, tree, cache_dir).decoded
    assert [file.name for file in read] == ["dog (1).jpg"]


def test_a_file_that_has_just_changed_is_not_remembered(
    tree: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "SETTLE_NS", 10**15)
    prepare(SETTINGS, tree, cache_dir)
    assert not list(cache_dir.glob("seen-*"))


def test_a_torn_memory_of_digests_is_read_anew(tree: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "SETTLE_NS", -(10**12))
    prepare(SETTINGS, tree, cache_dir)
    (memory,) = cache_dir.glob("seen-*")
    memory.write_text(memory.read_text()[:-20])
    assert not prepare(SETTINGS, tree, cache_dir).decoded


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _flip_a_pixel(path: Path) -> None:
    dataset = open_dataset(SETTINGS, path)
    image = dataset.splits["train"].images[3].tobytes()
    whole = bytearray(path.read_bytes())
    whole[whole.index(image) + 5] ^= 1
    path.write_bytes(whole)


def _change_a_name(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"cat/cat (7).jpg", b"cat/cat (8).jpg"))


def _change_the_mean(path: Path) -> None:
    path.write_bytes(re.sub(rb'"mean": \[0\.\d', b'"mean": [0.9', path.read_bytes()))


@pytest.mark.parametrize("damage", [_truncate, _empty, _flip_a_pixel, _change_a_name, _change_the_mean])
def test_a_damaged_file_is_rebuilt(damage: Callable[[Path], None], tree: Path, cache_dir: Path) -> None:
    path = prepare(SETTINGS, tree, cache_dir).path
    good = path.read_bytes()
    damage(path)
    assert path.read_bytes() != good
    assert prepare(SETTINGS, tree, cache_dir).decoded
    assert path.read_bytes() == good


def test_a_trial_says_what_is_wrong_with_the_file(tree: Path, cache_dir: Path) -> None:
    path = prepare(SETTINGS, tree, cache_dir).path
    _truncate(path)
    with pytest.raises(DataError, match="prepare the data set again"):
        open_dataset(SETTINGS, path)
    path.unlink()
    with pytest.raises(DataError, match="no such cache file"):
        open_dataset(SETTINGS, path)


def test_a_file_of_another_format_is_rebuilt(tree: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = prepare(SETTINGS, tree, cache_dir).path
    with monkeypatch.context() as patch:
        patch.setattr(arrow_file, "FORMAT", 0)
        older = prepare(SETTINGS, tree, cache_dir).path
    older.replace(path)
    assert prepare(SETTINGS, tree, cache_dir).decoded


def test_opening_takes_a_millisecond_and_no_memory(tree: Path, cache_dir: Path) -> None:
    settings = ImageFolder(image_size=256)
    path = prepare(settings, tree, cache_dir).path
    assert path.stat().st_size > 10_000_000
    open_dataset(settings, path)
    arrow_before, seconds = pa.total_allocated_bytes(), []
    for _ in range(30):
        start = time.perf_counter()
        open_dataset(settings, path)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1e-3
    tracemalloc.start()
    kept = open_dataset(settings, path)
    assert tracemalloc.get_traced_memory()[0] < 50_000
    tracemalloc.stop()
    assert pa.total_allocated_bytes() - arrow_before < 50_000
    assert len(kept.splits) == 3


def test_a_new_process_opens_it_for_less_than_two_megabytes_of_its_own(tree: Path, cache_dir: Path) -> None:
    path = prepare(ImageFolder(image_size=256), tree, cache_dir).path
    given = [str(tree), str(path), "256"]
    done = subprocess.run([sys.executable, "-c", ADDED, *given], cwd=ROOT, capture_output=True, text=True, check=True)
    added, resident = map(int, done.stdout.split())
    assert 0 < added < 2048
    assert resident < 2048 + path.stat().st_size // 1024


def test_writing_into_a_view_reaches_neither_file_nor_other_views(tree: Path, cache_dir: Path) -> None:
    path = prepare(SETTINGS, tree, cache_dir).path
    before = path.read_bytes()
    mine, other = open_dataset(SETTINGS, path), open_dataset(SETTINGS, path)
    mine.splits["train"].images[:] = 0
    assert other.splits["train"].images.any()
    assert path.read_bytes() == before


def test_paths_are_a_sequence_read_on_demand(tree: Path, cache_dir: Path) -> None:
    path = prepare(SETTINGS, tree, cache_dir).path
    paths = open_dataset(SETTINGS, path).splits["train"].paths
    every = list(paths)
    assert [paths[i] for i in range(len(paths))] == every
    assert (paths[-1], paths[1:3]) == (every[-1], every[1:3])
    with pytest.raises(IndexError):
        paths[len(paths)]


def test_channel_statistics_are_numpys() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1030, 3, 4, 5), dtype=np.uint8)
    mean, std = channel_statistics(images)
    assert mean == pytest.approx((images / 255).mean((0, 2, 3)), abs=1e-12)
    assert std == pytest.approx((images / 255).std((0, 2, 3)), abs=1e-12)


class Marked(DatasetSettings):
    """Grey squares, each third one with two landmarks: what a set with points looks like."""

    name: str = "marked"

    def source(self, data_root: Path | None) -> Source:
        splits = ("train", "train", "val", "test")
        rows = tuple(Row(f"{i}", i % 2, splits[i // 2 % 4]) for i in range(24))
        return Source(None, ("face", "other"), (1, 4, 4), rows, content="x", n_points=2)

    def read(self, source: Source, row: Row) -> Record:
        i = int(row.path)
        points = np.full((2, 2), i, dtype=np.float32) if i % 3 == 0 else None
        return Record(np.full((1, 4, 4), i, dtype=np.uint8), points)


@pytest.mark.parametrize("change", [{}, {"limit_train": 5, "imbalance_factor": 3.0}])
def test_landmarks_go_through_the_cache(change: dict[str, float], cache_dir: Path) -> None:
    settings = Marked.model_validate(change)
    dataset = open_dataset(settings, prepare(settings, None, cache_dir).path)
    assert dataset.info.n_points == 2
    for rows in dataset.splits.values():
        assert rows.points is not None
        assert rows.points.shape == (len(rows), 2, 2)
        for i, path in enumerate(rows.paths):
            assert (rows.points[i] == int(path)).all() if int(path) % 3 == 0 else np.isnan(rows.points[i]).all()


@pytest.mark.parametrize("place", [".", "deep/cache"])
def test_a_cache_inside_the_data_is_refused(place: str, tree: Path) -> None:
    with pytest.raises(DataError, match="inside the data folder"):
        prepare(SETTINGS, tree, tree / place)
    assert not (tree / "deep").exists()


def test_the_cache_folder_comes_from_the_environment_or_the_user(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.delenv("CACHE_DIR", raising=False)
    assert prepare(SETTINGS, tree).path.parent == tmp_path / "user" / "vision-ablation"
    monkeypatch.setenv("CACHE_DIR", str(tmp_path / "named"))
    assert prepare(SETTINGS, tree).path.parent == tmp_path / "named"


def test_an_unwritable_cache_folder_is_named(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/cache cannot be written .*--cache-dir"):
        prepare(SETTINGS, tree, tmp_path / "file" / "cache")


def test_a_full_disk_is_an_error_that_leaves_nothing(
    tree: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(DataError, match="No space left on device"):
        prepare(SETTINGS, tree, cache_dir)
    assert not [file for file in cache_dir.iterdir() if file.suffix != ".lock"]


def test_a_source_that_changes_meanwhile_is_refused(
    tree: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = ImageFolder.read

    def meddle(self: ImageFolder, source: Source, row: Row) -> Record:
        shutil.copy(tree / "dog" / "dog (3).png", tree / "dog" / "dog (0).png")
        return read(self, source, row)

    monkeypatch.setattr(ImageFolder, "read", meddle)
    with pytest.raises(DataError, match=r"dog \(0\)\.png: changed while"):
        prepare(SETTINGS, tree, cache_dir)
    assert not list(cache_dir.glob("*.arrow"))


SCRIPT = """
import sys, time
from pathlib import Path
from datasets.cache import arrow_file, cache
from datasets.sources.image_folder import ImageFolder
tree, folder, log, mode = map(Path, sys.argv[1:])
read, write = ImageFolder.read, arrow_file.write
def logged(self, source, row):
    with log.open("a") as file:
        file.write(row.path + "\\n")
    time.sleep(0.02 if mode.name == "slow" else 0)
    return read(self, source, row)
def half(stream, *_):
    stream.write(b"ARROW1 and no more")
    stream.flush()
    log.write_text("writing")
    time.sleep(60)
ImageFolder.read = logged
if mode.name == "half":
    arrow_file.write = half
print(cache.prepare(ImageFolder(image_size=8), tree, folder).info.fingerprint)
"""


def _start(*arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_of_two_processes_one_decodes(tree: Path, cache_dir: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    both = [_start(tree, cache_dir, log, "slow") for _ in range(2)]
    prints = {process.communicate(timeout=60)[0].strip() for process in both}
    assert prints == {prepare(SETTINGS, tree, cache_dir).info.fingerprint}
    assert len(log.read_text().splitlines()) == 60


@pytest.mark.parametrize("mode", ["slow", "half"])
def test_a_killed_build_leaves_nothing_in_the_way(mode: str, tree: Path, cache_dir: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = _start(tree, cache_dir, log, mode)
    while not log.exists() or (mode == "half" and log.read_text() != "writing"):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list(cache_dir.glob("*.arrow"))
    prepared = prepare(SETTINGS, tree, cache_dir)
    assert prepared.decoded
    assert {file.suffix for file in cache_dir.iterdir()} <= {".arrow", ".lock", ".json"}


def test_the_summary_is_a_table_with_totals(tree: Path, cache_dir: Path) -> None:
    prepared = prepare(SETTINGS, tree, cache_dir)
    told = summary(prepared)
    assert told.header == ("class", "train", "val", "test")
    assert [row[0] for row in told.rows] == ["cat", "dog", "total"]
    assert sum(map(int, told.rows[-1][1:])) == 60
    assert dict(told.facts)["image"] == "3 × 8 × 8"
    assert str(prepared.path) in dict(told.facts)["cache file"]
