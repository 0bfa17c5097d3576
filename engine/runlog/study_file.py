"""Writes and reads study.json, and locks run directories.

A run directory is claimed by creating its study.json, and locked while a driver works in it.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from analysis.records.run_directory import RunDirectory
from analysis.records.study_json import read_study
from core import ROOT
from core.errors import PlanError
from core.files import write_text
from core.text import word
from engine.runlog.signature import signed

Record = dict[str, Any]


def hold(run: RunDirectory) -> FileLock:
    """The run directory's lock, acquired; PlanError if another driver holds it."""
    lock = FileLock(run.lock)
    try:
        lock.acquire(timeout=0.2, poll_interval=0.05)  # longer than `at_work` takes
    except Timeout:
        raise PlanError(f"{run.root}: another process is running this study; `status` shows how far it is") from None
    return lock


def at_work(run: RunDirectory) -> bool:
    """Whether a driver holds the run directory's lock; of a directory that may only be read, too."""
    try:
        with run.lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no driver has been here
        return False
    return False


def check_free(directory: Path) -> None:
    """PlanError if `directory` already holds a run or cannot be written; writes nothing."""
    try:
        taken = RunDirectory(directory).study.exists()
        nearest = next(folder for folder in (directory, *directory.parents) if folder.exists())
        fault = "" if os.access(nearest, os.W_OK | os.X_OK) else f"{nearest} may not be written"
        fault = fault if nearest.is_dir() else f"{nearest} is no folder"
    except OSError as error:
        raise _unwritable(directory, str(error.strerror)) from None
    if taken:
        raise PlanError(
            f"--out {directory}: holds a run already; go on with `resume {word(directory)}`, or choose another folder"
        )
    if fault:
        raise _unwritable(directory, fault)


def _unwritable(directory: Path, why: str) -> PlanError:
    return PlanError(f"--out {directory}: cannot be written ({why})")


@contextmanager
def reserved(directory: Path) -> Iterator[None]:
    """The folder of a new run, made and locked; whatever was made goes again if the block leaves no study.json."""
    run, lock_file = RunDirectory(directory), directory / ".lock"
    had_code = run.code.exists()
    made = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    locked = lock_file.exists()
    try:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            lock = hold(run)
        except OSError as error:
            raise _unwritable(directory, str(error.strerror)) from None
        with lock:
            try:
                yield
            finally:
                if not locked and not run.study.exists():
                    lock_file.unlink(missing_ok=True)
    finally:
        if not run.study.exists():
            if not had_code:
                shutil.rmtree(run.code, ignore_errors=True)
            with suppress(OSError):  # another driver has come meanwhile
                for folder in made:
                    folder.rmdir()


def claim(directory: Path, record: Record) -> RunDirectory:
    """Write study.json, atomically and only if there is none: of two drivers, one gets the directory."""
    check_free(directory)
    run = RunDirectory(directory)
    try:
        write(run, record, place=os.link)
    except FileExistsError:
        check_free(directory)
    return run


def read_request(directory: Path) -> tuple[RunDirectory, Record]:
    """A run directory and its study.json; PlanError if that cannot be read, or says not what was asked."""
    run = RunDirectory(directory)
    record = read_study(run)
    if missing := [name for name in ("request", "data") if not record.get(name)]:
        raise PlanError(f"{run.study}: {' and '.join(missing)}: is missing, which alone says what to run")
    return run, record


def unfinished(run: RunDirectory, record: Record) -> bool:
    """Whether the log has fewer ends than the record has trials: a guess, without reading the log's events."""
    configurations = record.get("configurations") or record.get("samples") or 0
    expected = len(record.get("trials") or ()) or configurations * len(record.get("seeds") or ())
    try:
        return run.log.read_bytes().count(b'"event": "end"') < expected
    except OSError:
        return True


def rewrite(run: RunDirectory, record: Record, **changes: Any) -> None:
    """Replace study.json when a run is extended or its plan has grown; keeps the creation time and command.

    Who calls it has opened the run by `recorded_request`, so what is signed now executes nothing without consent.
    """
    _, before = read_request(run.root)
    kept: Record = {key: before[key] for key in ("created_at", "command", "resumed_at", "code") if key in before}
    write(run, {**record, **kept, **changes})


def write(run: RunDirectory, record: Record, place: Callable[[Path, Path], object] = os.replace) -> None:
    """Write study.json, signed as this user's."""
    write_text(run.study, json.dumps(signed(record), indent=1, ensure_ascii=False), place)


def git_state() -> dict[str, Any]:
    """The program's commit, and whether its files differ from it; None for both outside a checkout."""

    def git(*arguments: str) -> str | None:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        status = git("status", "--porcelain", "--untracked-files=no")
        return {"commit": git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}
    except OSError:
        return {"commit": None, "dirty": None}


def program() -> str:
    """The command that starts this program, for printed instructions."""
    return f"python {word(Path(sys.argv[0]).name)}" if sys.argv[0].endswith(".py") else "python run_search.py"
