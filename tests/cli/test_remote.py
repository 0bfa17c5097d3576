"""Runs at a URL from the command line: killed here, gone on with on a machine that has nothing of it."""

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.integrations.remote_lock import LOCK
from engine.integrations.remote_sync import mirror_of
from tests.cli.runs import STUDY, TRIALS, Driver, assert_same_outcome, kill, output, starts, wait_for_lines
from tests.conftest import ROOT, Cli
from tests.records import ends


def begin(machine: Path, *arguments: str) -> Driver:
    """A driver on a machine of its own: nothing is in its cache but what it put there."""
    return subprocess.Popen(
        [sys.executable, "run_search.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "CACHE_DIR": str(machine)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


@pytest.mark.matrix
def test_a_driver_killed_here_is_gone_on_with_on_another_machine(undisturbed: Path, tmp_path: Path, cli: Cli) -> None:
    storage, here, there = tmp_path / "storage", tmp_path / "here", tmp_path / "there"
    url = f"file://{storage}"
    driver = begin(here, "run", *STUDY, "--out", url)
    wait_for_lines(driver, mirror_of(url, str(here)) / "log.jsonl", random.Random(os.urandom(8)).randint(15, 60))
    while not (storage / "log.jsonl").exists():  # it is sent at a trial's end, or after half a minute
        assert driver.poll() is None
        time.sleep(0.05)
    kill(driver)
    over = [trial for trial, end in ends(storage).items() if end["status"] == "finished"]
    assert (storage / LOCK).exists()
    assert len(over) < TRIALS
    for command in ("status", "report"):
        assert cli(command, url, env={"CACHE_DIR": str(there)}).returncode == 0

    driver = begin(there, "resume", url)
    said = output(driver)

    assert driver.returncode == 0, said
    assert_same_outcome(storage, undisturbed)
    assert all(starts(storage).count(trial) == 1 for trial in over), "a finished trial ran again"
    assert not (storage / LOCK).exists()
    for command in (["rerun", url, next(iter(ends(storage)))], ["compare", url, str(undisturbed)]):
        done = cli(*command, env={"CACHE_DIR": str(tmp_path / "third")})
        assert done.returncode == 0, done.stderr
    mirror = mirror_of(url, str(here))
    if not (storage / "log.jsonl").read_bytes().startswith((mirror / "log.jsonl").read_bytes()):
        done = cli("resume", url, env={"CACHE_DIR": str(here)})  # lines that were not sent before the kill
        assert (done.returncode, f"delete the mirror {mirror}" in done.stderr) == (2, True)
        shutil.rmtree(mirror)
    for again in (url, str(mirror)):
        done = cli("resume", again, env={"CACHE_DIR": str(here)})
        assert (done.returncode, f"{TRIALS} of {TRIALS} trials are finished" in done.stdout) == (0, True), done.stderr
    assert_same_outcome(storage, undisturbed)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "digits/long-tail", "--out", "s4://bucket/run"), ["s4://bucket/run", "s3", "a path"]),
        (("resume", "s4://bucket/run"), ["s4://bucket/run", "s3"]),
        (("run", "digits/long-tail", "--out", "file:///proc/nothing/run"), ["file:///proc/nothing/run", "cannot be"]),
        (("status", "file:///nowhere/run"), ["file:///nowhere/run: no run directory"]),
        (("compare", "file:///nowhere/run", "s4://bucket/run"), ["s4://bucket/run"]),
    ],
)
def test_urls_that_cannot_be_are_refused(arguments: tuple[str, ...], words: list[str], cli_here: Cli) -> None:
    done = cli_here(*arguments)
    assert done.returncode == 2
    for word in words:
        assert word in done.stderr


def test_status_and_report_of_a_url_import_neither_torch_nor_ray(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom run_search import main\n"
        "try:\n main(sys.argv[1:])\nexcept SystemExit as end:\n print('status', end.code)\n"
        "print('imported', sorted({'torch', 'ray', 'optuna'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "status", f"file://{tmp_path}/run"], capture_output=True, text=True, cwd=ROOT
    )
    assert "imported []" in done.stdout, done
