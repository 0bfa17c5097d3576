"""A trial without hope ends as `diverged` in its first hopeless epoch, with a record that every reader can take."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from tests.trainables.small_trials import finish, small_spec
from trainables.trial.trial import DIVERGENCE, Trial

HOPELESS = {"optimizer.lr": 1e12, "training.epochs": 4}


@pytest.mark.parametrize("norm", [[], ["conv1"], ["conv1", "conv2", "fc1"]], ids=["no BN", "one BN", "three BN"])
@pytest.mark.parametrize("dropout", [[], ["relu_fc1"]], ids=["no dropout", "dropout"])
@pytest.mark.parametrize("loss", ["ce", "class_balanced", "focal"])
def test_a_learning_rate_without_hope_ends_the_trial_within_the_epoch(
    norm: list[str], dropout: list[str], loss: str, tmp_path: Path
) -> None:
    settings = {**HOPELESS, "model.bn_after": norm, "model.dropout_after": dropout, "loss.name": loss}
    result = Trial(small_spec(tmp_path, settings)).advance()
    assert result["end"]["status"] == "diverged"
    assert result["end"]["selected_epoch"] is None
    (row,) = result["rows"]
    loss_value = row["train_loss"]
    assert loss_value is None or loss_value > DIVERGENCE
    json.dumps(result, allow_nan=False)
    assert not list(tmp_path.rglob("*.pt"))


def test_a_diverged_trial_leaves_its_layers_to_look_at(tmp_path: Path) -> None:
    spec = small_spec(tmp_path, {**HOPELESS, "diagnostics": True})
    Trial(spec).advance()
    layers = pd.read_parquet(tmp_path / "artifacts" / spec.trial / "diagnostics.parquet")
    assert set(layers["epoch"]) == {1}
    assert layers["weight_norm"].isna().any() or layers["weight_norm"].max() > 1e6


def test_what_is_not_finite_is_null_and_what_is_stays(tmp_path: Path) -> None:
    row = Trial(small_spec(tmp_path, HOPELESS)).advance()["rows"][0]
    assert row["val_loss"] is None
    assert row["val_ce"] is None
    assert 0 <= row["val_accuracy"] <= 1
    assert row["lr"] == 1e12


class Losses:
    """Makes each epoch report a training loss of our choosing."""

    def __init__(self, trial: Trial, *losses: float) -> None:
        self.train, self.losses = trial.learner.train_epoch, list(losses)
        trial.learner.train_epoch = self  # type: ignore[method-assign]

    def __call__(self) -> dict[str, float]:
        return {**self.train(), "loss": self.losses.pop(0)}


def test_a_loss_a_thousand_times_the_first_batch_s_is_divergence_and_just_below_is_not(tmp_path: Path) -> None:
    def status(factor: float) -> Any:
        trial = Trial(small_spec(tmp_path / str(factor)))
        Losses(trial, 1.0)
        trial.learner.first_loss = 2.0
        return trial.advance()["end"]

    assert status(1.0) is None
    trial = Trial(small_spec(tmp_path / "at"))
    trial.learner.first_loss = 2.0
    Losses(trial, 2000.0, 2000.1)
    assert trial.advance()["end"] is None
    assert trial.advance()["end"]["status"] == "diverged"


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_later_epoch_can_diverge_and_the_epochs_before_stay(loss: float, tmp_path: Path) -> None:
    trial = Trial(small_spec(tmp_path))
    Losses(trial, 1.0, loss)
    rows = trial.advance()["rows"]
    result = trial.advance()
    assert result["end"]["status"] == "diverged"
    assert [row["epoch"] for row in rows + result["rows"]] == [1, 2]
    assert result["rows"][0]["train_loss"] is None


def test_a_trial_that_diverged_diverges_again_where_it_is_resumed(tmp_path: Path) -> None:
    spec = small_spec(tmp_path, {**HOPELESS, "model.bn_after": ["conv1"]})
    first, second = finish(spec), finish(spec)
    assert first.status == second.status == "diverged"
    assert first == second


def test_a_network_whose_units_all_died_is_no_divergence_and_no_idle_switch(tmp_path: Path) -> None:
    """Biases far below zero switch every ReLU off: dropout has nothing to drop and batch norm nothing to scale."""
    spec = small_spec(tmp_path, {"model.dropout_after": ["relu_fc1"], "model.bn_after": ["relu2"]})
    trial = Trial(spec)
    with torch.no_grad():
        trial.learner.network.conv2.bias.fill_(-1e3)
        trial.learner.network.fc1.bias.fill_(-1e3)
    assert trial.advance()["end"] is None
    assert not trial.learner.network.relu_fc1.layer(torch.tensor([-1.0])).any()
