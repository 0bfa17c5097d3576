"""What a killed process leaves is removed by the next start; what lives, or is somebody else's, stays."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core import files
from core.files import MARK, SCRATCH, marked, part_of, remove_marked, remove_parts, scratch
from tests.conftest import ROOT

# Makes a scratch folder, a session as Ray names it and a half-written file below argv[1], says so, and waits.
MAKES = """
import sys, time
from pathlib import Path
from core.files import marked, part_of, scratch
base = Path(sys.argv[1])
session = base / "session_2026-01-01_00-00-00_000000_1"
(session / "logs").mkdir(parents=True)
with scratch(base=base) as folder, marked(session), part_of(base / "last.pt") as part:
    (folder / "trials").mkdir()
    (folder / "trials" / "state.json").write_text("{}")
    (folder / "outside").symlink_to(base / "outside")
    (session / "logs" / "raylet.out").write_text("log")
    part.write_text("half")
    print("made", flush=True)
    time.sleep(60)
"""


@contextmanager
def living(base: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that made what `MAKES` makes, and is killed after the block."""
    with subprocess.Popen(
        [sys.executable, "-c", MAKES, str(base)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "made\n"
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def left(base: Path) -> list[str]:
    return sorted(entry.name for entry in base.iterdir())


def next_start(base: Path) -> None:
    """As a new process does it: folders, then files."""
    remove_marked.cache_clear()
    for prefix in (SCRATCH, "session_"):
        remove_marked(base, prefix).join()
    remove_parts(base)


def test_what_a_killed_process_leaves_goes_and_what_a_living_one_has_stays(tmp_path: Path) -> None:
    outside, base = tmp_path / "outside", tmp_path / "base"
    for folder in (outside, base, base / "session_of_another_ray", base / f"{SCRATCH}of-somebody"):
        folder.mkdir()
    (outside / "precious").write_text("kept")
    (base / "outside").symlink_to(outside)
    (base / "session_latest").symlink_to(outside)
    (base / f"{SCRATCH}link").symlink_to(outside)
    others = left(base)
    with living(base):
        assert len(left(base)) == len(others) + 3
        next_start(base)
        assert len(left(base)) == len(others) + 3
    next_start(base)
    assert left(base) == others
    assert (outside / "precious").read_text() == "kept"


def test_what_ends_by_itself_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with scratch(base=tmp_path) as folder, part_of(tmp_path / "last.pt") as part:
            (folder / "state").write_text("state")
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert left(tmp_path) == []


def abandoned(base: Path, name: str = f"{SCRATCH}1") -> Path:
    """A marked folder whose process is gone."""
    folder = base / name
    folder.mkdir()
    (folder / MARK).write_text("\n".join(files._machine()))
    return folder


@pytest.mark.parametrize("case", ["machine", "empty", "symlink", "user", "unwritable"])
def test_a_folder_that_is_not_proven_ours_stays(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = abandoned(tmp_path)
    if case == "machine":  # TMPDIR is shared, and locks do not reach that far
        (folder / MARK).write_text("another-node\nanother-boot")
    elif case == "empty":  # between its creation and its lock
        (folder / MARK).write_text("")
    elif case == "symlink":
        (folder / MARK).rename(tmp_path / "mark")
        (folder / MARK).symlink_to(tmp_path / "mark")
    elif case == "user":
        monkeypatch.setattr(os, "getuid", lambda: 12345)
    else:
        monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
        (folder / "trials").mkdir()
        monkeypatch.setattr(Path, "rmdir", lambda path: (_ for _ in ()).throw(PermissionError()))
    next_start(tmp_path)
    assert folder.exists()


def test_after_a_second_kill_the_rest_is_still_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = abandoned(tmp_path)
    for name in ("a", "b", "c"):
        (folder / name).mkdir()

    def killed(*_: object, **__: object) -> None:
        raise SystemError

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", killed)
        with pytest.raises(SystemError):
            files._remove(folder)
    assert (folder / MARK).exists()
    next_start(tmp_path)
    assert not folder.exists()


def test_parts_below_a_run_go_and_other_hidden_files_stay(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    run = tmp_path / "run"
    kept = ["checkpoints/t/last.pt", ".lock", ".notes.2026", "report/.keep", "predictions/t.parquet.7.part"]
    gone = ["checkpoints/t/.last.pt.77.part", "report/figures/.a.svg.8.part", ".study.json.9.part"]
    for name in (*kept, *gone, "../outside/.x.pt.1.part"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).touch()
    (run / "artifacts").symlink_to(outside)
    (run / ".link.pt.1.part").symlink_to(outside / ".x.pt.1.part")
    with part_of(run / "checkpoints/t/best.pt") as held:
        remove_parts(run, below=True)
        assert held.exists()
    assert [(run / name).exists() for name in kept] == [True] * len(kept)
    assert [(run / name).exists() for name in gone] == [False] * len(gone)
    assert (outside / ".x.pt.1.part").exists()


def test_a_part_takes_the_place_of_an_old_one_and_follows_no_symlink(tmp_path: Path) -> None:
    target = tmp_path / "last.pt"
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / f".last.pt.{os.getpid()}.part").symlink_to(precious)
    with part_of(target) as part:
        part.write_text("new")
    assert precious.read_text() == "kept"


def test_where_there_are_no_locks_nothing_fails_and_nothing_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    folder = abandoned(tmp_path)
    monkeypatch.setattr("fcntl.flock", unsupported)
    with scratch(base=tmp_path), marked(abandoned(tmp_path, "session_1")), part_of(tmp_path / "a") as part:
        part.write_text("a")
        next_start(tmp_path)
        assert part.exists()
    assert folder.exists()


def test_a_start_does_not_wait_for_it(tmp_path: Path) -> None:
    """Nor does a base that is not there end it."""
    remove_marked(tmp_path / "absent", SCRATCH).join()
    assert remove_marked(tmp_path, SCRATCH).daemon
