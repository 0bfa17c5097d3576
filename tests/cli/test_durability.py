"""A killed run goes on: the same trials and the same rows, bit for bit, as one that nothing disturbed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import ROOT, Cli
from tests.records import ends, epoch_rows, events

STUDY = ("digits/long-tail", "--seeds", "2", "--epochs", "8")
TRIALS, EPOCHS = 8, 8
DEADLINE = 240.0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    done = cli("run", *STUDY, "--out", run)
    assert done.returncode == 0, done.stderr
    assert len(epoch_rows(run)) == TRIALS * EPOCHS
    return run


def begin(run: Path) -> "subprocess.Popen[bytes]":
    """The study as a process of its own group, so that nothing else is signalled with it."""
    command = [sys.executable, "run_search.py", "run", *STUDY, "--out", str(run)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def wait_for_lines(driver: "subprocess.Popen[bytes]", log: Path, lines: int) -> None:
    began = time.monotonic()
    while not log.exists() or log.read_bytes().count(b"\n") < lines:
        assert driver.poll() is None, f"the driver ended before line {lines}:\n{driver.communicate()[0].decode()}"
        assert time.monotonic() - began < DEADLINE, f"no line {lines} within {DEADLINE} s"
        time.sleep(0.002)


def assert_same_outcome(run: Path, undisturbed: Path) -> None:
    assert epoch_rows(run) == epoch_rows(undisturbed)
    assert ends(run) == ends(undisturbed)
    ignored = ["seconds", "node", "device", "error", "execution", "started_at", "ended_at"]
    tables = [pd.read_parquet(folder / "trials.parquet").drop(columns=ignored) for folder in (run, undisturbed)]
    pd.testing.assert_frame_equal(tables[0], tables[1], check_exact=True)
    for name in ("ranking", "ablation", "effects", "interactions", "confusion"):
        assert (run / "report" / f"{name}.csv").read_text() == (undisturbed / "report" / f"{name}.csv").read_text()


@pytest.mark.parametrize("part", [0, 1, 2], ids=["early", "middle", "late"])
def test_resume_after_sigkill_of_the_driver_equals_an_undisturbed_run(
    part: int, undisturbed: Path, tmp_path: Path, cli: Cli
) -> None:
    total = len(events(undisturbed))
    chance = random.Random(os.urandom(8))
    line = chance.randint(1 + part * total // 3, (part + 1) * total // 3)
    run = tmp_path / "run"
    driver = begin(run)
    wait_for_lines(driver, run / "log.jsonl", line)
    time.sleep(chance.random() * 0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    finished = set(ends(run)) if (run / "log.jsonl").read_bytes().endswith(b"\n") else set()

    done = cli("resume", run)

    assert done.returncode == 0, f"killed at line {line}\n{done.stderr}"
    assert_same_outcome(run, undisturbed)
    starts = [event["trial"] for event in events(run) if event["event"] == "start"]
    assert all(starts.count(trial) == 1 for trial in finished), "a finished trial ran again"


def workers_of(driver: "subprocess.Popen[bytes]") -> list[int]:
    """Processes of Ray actors that run trials, among the driver's descendants."""
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
    return [pid for pid in family if titles[pid].startswith("ray::ResourceTrainable")]


def test_a_trial_whose_process_is_killed_goes_on_in_the_same_run(undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    driver = begin(run)
    wait_for_lines(driver, run / "log.jsonl", random.Random(os.urandom(8)).randint(8, 40))
    killed = workers_of(driver)
    assert killed, "no trial's process found"
    os.kill(killed[0], signal.SIGKILL)
    output = driver.communicate(timeout=DEADLINE)[0].decode()
    assert driver.returncode == 0, output
    assert_same_outcome(run, undisturbed)


def test_ctrl_c_saves_everything_and_prints_the_command_that_goes_on(
    undisturbed: Path, tmp_path: Path, cli: Cli
) -> None:
    run = tmp_path / "run"
    driver = begin(run)
    wait_for_lines(driver, run / "log.jsonl", 30)
    driver.send_signal(signal.SIGINT)
    output = driver.communicate(timeout=60)[0].decode()
    assert driver.returncode == 130, output
    assert f"resume {run}" in output

    assert cli("resume", run).returncode == 0
    assert_same_outcome(run, undisturbed)


def test_a_finished_run_resumed_runs_nothing(undisturbed: Path, cli: Cli) -> None:
    before = (undisturbed / "log.jsonl").read_text()
    done = cli("resume", undisturbed)
    assert done.returncode == 0
    assert f"{TRIALS} of {TRIALS} trials are finished" in done.stdout
    added = (undisturbed / "log.jsonl").read_text().removeprefix(before)
    assert '"event": "start"' not in added


def test_more_seeds_run_only_the_new_ones(undisturbed: Path, tmp_path: Path, cli: Cli) -> None:
    run = tmp_path / "run"
    assert cli("run", *STUDY, "--seeds", "1", "--out", run).returncode == 0
    done = cli("resume", run, "--seeds", "2")
    assert done.returncode == 0, done.stderr
    assert_same_outcome(run, undisturbed)
    starts = [event["trial"] for event in events(run) if event["event"] == "start"]
    assert len(starts) == len(set(starts)) == TRIALS


def test_resuming_with_other_settings_is_refused_and_says_what_differs(undisturbed: Path, cli: Cli) -> None:
    done = cli("resume", undisturbed, "--set", "optimizer.lr=0.5")
    assert done.returncode == 2
    assert "optimizer.lr from 0.001 to 0.5" in done.stderr


def test_a_second_driver_on_the_same_directory_is_refused(tmp_path: Path, cli: Cli) -> None:
    run = tmp_path / "run"
    driver = begin(run)
    try:
        wait_for_lines(driver, run / "log.jsonl", 1)
        done = cli("resume", run)
        assert done.returncode == 2
        assert "another process is running this study" in done.stderr
        assert cli("status", run).returncode == 0
    finally:
        driver.kill()
        driver.wait()
