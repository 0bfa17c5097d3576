"""A trial on another node than the driver's: it opens the same data, or says what that node lacks."""

import platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.base import DataError
from datasets.cache import cache
from datasets.cache.cache import open_or_prepare, prepare
from datasets.sources.digits import Digits
from datasets.sources.image_folder import ImageFolder

SETTINGS = ImageFolder(image_size=8)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """The cache folder of another node."""
    return tmp_path / "elsewhere"


def test_where_the_drivers_file_is_it_is_opened_and_no_data_are_needed(tree: Path, cache_dir: Path) -> None:
    prepared = prepare(SETTINGS, tree, cache_dir)
    opened = open_or_prepare(SETTINGS, prepared.path, Path("/nowhere"), Path("/proc/nowhere"))
    assert opened.info == prepared.info


def test_another_node_makes_the_same_file_from_the_data_root(tree: Path, cache_dir: Path, elsewhere: Path) -> None:
    prepared = prepare(SETTINGS, tree, cache_dir)
    original = open_or_prepare(SETTINGS, prepared.path)
    absent = elsewhere / "of-the-driver" / prepared.path.name
    opened = open_or_prepare(SETTINGS, absent, tree, elsewhere)
    assert opened.info == prepared.info
    assert np.array_equal(opened.splits["train"].images, original.splits["train"].images)
    assert (elsewhere / prepared.path.name).read_bytes() == prepared.path.read_bytes()
    assert not absent.exists()


def test_digits_need_no_data_root_on_another_node(cache_dir: Path, elsewhere: Path) -> None:
    prepared = prepare(Digits(), None, cache_dir)
    assert open_or_prepare(Digits(), elsewhere / prepared.path.name, None, elsewhere).info == prepared.info


def test_many_trials_of_a_node_decode_once(
    tree: Path, cache_dir: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(SETTINGS, tree, cache_dir)
    built: list[Path] = []
    build = cache._build
    monkeypatch.setattr(cache, "_build", lambda *parts: (built.append(parts[-1]), build(*parts)))
    absent = elsewhere / "of-the-driver" / prepared.path.name
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(open_or_prepare, SETTINGS, absent, tree, elsewhere) for _ in range(4)]
        infos = [future.result().info for future in futures]
    assert infos == [prepared.info] * 4
    assert built == [elsewhere / prepared.path.name]


def test_once_made_the_nodes_file_is_opened_without_looking_at_the_data(
    tree: Path, cache_dir: Path, elsewhere: Path
) -> None:
    prepared = prepare(SETTINGS, tree, cache_dir)
    absent = elsewhere / "of-the-driver" / prepared.path.name
    open_or_prepare(SETTINGS, absent, tree, elsewhere)
    tree.rename(tree.parent / "gone")
    assert open_or_prepare(SETTINGS, absent, tree, elsewhere).info == prepared.info


def test_a_node_without_the_data_root_is_named_with_what_it_lacks(tree: Path, cache_dir: Path, elsewhere: Path) -> None:
    absent = elsewhere / prepare(SETTINGS, tree, cache_dir).path.name
    missing = tree.parent / "not-mounted"
    with pytest.raises(DataError) as raised:
        open_or_prepare(SETTINGS, absent, missing, elsewhere)
    for part in (platform.node(), str(absent), str(missing)):
        assert part in str(raised.value)


def test_other_data_under_the_same_root_are_refused(tree: Path, cache_dir: Path, elsewhere: Path) -> None:
    absent = elsewhere / prepare(SETTINGS, tree, cache_dir).path.name
    Image.new("RGB", (9, 9), "red").save(tree / "cat" / "cat (0).png")
    with pytest.raises(DataError, match="are not those that the study was planned with"):
        open_or_prepare(SETTINGS, absent, tree, elsewhere)
