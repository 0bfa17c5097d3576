"""Real runs of small studies through the command line: files, columns, numbers, and the same numbers again."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.runs import run_once
from tests.cli.test_refusals import loaded
from tests.conftest import ROOT, Cli
from tests.records import epoch_rows, events

TRIAL_COLUMNS = [
    "trial",
    "cell",
    "seed",
    "status",
    "epochs",
    "selected_epoch",
    "seconds",
    "node",
    "device",
    "verified",
    "error",
    "execution",
]
EPOCH_COLUMNS = [
    "trial",
    "epoch",
    "lr",
    "train_loss",
    "val_loss",
    "test_loss",
    "train_accuracy",
    "val_accuracy",
    "test_accuracy",
    "seconds",
]
COLUMNS = {
    "ranking": "rank cell n n_failed n_diverged metric mean std ci_low ci_high min max val_mean val_std test_mean "
    "test_std reference loss sampler",
    "ablation": "factor level baseline_level metric n_pairs n_failed n_diverged baseline_mean level_mean delta ci_low "
    "ci_high p_value p_holm p_permutation effect_size verdict reference",
    "effects": "factor level metric n_pairs delta ci_low ci_high p_value",
    "interactions": "factor_a level_a factor_b level_b metric n_pairs interaction ci_low ci_high p_value",
}


@pytest.fixture(scope="module")
def long_tail(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, local_ray: None) -> Path:
    run, done = run_once(tmp_path_factory, "long-tail", "digits/long-tail", "--seeds", "3", "--epochs", "4")
    if done is not None:
        assert done.exit_code == 0, done.output
        assert "test_balanced_accuracy" in done.output
        assert "[12/12]" in done.output
    return run


def test_a_run_leaves_every_file_with_the_columns_that_scripts_rely_on(long_tail: Path) -> None:
    study = json.loads((long_tail / "study.json").read_text())
    assert study["name"] == "digits/long-tail"
    assert len(study["trials"]) == 12
    trials, epochs = (pd.read_parquet(long_tail / f"{name}.parquet") for name in ("trials", "epochs"))
    assert set(TRIAL_COLUMNS) <= set(trials)
    assert {"config/optimizer.lr", "config/loss.name", "config/dataset.imbalance_factor"} <= set(trials)
    assert set(EPOCH_COLUMNS) <= set(epochs)
    assert (trials["status"] == "finished").all()
    assert trials["verified"].all()
    assert not trials.duplicated(["cell", "seed"]).any()
    assert not epochs.duplicated(["trial", "epoch"]).any()
    assert len(epochs) == 12 * 4
    for name, columns in COLUMNS.items():
        assert set(columns.split()) <= set(pd.read_csv(long_tail / "report" / f"{name}.csv"))
        assert (long_tail / "report" / f"{name}.md").exists()
    assert "<html" in (long_tail / "report" / "index.html").read_text()
    for trial in trials["trial"]:
        assert (long_tail / "checkpoints" / trial / "best.pt").exists()
        assert len(pd.read_parquet(long_tail / "predictions" / f"{trial}.parquet")) == 359


def test_the_metrics_at_the_selected_epoch_follow_from_the_predictions(long_tail: Path) -> None:
    from sklearn.metrics import accuracy_score, balanced_accuracy_score

    for row in pd.read_parquet(long_tail / "trials.parquet").itertuples():
        predictions = pd.read_parquet(long_tail / "predictions" / f"{row.trial}.parquet")
        assert accuracy_score(predictions["target"], predictions["prediction"]) == pytest.approx(row.test_accuracy)
        balanced = balanced_accuracy_score(predictions["target"], predictions["prediction"])
        assert balanced == pytest.approx(row.test_balanced_accuracy, abs=1e-12)


def test_ablation_csv_is_what_scipy_makes_of_trials_parquet_without_torch(long_tail: Path) -> None:
    checker = ROOT / "tests" / "cli" / "recompute_ablation.py"
    done = subprocess.run([sys.executable, str(checker), str(long_tail)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == "3 rows agree"


def test_rerun_without_ray_gives_the_same_numbers(long_tail: Path, cli: Cli) -> None:
    trial = pd.read_parquet(long_tail / "trials.parquet")["trial"].iloc[-1]
    done = cli("rerun", long_tail, trial[:8])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "equal to its record, bit for bit" in done.stdout
    assert "epoch 4, loss " in done.stdout
    assert done.stdout.count("use time") == 4


def test_rerun_tells_a_number_that_differs(long_tail: Path, tmp_path: Path, cli_here: Cli) -> None:
    (tmp_path / "study.json").write_text((long_tail / "study.json").read_text())
    log = tmp_path / "log.jsonl"
    trial = events(long_tail)[1]["trial"]
    first = next(e for e in events(long_tail) if e["event"] == "epoch" and e["trial"] == trial)
    lines = [json.dumps(event) + "\n" for event in events(long_tail)]  # without checksums, as before there were any
    log.write_text("".join(lines).replace(json.dumps(first["val_loss"]), "0.125", 1))
    done = cli_here("rerun", tmp_path, trial)
    assert done.returncode == 1
    assert f"epoch {first['epoch']}: val_loss" in done.stderr


@pytest.mark.matrix
def test_another_process_and_another_order_give_bit_equal_rows(long_tail: Path, tmp_path: Path, cli: Cli) -> None:
    """The second process runs the last seeds' trials in another design, so in another order and other company."""
    run = tmp_path / "other"
    levels = ("--levels", "sampler=uniform,weighted", "--design", "one_at_a_time")
    done = cli(
        "run", "digits/long-tail", "--seeds", "3", "--epochs", "4", *levels, "--max-concurrent", "1", "--out", run
    )
    assert done.returncode == 0, done.stderr
    before, after = epoch_rows(long_tail), epoch_rows(run)
    assert len(after) == 3 * 3 * 4
    assert all(after[key] == before[key] for key in after)
    order = [event["trial"] for event in events(run) if event["event"] == "start"]
    others = [event["trial"] for event in events(long_tail) if event["event"] == "start" if event["trial"] in order]
    assert order != others


def test_report_imports_no_torch_and_writes_the_same_tables_again(long_tail: Path) -> None:
    before = {path.name: path.read_text() for path in (long_tail / "report").glob("*.csv")}
    assert not loaded("report", str(long_tail)) & {"torch", "ray", "optuna"}
    assert before == {path.name: path.read_text() for path in (long_tail / "report").glob("*.csv")}


def test_status_imports_no_torch_and_counts_the_trials(long_tail: Path, cli_here: Cli) -> None:
    assert not loaded("status", str(long_tail)) & {"torch", "ray", "optuna"}
    lines = cli_here("status", long_tail).stdout.splitlines()
    assert "12 trials planned: 12 finished" in lines[0]
    assert "best so far: test_balanced_accuracy" in lines[1]


def test_plan_knows_what_is_finished(long_tail: Path, cli_here: Cli) -> None:
    done = cli_here("plan", "digits/long-tail", "--seeds", "4", "--epochs", "4", "--out", long_tail, "--json")
    plan = json.loads(done.stdout)
    assert [trial["finished"] for trial in plan["trials"]] == [True] * 12 + [False] * 4
    assert plan["forecast"]["trials"] - plan["forecast"]["finished"] == 4
    assert plan["forecast"]["seconds"] > 0


@pytest.mark.matrix
def test_a_users_own_study_runs_from_a_file_as_plan_prints_it(tmp_path: Path, cli_here: Cli, local_ray: None) -> None:
    import yaml

    file = tmp_path / "mine.yaml"
    file.write_text(
        "name: mine\nquestion: Does momentum help?\nworkload: digits\nepochs: 2\nseeds: 1\ndesign: one_at_a_time\n"
        "baseline: {optimizer.name: sgd, optimizer.lr: 5e-2}\n"
        "factors:\n- name: momentum\n  levels:\n  - {name: 'off'}\n"
        "  - {name: '0.9', settings: {optimizer.momentum: 0.9}}\n"
    )
    printed = json.loads(cli_here("plan", file, "--json").stdout)["study"]
    assert printed["baseline"]["optimizer.lr"] == 0.05
    file.write_text(yaml.safe_dump(printed))
    run = tmp_path / "run"
    done = cli_here(
        "run", file, "--levels", "momentum=off,0.9,0.5", "--limit-train", "64", "--limit-eval", "40", "--out", run
    )
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(run / "report" / "ablation.csv", dtype={"level": str})
    assert list(table["level"]) == ["0.9", "0.5"]
    assert set(table["verdict"]) == {"too few runs"}


@pytest.mark.matrix
def test_a_search_runs_extends_and_never_repeats_a_configuration(
    tmp_path: Path, cli_here: Cli, local_ray: None
) -> None:
    run = tmp_path / "search"
    small = ("--epochs", "1", "--limit-train", "64", "--limit-eval", "40")
    assert cli_here("run", "digits/search", *small, "--samples", "3", "--out", run).returncode == 0
    first = pd.read_parquet(run / "trials.parquet")
    assert cli_here("resume", run, "--samples", "5").returncode == 0
    trials = pd.read_parquet(run / "trials.parquet")
    assert list(trials["trial"])[:3] == list(first["trial"])
    assert len(trials) == trials["cell"].nunique() == 5
    ranking = pd.read_csv(run / "report" / "ranking.csv")
    assert set(ranking["metric"]) == {"val_accuracy"}
    assert "optimizer.lr" in ranking
    starts = [event["trial"] for event in events(run) if event["event"] == "start"]
    assert len(starts) == 5


@pytest.mark.matrix
def test_a_hopeless_learning_rate_is_a_result_and_not_a_failure(tmp_path: Path, cli_here: Cli, local_ray: None) -> None:
    run = tmp_path / "run"
    small = ("--epochs", "3", "--seeds", "1", "--limit-train", "128", "--limit-eval", "40")
    hopeless = ("--set", "optimizer.name=sgd", "--set", "optimizer.lr=1e9")
    done = cli_here("run", "digits/long-tail", *small, *hopeless, "--out", run)
    assert done.returncode == 0, done.stderr
    trials = pd.read_parquet(run / "trials.parquet")
    assert (trials["status"] == "diverged").all()
    assert (trials["epochs"] == 1).all()
    assert trials["test_accuracy"].isna().all()
    assert (pd.read_csv(run / "report" / "ablation.csv")["n_diverged"] == 1).all()
