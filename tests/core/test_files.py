"""A file is whole or absent: what fails or is killed while it is written leaves what stood there before."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.files import write_atomically, write_text
from tests.conftest import ROOT

KILLED = """
import os, signal, sys
from pathlib import Path
from core.files import write_atomically

def write(path):
    path.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

write_atomically(Path(sys.argv[1]), write)
"""


def test_what_is_written_is_flushed_before_it_is_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, calls = tmp_path / "folder" / "study.json", []
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append(file.exists()))
    write_text(file, "größer")
    assert calls == [False]
    assert file.read_bytes() == "größer".encode()
    assert list(file.parent.iterdir()) == [file]


def test_a_write_that_fails_leaves_the_file_before_it_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "last.pt"
    file.write_text("before")

    def half(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_atomically(file, half)
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_may_not_be_replaced_is_not(tmp_path: Path) -> None:
    file = tmp_path / "study.json"
    write_text(file, "first", place=os.link)
    with pytest.raises(FileExistsError):
        write_text(file, "second", place=os.link)
    assert file.read_text() == "first"
    assert list(tmp_path.iterdir()) == [file]


def test_a_process_killed_while_it_writes_leaves_the_file_before_it(tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    write_text(file, "before")
    assert subprocess.run([sys.executable, "-c", KILLED, file], cwd=ROOT, check=False).returncode == -9
    assert file.read_text() == "before"
