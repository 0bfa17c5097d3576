"""Every fault at every moment: what stops says so and can be resumed, and the resumed run equals an undisturbed one.

A trial killed at any rename of its files, and any damage to them: tests/trainables/trial/test_resume.py.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from pydantic import ByteSize, TypeAdapter

from engine.execution.local_ray import temporary_folder
from tests.cli.runs import (
    EPOCHS,
    STUDY,
    TRIALS,
    Driver,
    assert_same_outcome,
    begin,
    disk,
    fill,
    kill,
    output,
    processes,
    starts,
    wait_for_lines,
    wait_until,
    whole,
    workers_of,
    writing,
)
from tests.cli.workloads import MENDED, SEED
from tests.conftest import Cli
from tests.records import ends, events
from trainables.registry import WORKLOADS


def stopped_cleanly(driver: Driver, run: Path, why: str) -> float:
    """The driver ends with status 130, the reason and the command that goes on; seconds until then."""
    began = time.monotonic()
    said = output(driver)
    assert driver.returncode == 130, said
    assert "Traceback" not in said
    assert why in said
    assert f"python run_search.py resume {run}" in said
    assert not any(end["status"] == "failed" for end in ends(run).values())
    return time.monotonic() - began


def finishes(run: Path, undisturbed: Path) -> None:
    driver = begin(run)
    said = output(driver)
    assert driver.returncode == 0, said
    assert_same_outcome(run, undisturbed)


def ended(run: Path) -> int:
    return (run / "log.jsonl").read_bytes().count(b'"event": "end"') if (run / "log.jsonl").exists() else 0


def started(run: Path) -> int:
    return (run / "log.jsonl").read_bytes().count(b'"event": "start"') if (run / "log.jsonl").exists() else 0


def test_a_lost_worker_a_killed_driver_and_a_full_disk_in_one_run(undisturbed: Path, tmp_path: Path) -> None:
    """One of each: a worker's loss is made good within the run, the others end it until it is resumed."""
    with disk(tmp_path / "run", "32m") as run, disk(run / "checkpoints", "64m") as checkpoints:
        driver = begin(run)
        wait_until(driver, lambda: begun(run) and workers_of(driver), "a trial's second checkpoint")
        os.kill(workers_of(driver)[0], signal.SIGKILL)
        wait_until(driver, lambda: ended(run) > 1 and midway(run) and writing(run), "a checkpoint being written")
        kill(driver)
        killed = driver.pid
        over = {trial: starts(run).count(trial) for trial, end in ends(run).items() if end["status"] == "finished"}
        damage(run)

        driver = begin(run)
        wait_until(driver, lambda: ended(run) > len(over), "the end of one more trial")
        ballast = fill(checkpoints)
        stopped_cleanly(driver, run, "the disk is full")
        assert whole(run)
        ballast.unlink()

        finishes(run, undisturbed)
        assert {trial: starts(run).count(trial) for trial in over} == over, "a finished trial ran again"
        assert not list(Path(temporary_folder()).glob(f"session_*_{killed}")), (
            "a session of the killed driver's Ray is left"
        )
        assert not list(run.rglob(".*.part")), "a file that was being written is left"
        assert_every_epoch_said(run)


@pytest.mark.matrix
def test_sigkill_of_the_driver_before_the_first_checkpoint_and_after_the_last_end(
    undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    driver = begin(run)
    wait_until(driver, lambda: started(run), "a trial's start, before its first checkpoint")
    kill(driver)
    driver = begin(run)
    wait_until(driver, lambda: ended(run) == TRIALS, "the last trial's end, before the report")
    kill(driver)
    assert not (run / "report").exists()
    over = starts(run)
    finishes(run, undisturbed)
    assert starts(run) == over, "a finished trial ran again"
    assert not list(run.rglob(".*.part")), "a file that was being written is left"


def begun(run: Path) -> list[Path]:
    """Folders of the trials that have had more than one checkpoint, and have no end."""
    return [file.parent for file in run.glob("checkpoints/*/previous.pt")]


def midway(run: Path) -> bool:
    """Whether the trial that started last has had some of its epochs, and not nearly all."""
    since = (run / "log.jsonl").read_bytes().rpartition(b'"event": "start"')[2].count(b'"event": "epoch"')
    return bool(begun(run)) and 2 < since < EPOCHS


def damage(run: Path) -> None:
    """A flipped byte in the newest checkpoint of one unfinished trial, others cut short, half a line in the log."""
    time.sleep(1)  # the trials' processes outlive the driver for a moment
    found = [folder / name for folder in begun(run) for name in ("last.pt", "previous.pt")]
    corrupt, *truncated = (file for file in found if file.name == "last.pt" or not file.with_name("last.pt").exists())
    content = bytearray(corrupt.read_bytes())
    content[len(content) // 2] ^= 0xFF
    corrupt.write_bytes(content)
    for file in truncated:
        file.write_bytes(file.read_bytes()[:-100])
    with (run / "log.jsonl").open("a") as log:
        log.write('{"event": "end", "trial": "0123')


@pytest.mark.matrix
def test_sigkill_of_trials_processes_is_made_good_within_the_run(undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    driver = begin(run)
    wait_until(driver, lambda: started(run) and workers_of(driver), "a trial's start, before its first checkpoint")
    os.kill(workers_of(driver)[0], signal.SIGKILL)
    wait_until(driver, lambda: ended(run) > 1 and writing(run) and workers_of(driver), "a checkpoint being written")
    for worker in workers_of(driver):
        os.kill(worker, signal.SIGKILL)
    said = output(driver)
    assert driver.returncode == 0, said
    assert_same_outcome(run, undisturbed)
    assert len(starts(run)) > TRIALS


@pytest.mark.alone
@pytest.mark.matrix
def test_a_lost_process_of_rays_ends_the_run_which_goes_on_when_resumed(undisturbed: Path, tmp_path: Path) -> None:
    """Between the first trial's end and the next checkpoint its raylet, before the first epoch its GCS."""
    run = tmp_path / "run"
    for title, name, lines in (("gcs_server", "gcs_server", 2), ("raylet/raylet", "raylet", 30)):
        driver = begin(run)
        wait_for_lines(driver, run / "log.jsonl", lines)
        (lost,) = processes(driver, title)
        os.kill(lost, signal.SIGKILL)
        assert stopped_cleanly(driver, run, f"Ray on this machine has lost its {name}") < 60
        assert whole(run)
    finishes(run, undisturbed)


@pytest.mark.alone
@pytest.mark.matrix
def test_ctrl_c_once_and_twice_and_sigterm(undisturbed: Path, tmp_path: Path) -> None:
    """As a terminal sends it: to the whole group. Measured on two idle cores: 1.3 s after the first, 0.2 after two."""
    run = tmp_path / "run"
    driver = begin(run)
    wait_until(driver, lambda: started(run), "a trial's start, before its first checkpoint")
    os.killpg(driver.pid, signal.SIGINT)
    assert stopped_cleanly(driver, run, "interrupted; everything so far is saved") < 30
    assert whole(run)
    driver = begin(run)
    wait_for_lines(driver, run / "log.jsonl", 25)
    os.killpg(driver.pid, signal.SIGINT)
    time.sleep(0.05)
    os.killpg(driver.pid, signal.SIGINT)
    assert stopped_cleanly(driver, run, "interrupted; everything so far is saved") < 10
    driver = begin(run)
    wait_until(driver, lambda: ended(run) > 2, "the third trial's end")
    driver.send_signal(signal.SIGTERM)
    assert stopped_cleanly(driver, run, "ended by SIGTERM") < 30
    assert whole(run)
    finishes(run, undisturbed)


def make(state: str, folder: Path) -> bool:
    """Remount read-only (ro), which waits for a moment without a file being written, or writable (rw)."""
    return subprocess.run(["mount", "-o", f"remount,{state}", str(folder)], capture_output=True).returncode == 0


def assert_every_epoch_said(run: Path) -> None:
    lines = [file.read_text().splitlines() for file in run.glob("artifacts/*/epochs.log")]
    assert [len(found) for found in lines] == [EPOCHS] * TRIALS


@pytest.mark.matrix
def test_a_disk_that_takes_nothing_more_stops_the_run_until_it_does(undisturbed: Path, tmp_path: Path) -> None:
    """First the checkpoints' disk is read-only, for the trials; then the log's is full, for the driver."""
    with disk(tmp_path / "run", "32m") as run, disk(run / "checkpoints", "64m") as checkpoints:
        driver = begin(run)
        wait_until(driver, lambda: ended(run) > 1, "the second trial's end")
        wait_until(driver, lambda: make("ro", checkpoints), "a moment without a file being written")
        stopped_cleanly(driver, run, "the disk is read-only")
        assert whole(run)
        assert make("rw", checkpoints)

        driver = begin(run)
        wait_until(driver, lambda: ended(run) > 3, "the fourth trial's end")
        ballast = fill(run)
        stopped_cleanly(driver, run, "the disk is full")
        assert whole(run)
        ballast.unlink()

        finishes(run, undisturbed)
        assert_every_epoch_said(run)


def test_a_run_that_the_disk_cannot_hold_is_refused_before_it_starts(tmp_path: Path, cli_here: Cli) -> None:
    with disk(tmp_path / "run", "400k") as run:
        done = cli_here("run", *STUDY, "--out", run)
        assert done.returncode == 2
        assert re.search(r"8 trials need [\d.]+ MB of disk .* and [\d.]+ kB are free", done.stderr)
        assert not (run / "study.json").exists()


@pytest.mark.matrix
def test_a_disk_budget_keeps_models_and_lets_the_oldest_last_states_go(
    undisturbed: Path, tmp_path: Path, cli_here: Cli, local_ray: None
) -> None:
    whole_run = sum(file.stat().st_size for file in (undisturbed / "checkpoints").rglob("*.pt"))
    run, budget = tmp_path / "run", int(whole_run * 0.8)
    done = cli_here("run", *STUDY, "--disk-budget", budget, "--out", run)
    assert done.returncode == 0, done.stderr
    assert_same_outcome(run, undisturbed)
    order = [event["trial"] for event in events(run) if event["event"] == "end"]
    kept = [(run / "checkpoints" / trial / "last.pt").exists() for trial in order]
    assert kept == sorted(kept), "a last state went before an older one"
    assert not kept[0]
    assert kept[-1]
    assert len(list(run.glob("checkpoints/*/best.pt"))) == TRIALS
    assert sum(file.stat().st_size for file in (run / "checkpoints").rglob("*.pt")) <= budget


def test_a_disk_budget_that_cannot_hold_the_models_is_refused_with_what_can(tmp_path: Path, cli_here: Cli) -> None:
    done = cli_here("run", *STUDY, "--disk-budget", "300kB", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "--disk-budget 300.0 kB: the models of all trials need" in done.stderr
    needed = done.stderr.partition("allowed: ")[2].partition(" or more")[0]
    assert TypeAdapter(ByteSize).validate_python(needed) > 300_000
    assert not (tmp_path / "run" / "study.json").exists()


@pytest.mark.matrix
def test_a_faulty_step_fails_its_trial_alone_and_resume_tries_it_again(
    undisturbed: Path, tmp_path: Path, cli_here: Cli, local_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WORKLOADS, "digits", ("tests.cli.workloads:Faulty", ""))
    run = tmp_path / "run"
    done = cli_here("run", *STUDY, "--out", run)
    assert done.returncode == 1
    assert f"{TRIALS // 2} trials failed" in done.stderr
    trials = pd.read_parquet(run / "trials.parquet")
    assert set(trials.loc[trials["status"] == "failed", "seed"]) == {SEED}
    assert trials.loc[trials["seed"] == SEED, "error"].str.contains("ValueError: of our making").all()
    (run / MENDED).touch()
    assert cli_here("resume", run).returncode == 0
    assert_same_outcome(run, undisturbed)


@pytest.mark.matrix
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="a larger share than one CPU needs a second")
def test_out_of_memory_is_tried_once_more_with_a_larger_share(
    undisturbed: Path, tmp_path: Path, cli_here: Cli, local_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WORKLOADS, "digits", ("tests.cli.workloads:Hungry", ""))
    run = tmp_path / "run"
    done = cli_here("run", *STUDY, "--out", run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("out of memory; it is tried once more") == TRIALS // 2
    assert_same_outcome(run, undisturbed)
    enlarged = {event["trial"] for event in events(run) if event["event"] == "enlarged"}
    shares = {e["trial"]: e["execution"]["resources"]["cpu"] for e in events(run) if e["event"] == "end"}
    assert len(enlarged) == TRIALS // 2
    assert shares == {trial: 2.0 if trial in enlarged else 1.0 for trial in shares}


@pytest.mark.matrix
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="a larger share than one CPU needs a second")
def test_out_of_memory_again_fails_the_trial_with_its_error(
    undisturbed: Path, tmp_path: Path, cli_here: Cli, local_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WORKLOADS, "digits", ("tests.cli.workloads:Insatiable", ""))
    run = tmp_path / "run"
    assert cli_here("run", *STUDY, "--out", run).returncode == 1
    failed = pd.read_parquet(run / "trials.parquet").query("status == 'failed'")
    assert len(failed) == TRIALS // 2
    assert failed["error"].str.contains("MemoryError: more than any share").all()
    assert len(starts(run)) == TRIALS + TRIALS // 2, "a failed trial was tried more than twice"
    (run / MENDED).touch()
    assert cli_here("resume", run).returncode == 0
    assert_same_outcome(run, undisturbed)


@pytest.mark.matrix
def test_a_clock_that_runs_backwards_changes_nothing_but_the_times(
    undisturbed: Path, tmp_path: Path, cli_here: Cli, local_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = datetime.now(UTC)

    def backwards() -> str:
        nonlocal clock
        clock -= timedelta(hours=1)
        return clock.isoformat(timespec="milliseconds")

    for place in (
        "engine.runlog.run_log.now",
        "engine.execution.ray_callback.now",
        "engine.execution.launch.timestamp",
    ):
        monkeypatch.setattr(place, backwards)
    run = tmp_path / "run"
    assert cli_here("run", *STUDY, "--out", run).returncode == 0
    assert_same_outcome(run, undisturbed)
    assert cli_here("status", run).stdout.startswith(f"digits/long-tail: {TRIALS} trials planned: {TRIALS} finished")
    times = [event["time"] for event in events(run) if "time" in event]
    assert times == sorted(times, reverse=True)
    resumed = tmp_path / "resumed"
    shutil.copytree(run, resumed)
    assert cli_here("resume", resumed).returncode == 0
    assert len(starts(resumed)) == TRIALS
