"""Runs of the command line that are disturbed, and what must be equal between one and an undisturbed run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from filelock import FileLock

from analysis.records.log import read_log
from run_search import main
from tests.conftest import ROOT
from tests.records import ends, epoch_rows, events

STUDY = ("digits/long-tail", "--seeds", "2", "--epochs", "6", "--checkpoint-every", "0s")
TRIALS, EPOCHS = 8, 6
DEADLINE = 240.0
TABLES = ("ranking", "ablation", "effects", "interactions", "confusion")
IGNORED = ["seconds", "node", "device", "error", "execution", "started_at", "ended_at"]

Driver = subprocess.Popen[bytes]


def begin(run: Path, *arguments: str) -> Driver:
    """`run` with these arguments (default STUDY), or `resume` where the run was begun, as a group of processes."""
    action = (
        ["resume", str(run)] if (run / "study.json").exists() else ["run", *(arguments or STUDY), "--out", str(run)]
    )
    command = [sys.executable, "run_search.py", *action]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def run_once(factory: pytest.TempPathFactory, name: str, *arguments: str) -> tuple[Path, Result | None]:
    """A finished run that all of pytest's processes share, and what `run` said to the first, which made it."""
    folder = factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    run, done = folder / name, None
    with FileLock(folder / f"{name}.lock"):
        if not run.exists():
            done = CliRunner().invoke(main, ["run", *arguments, "--out", str(run)])
    return run, done


def wait_until(driver: Driver, moment: Callable[[], object], what: str) -> None:
    began = time.monotonic()
    while not moment():
        assert driver.poll() is None, f"the driver ended before {what}:\n{output(driver)}"
        assert time.monotonic() - began < DEADLINE, f"not within {DEADLINE} s: {what}"
        time.sleep(0.002)


def wait_for_lines(driver: Driver, log: Path, lines: int) -> None:
    wait_until(driver, lambda: log.exists() and log.read_bytes().count(b"\n") >= lines, f"line {lines} of its log")


def output(driver: Driver) -> str:
    """All that the driver printed, once it has ended."""
    return driver.communicate(timeout=DEADLINE)[0].decode()


def kill(driver: Driver) -> None:
    driver.send_signal(signal.SIGKILL)
    driver.communicate()


def whole(run: Path) -> bool:
    """Whether the log ends with its last line; that every line is an event, `events` finds out."""
    return (run / "log.jsonl").read_bytes().endswith(b"\n") and bool(events(run))


def starts(run: Path) -> list[str]:
    return [event["trial"] for event in read_log(run / "log.jsonl") if event["event"] == "start"]


def assert_same_outcome(run: Path, undisturbed: Path) -> None:
    """The same rows, each once, the same ends, the same tables, bit for bit."""
    logged = [(event["trial"], event["epoch"]) for event in events(run) if event["event"] == "epoch"]
    assert len(logged) == len(set(logged)), "a row stands twice in the log"
    assert epoch_rows(run) == epoch_rows(undisturbed)
    assert ends(run) == ends(undisturbed)
    tables = [pd.read_parquet(folder / "trials.parquet").drop(columns=IGNORED) for folder in (run, undisturbed)]
    pd.testing.assert_frame_equal(tables[0], tables[1], check_exact=True)
    for name in TABLES:
        assert (run / "report" / f"{name}.csv").read_text() == (undisturbed / "report" / f"{name}.csv").read_text()
    for trial in ends(run):
        predictions = [pd.read_parquet(folder / "predictions" / f"{trial}.parquet") for folder in (run, undisturbed)]
        pd.testing.assert_frame_equal(predictions[0], predictions[1], check_exact=True)


def processes(driver: Driver, title: str) -> list[int]:
    """The driver's descendants whose command line holds `title`."""
    parents, titles = {}, {}
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit():
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                titles[int(folder.name)] = (folder / "cmdline").read_text()
        except OSError:
            continue
    family = {driver.pid}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return [pid for pid in family if pid != driver.pid and title in titles[pid].partition("\0")[0]]


def workers_of(driver: Driver) -> list[int]:
    """Processes of Ray actors that run trials."""
    return [*processes(driver, "ray::ResourceTrainable"), *processes(driver, "ray::TrialProcess")]


def writing(run: Path) -> bool:
    """Whether a checkpoint is being written now."""
    return any((run / "checkpoints").glob("*/.last.pt.*"))


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own in `folder`, in memory."""
    folder.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"this needs a file system to fill: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte of room; the file to delete for some."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (2**20, 4096):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass
    return ballast
