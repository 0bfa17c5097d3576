"""What is put at a URL comes back; what fails is told with its reason."""

import shutil
from pathlib import Path

import pytest

from core.errors import StorageError, disk_fault
from core.storage import Store
from tests.core.storage import failing, lost, url_of


def test_a_full_disk_behind_the_url_stops_at_once(tmp_path: Path) -> None:
    def full(verb: str, path: str) -> None:
        nonlocal requests
        requests += 1
        raise OSError(28, "No space left on device", path)

    requests = 0
    with failing(full), pytest.raises(OSError, match="No space") as caught:
        Store(url_of(tmp_path)).put("log.jsonl", b"")
    assert (requests, "the disk is full" in str(disk_fault(caught.value))) == (1, True)


@pytest.mark.parametrize("scheme", ["file", "faulty"])
def test_files_come_back_as_they_were_sent(scheme: str, tmp_path: Path) -> None:
    store = Store(f"{scheme}://{tmp_path}/a/b")
    assert (store.read("x"), store.has("x"), store.files("folder")) == (None, False, [])
    store.put("x", b"123")
    store.put("folder/deeper/y", b"45")
    store.move("x", "folder/x")
    store.move("x", "folder/x")
    assert (store.read("folder/x"), store.read("folder/x", 2), store.read("folder/x", 9)) == (b"123", b"23", b"123")
    assert sorted(store.files("folder")) == ["folder/deeper/y", "folder/x"]
    store.get("folder/deeper/y", tmp_path / "here" / "y")
    assert (tmp_path / "here" / "y").read_bytes() == b"45"
    store.get("folder/x", tmp_path / "here" / "y", whole=lambda path: False)
    assert [file.name for file in (tmp_path / "here").iterdir()] == ["y"]
    assert (tmp_path / "here" / "y").read_bytes() == b"45"
    store.delete("folder/x")
    store.delete("folder/x")
    assert store.files("folder") == ["folder/deeper/y"]
    shutil.rmtree(tmp_path / "a")
    store.put("folder/deeper/y", b"folders that are gone are made again")


def test_lost_storage_is_told_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with failing(lost), pytest.raises(StorageError, match=r"file/run: x cannot be written \(.*ot a directory"):
        Store(f"file://{tmp_path}/file/run").put("x", b"")
