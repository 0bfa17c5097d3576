"""Trials as lanes of one program, from the command line: what a run leaves, and that nothing beside a trial shows."""

import json
import os
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from analysis.records.log import read_log
from run_search import main
from tests.cli.runs import assert_same_outcome, begin, kill, starts, wait_for_lines
from tests.cli.test_refusals import refused
from tests.conftest import Cli
from tests.records import ends, epoch_rows, events

pytestmark = pytest.mark.matrix

LIMITS = ("--limit-train", "96", "--limit-eval", "64")
STUDY = ("digits/long-tail", "--seeds", "3", "--epochs", "3", *LIMITS, "--fuse", "4", "--checkpoint-every", "0s")
TRIALS, EPOCHS, LANES = 12, 3, 4
SEARCH = ("digits/search", "--sampler", "random", "--seeds", "4", "--samples", "3", "--epochs", "7", *LIMITS)


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, local_ray: None) -> Path:
    """Six trials of each of two kinds: four fill a program's lanes, two leave two empty."""
    run = tmp_path_factory.mktemp("fuse") / "run"
    done = CliRunner().invoke(main, ["run", *STUDY, "--out", str(run)])
    assert done.exit_code == 0, done.output
    return run


def tables(run: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    trials, epochs = (pd.read_parquet(run / f"{name}.parquet") for name in ("trials", "epochs"))
    return trials, epochs


def told(run: Path) -> dict[str, dict[str, Any]]:
    """By trial, what its `execution` says of lanes; {} where it says nothing."""
    trials, _ = tables(run)
    return {row.trial: json.loads(row.execution).get("fused", {}) for row in trials.itertuples()}


def test_every_trial_is_finished_and_says_how_it_was_trained(fused: Path) -> None:
    trials, epochs = tables(fused)
    assert len(trials) == TRIALS
    assert (trials["status"] == "finished").all()
    assert trials["verified"].all()
    assert len(epochs) == TRIALS * EPOCHS
    assert (epochs["lanes"] == LANES).all()
    assert all(fact == {"lanes": LANES, "lane": fact["lane"], "kernel": "grouped"} for fact in told(fused).values())
    assert {fact["lane"] for fact in told(fused).values()} == set(range(LANES))


def test_lanes_are_no_metric_of_the_report(fused: Path) -> None:
    trials, _ = tables(fused)
    ranking, curves = (pd.read_csv(fused / "report" / f"{name}.csv") for name in ("ranking", "curves"))
    assert set(ranking["metric"]) == {"test_balanced_accuracy"}
    assert "val_loss" in set(curves["metric"])
    assert "lanes" not in {*trials, *ranking, *curves["metric"]}


def test_neither_company_nor_lane_nor_processes_show_in_a_trials_numbers(
    fused: Path, tmp_path: Path, cli_here: Cli
) -> None:
    """Without the cell of both factors, trials with the weighted sampler have other neighbours in other lanes."""
    run = tmp_path / "run"
    done = cli_here("run", *STUDY, "--design", "one_at_a_time", "--max-concurrent", "1", "--out", run)
    assert done.returncode == 0, done.stderr
    there, again = epoch_rows(fused), epoch_rows(run)
    assert len(again) == 9 * EPOCHS
    assert again == {key: there[key] for key in again}
    assert ends(run) == {trial: ends(fused)[trial] for trial in ends(run)}
    elsewhere, lanes = told(fused), told(run)
    assert any(lanes[trial]["lane"] != elsewhere[trial]["lane"] for trial in lanes), "this shows nothing"


def test_a_fused_trial_is_trained_again_to_the_bit(fused: Path, cli_here: Cli) -> None:
    trial = next(trial for trial, fact in told(fused).items() if fact["lane"] == LANES - 1)
    done = cli_here("rerun", fused, trial)
    assert done.returncode == 0
    assert f"trial {trial}: equal to its record, bit for bit" in done.stdout


def test_a_search_with_seeds_fuses_as_it_measures_and_says_so(tmp_path: Path, cli_here: Cli, local_ray: None) -> None:
    run = tmp_path / "run"
    done = cli_here("run", *SEARCH, "--set", "training.batch_size=8", "--max-concurrent", "1", "--out", run)
    assert done.returncode == 0, done.stderr
    trials, epochs = tables(run)
    assert len(trials) == 3 * 4
    assert (trials["status"] == "finished").all()
    assert trials["verified"].all()
    assert len(epochs) == 3 * 4 * 7
    lanes = epochs.assign(lanes=epochs.get("lanes", 1)).groupby("trial")["lanes"].agg(set).to_dict()
    assert set().union(*lanes.values()) <= {1, 2, 4, 8, 16}
    assert {trial: {fact.get("lanes", 1)} for trial, fact in told(run).items()} == lanes


def test_a_fused_run_that_is_killed_goes_on_to_the_rows_of_an_undisturbed_one(
    fused: Path, tmp_path: Path, cli_here: Cli
) -> None:
    run, total = tmp_path / "run", len(events(fused))
    lines = random.Random(os.urandom(8)).randint(2, total - 2)
    driver = begin(run, *STUDY)
    wait_for_lines(driver, run / "log.jsonl", lines)
    kill(driver)
    over = {event["trial"] for event in read_log(run / "log.jsonl") if event["event"] == "end"}
    done = cli_here("resume", run)
    assert done.returncode == 0, done.stderr
    assert_same_outcome(run, fused)
    assert all(starts(run).count(trial) == 1 for trial in over), "a finished trial ran again"


@pytest.mark.parametrize("value", ["1", "foo"])
def test_what_is_no_number_of_trials_is_refused(value: str, tmp_path: Path, cli_here: Cli) -> None:
    done = cli_here("run", "digits/long-tail", "--fuse", value, "--out", tmp_path)
    assert len(refused(done, "--fuse", value, "off, auto", "from 2 on")) == 1
    assert not (tmp_path / "study.json").exists()


@pytest.mark.parametrize(
    ("options", "adaptive"),
    [
        ((), "sampler tpe"),
        (("--trial-scheduler", "asha", "--sampler", "random"), "trial scheduler asha"),
    ],
)
def test_trials_that_depend_on_each_other_are_not_fused(
    options: tuple[str, ...], adaptive: str, tmp_path: Path, cli_here: Cli
) -> None:
    done = cli_here("run", "digits/search", *options, "--fuse", "4", "--out", tmp_path)
    allowed = "allowed: off, or --sampler random, qmc or grid without a trial scheduler"
    assert len(refused(done, "--fuse 4", adaptive, allowed)) == 1
    assert not (tmp_path / "study.json").exists()
