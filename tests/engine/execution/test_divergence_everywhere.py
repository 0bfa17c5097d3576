"""A configuration without hope ends as diverged in its epoch, whatever proposes it and whatever schedules it.

It never blocks the search, and never stands above one that trained. The matrix runs without Ray; a part of it on Ray.
"""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from analysis.records.store import read_records
from analysis.report.contents import report_tables
from search_spaces.spaces import Choice, Number, Parameter
from search_spaces.study import SAMPLERS, SearchStudy, parse_study
from search_spaces.trial_schedulers import TRIAL_SCHEDULERS
from tests.conftest import Cli
from tests.engine.sequential import Drive
from tests.records import ends
from tests.trainables.small_trials import SMALL, small_spec
from trainables.training.batch_draws import BatchDraws
from trainables.training.batches import DeviceData
from trainables.trial.trial import Trial

SAMPLES, EPOCHS = 6, 3
HOPELESS, FINE = 1e6, 0.05
TOGETHER = [
    pytest.param(s, t, marks=[] if s == "random" or t == "none" else [pytest.mark.matrix])
    for s in SAMPLERS
    for t in TRIAL_SCHEDULERS
    if t != "pbt" or s == "random"  # others are refused
]
NETS: dict[str, list[str]] = {"without BN": [], "with BN": ["conv1", "conv2", "fc1"]}


def study(sampler: str, scheduler: str, net: str) -> SearchStudy:
    """Rates over 15 decades, most of them hopeless; one of either kind for certain."""
    space: tuple[Parameter, ...] = (
        Number(key="optimizer.lr", low=1e-3, high=1e12, log=True),
        Number(key="optimizer.momentum", low=0.0, high=0.9),  # CMA-ES asks for two dimensions
    )
    if sampler == "grid":
        rates, momenta = Choice(key="optimizer.lr", choices=(1e12, FINE, 1e9)), (0.0, 0.5)
        space = (rates, Choice(key="optimizer.momentum", choices=momenta))
    hopeless, fine = ({"optimizer.lr": lr, "optimizer.momentum": 0.5} for lr in (1e12, FINE))
    made = parse_study(
        {
            "name": "hopeless",
            "kind": "search",
            "workload": "digits",
            "epochs": EPOCHS,
            "samples": SAMPLES,
            "sampler": sampler,
            "trial_scheduler": {"name": scheduler},
            "baseline": {key: value for key, value in SMALL.items() if key not in ("dataset.name", "model.name")}
            | {"model.bn_after": NETS[net], "optimizer.name": "sgd"},
            "space": [parameter.model_dump() for parameter in space],
            "enqueue": [] if sampler == "grid" else [hopeless, fine],
        },
        "hopeless",
    )
    assert isinstance(made, SearchStudy)
    return made


def assert_hopeless_ones_are_results(run: Path, exploited: bool) -> None:
    records = read_records(run)
    trials = records.trials
    assert len(trials) == SAMPLES
    assert set(trials["status"]) <= {"finished", "stopped", "diverged"}
    diverged = trials[trials["status"] == "diverged"]
    hopeless = trials[trials["config/optimizer.lr"] >= HOPELESS]
    assert len(hopeless)
    if not exploited:  # a member of a population may leave its hopeless rate, or take one over, later
        assert set(hopeless["trial"]) <= set(diverged["trial"])
        assert (hopeless["error"] == "diverged in epoch 1").all()
        assert (hopeless["epochs"] == 1).all()
    assert diverged["error"].str.fullmatch(r"diverged in epoch \d").all()
    metrics = [name for name in trials if name.partition("_")[0] in ("train", "val", "test")]
    assert len(metrics) > 10
    assert diverged[metrics].isna().all(axis=None)
    ranking = report_tables(records)["ranking"]
    assert len(ranking) == SAMPLES
    first = trials[trials["cell"] == ranking.iloc[0]["cell"]]
    if (trials["status"] == "finished").any():  # beside diverged ones a scheduler may stop all that are left
        assert (first["status"] == "finished").all()
    lost = ranking["n_diverged"] > 0
    assert ranking.loc[lost, "mean"].isna().all()
    assert not (lost.cummax() & ~lost & ranking["mean"].notna()).any(), "a diverged one stands above one that trained"


@pytest.mark.parametrize("net", ["without BN", pytest.param("with BN", marks=pytest.mark.matrix)])
@pytest.mark.parametrize(("sampler", "scheduler"), TOGETHER)
@pytest.mark.matrix
def test_a_hopeless_rate_is_a_result_under_every_sampler_and_scheduler(
    sampler: str, scheduler: str, net: str, drive: Drive, tmp_path: Path
) -> None:
    drive.slots = 2
    run = drive(study(sampler, scheduler, net), tmp_path / "run")
    assert len(ends(run)) == SAMPLES
    assert_hopeless_ones_are_results(run, exploited=scheduler == "pbt")


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("sampler", "scheduler"),
    [
        ("tpe", "none"),
        ("random", "asha"),
        ("qmc", "hyperband"),
        ("grid", "median"),
        ("cmaes", "none"),
        ("random", "pbt"),
    ],
)
def test_and_so_it_is_on_ray(sampler: str, scheduler: str, tmp_path: Path, cli_here: Cli, local_ray: None) -> None:
    file, run = tmp_path / "study.yaml", tmp_path / "run"
    net = "with BN" if sampler in ("random", "cmaes") else "without BN"
    file.write_text(yaml.safe_dump(study(sampler, scheduler, net).model_dump(mode="json")))
    done = cli_here("run", file, "--out", run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_hopeless_ones_are_results(run, exploited=scheduler == "pbt")


@pytest.mark.parametrize("epoch", [1, 2, 3])
@pytest.mark.parametrize("net", NETS)
def test_a_picture_that_is_not_a_number_ends_the_trial_in_that_epoch(
    net: str, epoch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial(small_spec(tmp_path, {"model.bn_after": NETS[net]}))
    for_training = DeviceData.for_training

    def spoilt(self: DeviceData, draws: BatchDraws) -> Any:
        batch = for_training(self, draws)
        if trial.learner.epoch == epoch:
            batch.images[0, 0, 3, 3] = float("nan")
        return batch

    monkeypatch.setattr(DeviceData, "for_training", spoilt)
    result: dict[str, Any] = {"end": None}
    rows: list[dict[str, Any]] = []
    while result["end"] is None:
        result = trial.advance()
        rows += result["rows"]
    assert result["end"]["status"] == "diverged"
    assert result["end"]["error"] == f"diverged in epoch {epoch}"
    assert [row["epoch"] for row in rows] == list(range(1, epoch + 1))
    assert [row["train_loss"] is None for row in rows] == [False] * (epoch - 1) + [True]
    assert not pd.isna(pd.Series([row["train_loss"] for row in rows[:-1]], dtype=float)).any()
