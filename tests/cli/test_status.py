"""`status` says what is so: a run that no process runs is not running, but interrupted, or its time is spent."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from analysis.records.checkpoint_files import weight
from analysis.records.run_directory import RunDirectory
from core.storage import Store
from engine.integrations.remote_lock import LOCK, RemoteLock
from engine.integrations.remote_sync import mirror_of
from engine.runlog.study_file import hold
from tests.analysis import runs, searches
from tests.conftest import Cli

SESSION = {"event": "session", "time": "now", "command": ["run"], "node": "host", "pid": 1}
SPENT = {"event": "time_budget_spent", "time": "now"}


def begun(root: Path, *events: dict[str, Any]) -> Path:
    """An ablation of one cell and three seeds: seed 0 finished, seed 1 begun, seed 2 waiting; then these events."""
    study = runs.study(cells=["baseline"], seeds=[0, 1, 2], epochs=runs.EPOCHS)
    first = [SESSION, *runs.trial("baseline", 0, 0.5), *runs.trial("baseline", 1, "running")]
    return runs.write(root, study, [*first, *events])


@contextmanager
def held(run: Path) -> Iterator[None]:
    """Another process is the run's driver."""
    code = (
        "import sys; from pathlib import Path; from analysis.records.run_directory import RunDirectory; "
        "from engine.runlog.study_file import hold; lock = hold(RunDirectory(Path(sys.argv[1]))); "
        "print('held', flush=True); sys.stdin.read()"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", code, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    assert driver.stdout.readline() == "held\n"
    try:
        yield
    finally:
        driver.communicate("")


def status(cli_here: Cli, *places: object) -> str:
    done = cli_here("status", *places)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_while_a_driver_runs_it_trials_are_running_and_time_is_left(tmp_path: Path, cli_here: Cli) -> None:
    run = begun(tmp_path / "run")
    with held(run):
        told = status(cli_here, run)
    assert "1 finished, 1 running, 1 waiting" in told
    assert "running: " in told
    assert "min left for" in told
    assert "interrupted" not in told


def test_of_a_killed_run_trials_are_interrupted_and_no_time_is_left(tmp_path: Path, cli_here: Cli) -> None:
    run = begun(tmp_path / "run")
    with held(run):
        pass
    assert (run / ".lock").exists()
    told = status(cli_here, run)
    assert "1 finished, 1 interrupted, 1 waiting" in told
    assert f"interrupted, no process runs it: 2 trials are left; go on with: resume {run}" in told
    assert "running" not in told
    assert "min left" not in told


def test_of_a_run_whose_time_was_spent_that_is_said(tmp_path: Path, cli_here: Cli) -> None:
    told = status(cli_here, begun(tmp_path / "run", SPENT))
    assert "time budget spent: 2 trials are left" in told
    assert "running" not in told


def test_a_run_that_was_killed_after_it_went_on_is_interrupted_and_not_spent(tmp_path: Path, cli_here: Cli) -> None:
    told = status(cli_here, begun(tmp_path / "run", SPENT, SESSION))
    assert "interrupted, no process runs it" in told
    assert "budget" not in told


def test_a_trial_that_the_present_driver_has_not_taken_up_is_not_running(tmp_path: Path, cli_here: Cli) -> None:
    run = begun(tmp_path / "run", SESSION, runs.start("baseline", 2))
    with held(run):
        told = status(cli_here, run)
    assert "1 finished, 1 running, 1 interrupted" in told
    assert f"interrupted: {runs.trial_id('baseline', 1)}" in told
    assert f"running: {runs.trial_id('baseline', 2)}" in told


def test_a_run_that_was_killed_before_its_first_trial_is_interrupted(tmp_path: Path, cli_here: Cli) -> None:
    run = runs.write(tmp_path / "run", runs.study(seeds=[0, 1]), [SESSION])
    assert "interrupted, no process runs it: 2 trials are left" in status(cli_here, run)


def test_a_finished_run_has_nothing_left(tmp_path: Path, cli_here: Cli) -> None:
    study = runs.study(cells=["baseline"], seeds=[0])
    run = runs.write(tmp_path / "run", study, [SESSION, *runs.trial("baseline", 0, 0.5)])
    told = status(cli_here, run)
    assert told.endswith("nothing left to do\n")
    assert "interrupted" not in told


def test_to_ask_disturbs_neither_a_driver_nor_another_who_asks(tmp_path: Path, cli_here: Cli) -> None:
    run = begun(tmp_path / "run")
    (run / ".lock").touch()
    with (run / ".lock").open("rb") as other:
        import fcntl

        fcntl.flock(other, fcntl.LOCK_SH)  # as another `status` does
        assert "interrupted" in status(cli_here, run)
    hold(RunDirectory(run)).release()


def test_several_runs_are_told_one_after_the_other_each_by_its_own_lock(tmp_path: Path, cli_here: Cli) -> None:
    dead, alive = begun(tmp_path / "results" / "dead"), begun(tmp_path / "results" / "digits" / "alive")
    with held(alive):
        for places in ([dead, alive], [tmp_path / "results"]):
            told = status(cli_here, *places)
            first, second = told.split(str(alive))
            assert first.startswith(str(dead))
            assert "running" not in first.replace(str(dead), "")
            assert "1 running" in second


def test_of_several_runs_one_that_is_none_is_refused(tmp_path: Path, cli_here: Cli) -> None:
    done = cli_here("status", begun(tmp_path / "run"), tmp_path / "absent")
    assert done.returncode == 2
    assert "absent: no run directory" in done.stderr


def at_url(tmp_path: Path, **driver: Any) -> str:
    """The URL of a begun run whose lock another driver holds, or left behind."""
    storage, url = tmp_path / "storage", f"file://{tmp_path / 'storage'}"
    begun(storage)
    if driver:
        owner = RemoteLock(Store(url)).owner
        (storage / LOCK).write_text(json.dumps({**owner, "token": "another", **driver}))
    return url


@pytest.mark.parametrize(
    ("driver", "running"),
    [
        ({"pid": os.getppid(), "time": 4e9}, True),
        ({"pid": 2**22 + 1, "time": 4e9}, False),  # killed on this machine
        ({"pid": 1, "space": "another machine", "time": 4e9}, True),
        ({"pid": 1, "space": "another machine", "time": 1e9}, False),  # long without a sign
        ({}, False),
    ],
)
def test_a_run_at_a_url_is_asked_for_its_lock_there(
    driver: dict[str, Any], running: bool, tmp_path: Path, cli_here: Cli
) -> None:
    url = at_url(tmp_path, **driver)
    told = status(cli_here, url)
    assert ("1 running" in told) is running
    assert ("interrupted, no process runs it" in told) is not running
    assert running or url in told
    assert mirror_of(url)


def test_a_search_names_the_settings_of_its_trials(tmp_path: Path, cli_here: Cli) -> None:
    trials = [
        searches.trial("first", {"optimizer.lr": 0.0123456, "optimizer.momentum": 0.9}, 0.8),
        searches.trial("second", {"optimizer.lr": 0.1, "optimizer.momentum": 0.5}, 0.5, status="running"),
    ]
    run = searches.write(tmp_path / "run", [searches.LR, searches.MOMENTUM], trials)
    told = status(cli_here, run)
    assert "first (lr 0.01235, momentum 0.9), seed 0" in told
    assert "second (lr 0.1, momentum 0.5), seed 0" in told


def checkpoints(run: Path, **sizes: int) -> None:
    """Files of these bytes below checkpoints/, TRIAL__NAME."""
    for name, size in sizes.items():
        trial, _, file = name.partition("__")
        (run / "checkpoints" / trial).mkdir(parents=True, exist_ok=True)
        (run / "checkpoints" / trial / f"{file}.pt").write_bytes(bytes(size))


def test_what_the_checkpoints_weigh_is_told_with_what_may_go(tmp_path: Path, cli_here: Cli) -> None:
    study = runs.study(cells=["baseline"], seeds=[0, 1])
    run = runs.write(tmp_path / "run", study, [*runs.trial("baseline", 0, 0.5), *runs.trial("baseline", 1, "failed")])
    assert "checkpoints" not in status(cli_here, run)
    done, failed = (runs.trial_id("baseline", seed) for seed in (0, 1))
    checkpoints(run, **{f"{done}__best": 1000, f"{done}__last": 3000, f"{failed}__last": 500, "smaller__last": 70})
    (run / "checkpoints" / done / ".last.pt.77").write_bytes(bytes(9000))  # half written
    (run / "checkpoints" / "notes.txt").write_text("of the user's")
    told = status(cli_here, run)
    assert "\ncheckpoints: 4.6 kB in 4 files; --keep best would free 3.1 kB\n" in told
    (run / "study.json").write_text(json.dumps({**study, "request": {"options": {"keep": "best"}}}))
    assert "\ncheckpoints: 4.6 kB in 4 files\n" in status(cli_here, run)


def test_last_states_that_trials_may_go_on_from_are_not_said_to_go(tmp_path: Path, cli_here: Cli) -> None:
    """The plan has grown to more epochs, and the trials of fewer are what is there so far."""
    study = runs.study(cells=["baseline"], seeds=[0, 1], epochs=2 * runs.EPOCHS)
    ended = runs.trial("baseline", 0, 0.5, config={"training": {"epochs": runs.EPOCHS}})
    longer = runs.trial("baseline", 1, 0.5, config={"training": {"epochs": 2 * runs.EPOCHS}})
    run = runs.write(
        tmp_path / "run",
        {**study, "trials": [*study["trials"], {**study["trials"][0], "trial": "e" * 12}]},
        [*ended, *longer],
    )
    first, second = (runs.trial_id("baseline", seed) for seed in (0, 1))
    checkpoints(run, **{f"{first}__last": 3000, f"{second}__last": 200})
    assert "checkpoints: 3.2 kB in 2 files; --keep best would free 200 bytes\n" in status(cli_here, run)


def test_a_thousand_trials_are_weighed_at_once(tmp_path: Path) -> None:
    names = [f"{number:012x}" for number in range(1000)]
    checkpoints(tmp_path, **{f"{name}__{file}": 2 for name in names for file in ("best", "last")})
    began = time.process_time()
    found = weight(RunDirectory(tmp_path), lambda trial: trial == names[0])
    assert time.process_time() - began < 0.3
    assert found == (2000, 4000, 2 * 999)


def test_at_a_url_the_checkpoints_there_are_weighed(tmp_path: Path, cli_here: Cli) -> None:
    url = at_url(tmp_path)
    checkpoints(tmp_path / "storage", **{f"{runs.trial_id('baseline', 1)}__last": 1500, "other__best": 1})
    assert "checkpoints: 1.5 kB in 2 files\n" in status(cli_here, url)
