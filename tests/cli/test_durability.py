"""A killed run goes on: the same trials and the same rows, bit for bit, as one that nothing disturbed."""

import os
from pathlib import Path

import pytest

from tests.cli.kill_often import faultless, kill_often
from tests.cli.runs import (
    STUDY,
    TRIALS,
    assert_same_outcome,
    begin,
    kill,
    starts,
    wait_for_lines,
)
from tests.conftest import Cli


@pytest.mark.matrix
def test_sigkills_of_the_driver_at_random_moments_lose_nothing(undisturbed: Path, tmp_path: Path) -> None:
    """The long form, `python -m tests.cli.kill_often`, kills 50 times."""
    figures = kill_often(STUDY, 2, tmp_path / "run", undisturbed, int.from_bytes(os.urandom(4)))
    assert faultless(figures), figures


@pytest.mark.matrix
def test_a_finished_run_resumed_runs_nothing(undisturbed: Path, cli_here: Cli) -> None:
    before = (undisturbed / "log.jsonl").read_text()
    done = cli_here("resume", undisturbed)
    assert done.returncode == 0
    assert f"{TRIALS} of {TRIALS} trials are finished" in done.stdout
    added = (undisturbed / "log.jsonl").read_text().removeprefix(before)
    assert '"event": "start"' not in added


@pytest.mark.matrix
def test_more_seeds_run_only_the_new_ones(undisturbed: Path, tmp_path: Path, cli_here: Cli, local_ray: None) -> None:
    run = tmp_path / "run"
    assert cli_here("run", *STUDY, "--seeds", "1", "--out", run).returncode == 0
    done = cli_here("resume", run, "--seeds", "2")
    assert done.returncode == 0, done.stderr
    assert_same_outcome(run, undisturbed)
    assert len(starts(run)) == len(set(starts(run))) == TRIALS


@pytest.mark.matrix
def test_resuming_with_other_settings_is_refused_and_says_what_differs(undisturbed: Path, cli_here: Cli) -> None:
    done = cli_here("resume", undisturbed, "--set", "optimizer.lr=0.5")
    assert done.returncode == 2
    assert "optimizer.lr from 0.001 to 0.5" in done.stderr


@pytest.mark.matrix
def test_a_second_driver_on_the_same_directory_is_refused(tmp_path: Path, cli_here: Cli) -> None:
    run = tmp_path / "run"
    driver = begin(run)
    try:
        wait_for_lines(driver, run / "log.jsonl", 1)
        done = cli_here("resume", run)
        assert done.returncode == 2
        assert "another process is running this study" in done.stderr
        assert cli_here("status", run).returncode == 0
    finally:
        kill(driver)
