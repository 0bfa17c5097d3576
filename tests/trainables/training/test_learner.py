"""One training run: its metrics against scikit-learn's, its determinism, and draws that no other factor disturbs."""

import json
import os
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss
from torch import Tensor

from tests.conftest import ROOT
from tests.trainables.small_trials import (
    EVERYTHING,
    finish,
    prepared_digits,
    small_config,
    small_dataset,
    small_learner,
    small_spec,
    timeless,
)
from trainables.training.batch_draws import BatchDraws
from trainables.training.batches import DeviceData, normalisation
from trainables.training.learner import batches
from trainables.trial.trial import Trial

pytestmark = pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")

TARGETS = list(range(10))


def reference(targets: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """scikit-learn's figures of probabilities (N, 10)."""
    return {
        "ce": log_loss(targets, scores / scores.sum(1, keepdims=True), labels=TARGETS),
        "accuracy": accuracy_score(targets, scores.argmax(1)),
        "balanced_accuracy": balanced_accuracy_score(targets, scores.argmax(1)),
    }


def close(row: dict[str, Any], split: str, expected: dict[str, float]) -> bool:
    return all(row[f"{split}_{name}"] == pytest.approx(value, rel=1e-5) for name, value in expected.items())


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("settings", [{}, EVERYTHING], ids=["plain", "everything on"])
def test_metrics_of_a_split_are_scikit_learn_s(settings: dict[str, Any], split: str) -> None:
    learner = small_learner(settings)
    learner.train_epoch()
    row = {f"{split}_{name}": value for name, value in learner.evaluate(split).items()}
    expected = reference(learner.labels[split].numpy(), learner.predictions(split)["scores"].double().numpy())
    assert close(row, split, {**expected, "reference": expected["ce"]})
    assert settings or row[f"{split}_loss"] == row[f"{split}_ce"]


def test_training_metrics_are_those_of_the_pictures_as_they_were_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, logits, rows = small_learner(EVERYTHING), list[Tensor](), list[Tensor]()
    step = learner.step
    monkeypatch.setattr(learner, "step", lambda batch, *rest: [rows.append(batch["rows"]), step(batch, *rest)][1])
    learner.network.register_forward_hook(lambda _, taken, given: logits.append(given.detach().double()))
    metrics = learner.train_epoch()
    targets = learner.labels["train"][torch.cat(rows)].numpy()
    assert len(targets) == 96
    row = {f"train_{name}": value for name, value in metrics.items()}
    assert close(row, "train", reference(targets, torch.cat(logits).softmax(1).numpy()))


def test_the_trained_criterion_is_reported_beside_the_reference() -> None:
    learner = small_learner({"loss.name": "class_balanced", "loss.beta": 0.9, "dataset.imbalance_factor": 20})
    learner.train_epoch()
    weights = torch.tensor(learner.config.loss.class_weights(learner.info.counts["train"]))
    scores, targets = learner.predictions("test")["scores"].double(), learner.labels["test"]
    by_hand = -(weights[targets] * scores.gather(1, targets[:, None])[:, 0].log()).mean()
    metrics = learner.evaluate("test")
    assert metrics["loss"] == pytest.approx(float(by_hand), rel=1e-5)
    assert metrics["loss"] != metrics["ce"] == metrics["reference"]


def test_predictions_are_those_of_the_selected_epoch(tmp_path: Path) -> None:
    outcome = finish(small_spec(tmp_path, {"optimizer.lr": 2.0, "training.epochs": 4}))
    assert outcome.predictions is not None
    targets = outcome.predictions["target"].to_numpy()
    scores = outcome.predictions[[f"score_{i}" for i in TARGETS]].to_numpy(np.float64)
    best = min(outcome.rows, key=lambda row: row["val_reference"])
    assert outcome.selected_epoch == best["epoch"] < 4
    assert close(best, "test", reference(targets, scores))
    assert (outcome.predictions["prediction"] == scores.argmax(1)).all()
    assert outcome.predictions["index"].tolist() == list(range(64))


@pytest.mark.parametrize("settings", [{}, EVERYTHING], ids=["plain", "everything on"])
def test_two_runs_of_a_trial_are_equal_to_the_last_bit(settings: dict[str, Any], tmp_path: Path) -> None:
    first = finish(small_spec(tmp_path / "a", settings))
    torch.rand(1000)
    assert first == finish(small_spec(tmp_path / "b", settings))
    assert first != finish(small_spec(tmp_path / "c", settings, seed=1))


ANOTHER_PROCESS = """
import json, sys
from pathlib import Path
from tests.trainables.small_trials import finish, small_spec
folder, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
finish(small_spec(folder / "other", {"optimizer.lr": 0.5}, seed=9))
outcome = finish(small_spec(folder / "same", settings))
print(json.dumps([outcome.rows, outcome.predictions.to_dict("list")]))
"""


@pytest.mark.matrix
def test_another_process_that_ran_another_trial_first_gets_the_same_bits(tmp_path: Path) -> None:
    here = finish(small_spec(tmp_path / "here", EVERYTHING))
    environment = {**os.environ, "PYTHONHASHSEED": "5", "CACHE_DIR": str(prepared_digits().path.parent)}
    command = [sys.executable, "-c", ANOTHER_PROCESS, str(tmp_path), json.dumps(EVERYTHING)]
    rows, predictions = json.loads(subprocess.check_output(command, cwd=ROOT, env=environment))
    assert here.predictions is not None
    assert rows == here.rows
    assert predictions == here.predictions.to_dict("list")


def seen_in_training(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], list[Tensor]]:
    """Row numbers and pictures of every step of two epochs."""
    learner = small_learner(settings)
    orders, pictures, step = [], [], learner.step

    def spy(draws: BatchDraws, totals: Any) -> Tensor:
        orders.append(draws["rows"].tolist())
        pictures.append(learner.data.for_training(draws).images)
        return step(draws, totals)

    monkeypatch.setattr(learner, "step", spy)
    learner.train_epoch()
    learner.train_epoch()
    return orders, pictures


AUGMENTED = {"augmentation.rotation": 20.0}


@pytest.mark.parametrize(
    "factor",
    [
        {"model.dropout_after": ["relu_fc1"]},
        {"model.bn_after": ["conv1"]},
        {"loss.name": "class_balanced"},
        {"loss.name": "focal"},
        {"optimizer.name": "adam"},
        {"schedule.name": "cosine"},
        {"model.channels": [6, 6]},
        {"training.precision": "bf16"},
        AUGMENTED,
    ],
    ids=str,
)
def test_turning_a_factor_on_changes_neither_the_batches_nor_what_is_drawn_for_their_pictures(
    factor: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = {} if factor == AUGMENTED else AUGMENTED
    orders, pictures = seen_in_training(base, monkeypatch)
    with_factor = seen_in_training({**base, **factor}, monkeypatch)
    assert with_factor[0] == orders
    assert all(map(torch.equal, pictures, with_factor[1])) == (factor != AUGMENTED)


def test_a_weighted_sampler_changes_the_batches_and_each_epoch_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    uniform, _ = seen_in_training({}, monkeypatch)
    weighted, _ = seen_in_training({"sampler.name": "weighted"}, monkeypatch)
    assert weighted != uniform
    first, second = ([row for batch in epoch for row in batch] for epoch in (uniform[:3], uniform[3:]))
    assert sorted(first) == sorted(second) == list(range(96))
    assert first != second


def dropped(settings: dict[str, Any], seed: int = 0) -> list[Tensor]:
    """What dropout zeroes in every step of two epochs."""
    learner, masks = small_learner({"model.dropout_after": ["flatten"], **settings}, seed), list[Tensor]()
    layer = learner.network.get_submodule("flatten.dropout")
    layer.register_forward_pre_hook(lambda _, taken: torch.ones_like(taken[0]))
    layer.register_forward_hook(lambda _, taken, given: masks.append(given == 0))
    learner.train_epoch()
    learner.train_epoch()
    return masks


def test_dropout_s_draws_are_its_own_and_new_in_every_epoch() -> None:
    plain = dropped({})
    others = dropped({"augmentation.flip": True, "sampler.name": "weighted", "loss.name": "focal"})
    assert all(map(torch.equal, plain, others))
    assert not plain[0].equal(plain[1])
    assert not plain[0].equal(plain[3])
    assert not plain[0].equal(dropped({}, seed=1)[0])


def test_a_lone_last_row_joins_the_batch_before_it() -> None:
    assert [len(part) for part in batches(torch.arange(97), 32)] == [32, 32, 33]
    assert [len(part) for part in batches(torch.arange(98), 32)] == [32, 32, 32, 2]
    assert [len(part) for part in batches(torch.arange(96), 32)] == [32, 32, 32]
    assert torch.cat(batches(torch.arange(97), 32)).equal(torch.arange(97))
    assert [len(part) for part in batches(torch.arange(1), 32)] == [1]


def test_batch_norm_trains_where_a_lone_row_would_be_left_over(tmp_path: Path) -> None:
    settings = {"dataset.limit_train": 65, "training.batch_size": 32, "model.bn_after": ["fc1"], "training.epochs": 1}
    assert finish(small_spec(tmp_path, settings)).status == "finished"


def test_bf16_computes_in_bf16_and_reports_full_precision(tmp_path: Path) -> None:
    full, half = (finish(small_spec(tmp_path / p, {"training.precision": p})) for p in ("fp32", "bf16"))
    assert half.verified
    assert half.rows != full.rows
    assert half.rows[0]["train_ce"] == pytest.approx(full.rows[0]["train_ce"], rel=0.02)


@pytest.mark.parametrize("constant", [(0,), (1, 2), (0, 1, 2)])
def test_a_channel_that_never_changes_is_shifted_and_trains(constant: tuple[int, ...]) -> None:
    std = tuple(0.0 if channel in constant else 0.25 for channel in range(3))
    info = replace(small_learner().info, image_shape=(3, 8, 8), mean=(0.5, 0.5, 0.5), std=std)
    shift, scale = normalisation(small_learner().config, info)
    values = (torch.full((2, 3, 8, 8), 0.75) - shift) / scale
    expected = [0.25 if channel in constant else 1.0 for channel in range(3)]
    assert values[0, :, 0, 0].tolist() == pytest.approx(expected)


def test_pictures_reach_the_network_normalized_by_the_training_split_unless_told_otherwise() -> None:
    rows = torch.arange(96)
    info = prepared_digits().full
    raw = small_learner({"training.normalize": False}).inputs("train", rows)
    assert float(raw.min()) == 0 < float(raw.max()) <= 1
    assert small_learner().inputs("train", rows).allclose((raw - info.mean[0]) / info.std[0])


def test_the_optimizer_uses_the_schedule_s_rate_in_every_epoch(tmp_path: Path) -> None:
    settings = {"schedule.name": "step", "schedule.step_size": 0.5, "schedule.gamma": 0.25, "training.epochs": 4}
    assert [row["lr"] for row in finish(small_spec(tmp_path, settings)).rows] == [0.1, 0.1, 0.025, 0.025]


def test_training_learns_the_digits(tmp_path: Path) -> None:
    settings = {"dataset.limit_train": 0, "dataset.limit_eval": 0, "optimizer.momentum": 0.9, "optimizer.lr": 0.02}
    rows = finish(small_spec(tmp_path, {**settings, "training.epochs": 8})).rows
    assert rows[-1]["test_accuracy"] > 0.85
    assert rows[-1]["train_loss"] < rows[0]["train_loss"] / 3


def test_rows_hold_every_metric_of_every_split_and_survive_strict_json(tmp_path: Path) -> None:
    row = Trial(small_spec(tmp_path)).advance()["rows"][0]
    names = {
        f"{split}_{name}" for split in ("train", "val", "test") for name in ("loss", "ce", "reference", "accuracy")
    }
    assert names < set(row)
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert timeless(row)["epoch"] == 1


def test_trials_in_progress_together_take_one_copy_of_a_gpus_memory() -> None:
    """On the device "meta", which holds no numbers."""

    def pictures(**settings: Any) -> DeviceData:
        return DeviceData(small_config(settings), small_dataset(settings), torch.device("meta"))

    first, second = pictures(), pictures()
    assert first.splits["train"] is second.splits["train"]
    assert first.splits["train"] is not first.splits["val"]
    assert pictures(**{"dataset.imbalance_factor": 4.0}).splits["train"] is not first.splits["train"]
    gone = weakref.ref(first.splits["train"])
    del first, second
    assert gone() is None
    here = [DeviceData(small_config(), small_dataset(), torch.device("cpu")).splits["train"] for _ in range(2)]
    assert here[0] is not here[1], "views of the cache's own memory"
