"""From a search to a trained and paired answer, by the three commands that a user types."""

import json
import os
import random
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from run_search import main
from tests.cli.runs import begin, kill, starts, wait_for_lines
from tests.conftest import Cli
from tests.records import ends, events

STUDY = """
name: tiny
workload: digits
baseline: {model.channels: [4, 8], model.hidden: 8}
epochs: 1
samples: 3
space:
- {kind: float, key: optimizer.lr, low: 0.02, high: 0.5, log: true}
- {kind: float, key: optimizer.momentum, low: 0.1, high: 0.9}
- {kind: choice, key: schedule.name, choices: [step, cosine]}
- {kind: float, key: schedule.gamma, when: {schedule.name: [step]}}
"""
LIMITS = ("--limit-train", "96", "--limit-eval", "48")
FACTORS = ["lr", "momentum", "schedule"]
TRIALS = 1 + 3 + 2 + 1  # a seed


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("study") / "tiny.yaml"
    file.write_text(STUDY, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def search(study: Path, tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, local_ray: None) -> Path:
    run = tmp_path_factory.mktemp("around") / "search"
    done = CliRunner().invoke(main, ["run", str(study), *LIMITS, "--out", str(run)])
    assert done.exit_code == 0, done.output
    return run


def record(run: Path) -> dict[str, object]:
    made: dict[str, object] = json.loads((run / "study.json").read_text())
    return made


def steps_by_hand(run: Path) -> list[str]:
    """The best candidate of each step, from trials.parquet and the cells' names alone."""
    means = pd.read_parquet(run / "trials.parquet").groupby("cell")["val_accuracy"].mean()
    left, chosen = list(FACTORS), list[str]()
    while left:
        chosen.append(max(left, key=lambda name: means[f"{len(chosen) + 1} + {name}"]))
        left.remove(chosen[-1])
    return chosen


@pytest.mark.matrix
def test_a_path_that_is_killed_and_resumed_takes_the_best_step_each_time(
    study: Path, search: Path, tmp_path: Path, cli_here: Cli
) -> None:
    run, seed = tmp_path / "path", int.from_bytes(os.urandom(4))
    driver = begin(run, str(study), "--incumbent", str(search), "--seeds", "2")
    try:
        wait_for_lines(driver, run / "log.jsonl", random.Random(seed).randint(4, 30))
    finally:
        kill(driver)
    done = cli_here("resume", run)
    assert done.returncode == 0, f"{seed}: {done.stderr}"
    assert record(run)["seeds"] == [1, 2]
    assert record(run)["path"] == steps_by_hand(run), seed
    assert len(ends(run)) == TRIALS * 2
    assert set(starts(run)) == {event["trial"] for event in events(run) if event["event"] == "end"}
    twice = {trial for trial in starts(run) if starts(run).count(trial) > 1}
    assert len(twice) <= (os.cpu_count() or 1), "more than those that were running began again"
    path = pd.read_csv(run / "report" / "path.csv")
    assert path.loc[path["chosen"], "factor"].tolist() == record(run)["path"]
    assert len(pd.read_csv(run / "report" / "ablation.csv")) == 1 + 2 + 2
    assert "How the steps were chosen" in (run / "report" / "index.html").read_text()


@pytest.mark.matrix
def test_the_winners_are_confirmed_beside_the_search(search: Path, cli_here: Cli, local_ray: None) -> None:
    done = cli_here("confirm", search, "--top", "2", "--seeds", "2")
    assert done.returncode == 0, done.stderr
    assert "against" in done.stdout
    run = search.with_name("search-confirm")
    assert record(run)["name"] == "tiny-confirm"
    (limit,) = {event["config"]["dataset"]["limit_train"] for event in events(run) if event["event"] == "start"}
    assert limit == 96
    assert len(ends(run)) == 3 * 2
    again = cli_here("confirm", search, "--top", "2")
    assert again.returncode == 2
    assert f"go on with `resume {run}`" in again.stderr


def test_a_plan_says_how_many_trials_a_path_may_have(study: Path, search: Path, cli_here: Cli) -> None:
    made = json.loads(cli_here("plan", study, "--incumbent", search, "--json").stdout)
    assert made["forecast"]["trials"] == TRIALS * 5
    assert [factor["name"] for factor in made["study"]["factors"]] == FACTORS
    assert f"at most {TRIALS * 5} trials" in cli_here("plan", study, "--incumbent", search).stdout


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("plan STUDY --design path", "--incumbent RUN_DIR"),
        ("plan STUDY --incumbent nowhere", "nowhere: no run directory"),
        ("plan STUDY --incumbent SEARCH --design cofirm", "did you mean 'confirm'"),
        ("plan digits/long-tail --incumbent SEARCH", "is an ablation, which has factors of its own"),
        ("plan faces/search --incumbent SEARCH", "is a run of workload digits, and faces/search of faces"),
        ("run STUDY --incumbent SEARCH --samples 3", "--samples: tiny-path is an ablation"),
        ("confirm SEARCH --top 4", "has 3 configurations that finished; allowed: 1 … 3"),
        ("confirm nowhere", "nowhere: no run directory"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    command: str, words: str, study: Path, search: Path, cli_here: Cli
) -> None:
    done = cli_here(*({"SEARCH": search, "STUDY": study}.get(word, word) for word in command.split()))
    assert done.returncode == 2
    assert words in done.stderr
