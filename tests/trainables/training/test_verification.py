"""A switch that did nothing is an error: each is sabotaged here, and each sabotage is found."""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.trainables.small_trials import finish, small_spec
from trainables.losses import ClassBalanced, CrossEntropy
from trainables.optimizers import TorchOptimizer
from trainables.training.learner import Learner
from trainables.trial.trial import Trial, VerificationError

Patch = pytest.MonkeyPatch
LONG_TAIL = {"dataset.imbalance_factor": 50, "dataset.limit_train": 0}


def no_augmentation(patch: Patch) -> None:
    patch.setattr("trainables.training.batches.apply", lambda images, draws: images)


def no_batch_norm(patch: Patch) -> None:
    patch.setattr(nn, "BatchNorm2d", lambda channels: nn.Identity())


def no_dropout(patch: Patch) -> None:
    patch.setattr(nn.functional, "dropout", lambda images, *rest, **more: images)


def no_placement(patch: Patch) -> None:
    patch.setattr("trainables.models.placement.setattr", lambda *where: None, raising=False)


def weights_not_passed_on(patch: Patch) -> None:
    terms = CrossEntropy.terms
    for loss in (CrossEntropy, ClassBalanced):
        patch.setattr(loss, "terms", lambda self, logits, targets, weights: terms(self, logits, targets, None))


def weights_lost_by_the_task(patch: Patch) -> None:
    made = Learner.__init__

    def forgetful(self: Learner, *arguments: Any) -> None:
        made(self, *arguments)
        self.task.weights = None

    patch.setattr(Learner, "__init__", forgetful)


def idle_optimizer(patch: Patch) -> None:
    build = TorchOptimizer.build

    def idle(self: TorchOptimizer, parameters: Any) -> torch.optim.Optimizer:
        optimizer = build(self, parameters)
        optimizer.step = lambda: None  # type: ignore[method-assign]
        return optimizer

    patch.setattr(TorchOptimizer, "build", idle)


def tampered_rate(patch: Patch) -> None:
    step = Learner.step

    def slower(self: Learner, *arguments: Any) -> Any:
        self.optimizer.param_groups[0]["lr"] = 0.0123
        return step(self, *arguments)

    patch.setattr(Learner, "step", slower)


def uniform_instead_of_weighted(patch: Patch) -> None:
    patch.setattr("datasets.samplers.Weighted.order", lambda _, labels, g: torch.randperm(len(labels), generator=g))


def repeating_instead_of_uniform(patch: Patch) -> None:
    patch.setattr(
        "datasets.samplers.Uniform.order", lambda _, labels, g: torch.randint(len(labels), labels.shape, generator=g)
    )


def full_precision(patch: Patch) -> None:
    patch.setattr(torch, "autocast", lambda *what, **more: contextlib.nullcontext())


def normalized_by_nothing(patch: Patch) -> None:
    from datasets.cache.cache import open_or_prepare

    def plain(*arguments: Any) -> Any:
        dataset = open_or_prepare(*arguments)
        return dataclasses.replace(dataset, info=dataclasses.replace(dataset.info, mean=(0.0,), std=(1.0,)))

    patch.setattr("trainables.trial.trial.open_or_prepare", plain)


# sabotage: the settings of the switch, what the refusal names
SABOTAGE: dict[Callable[[Patch], None], tuple[dict[str, Any], str]] = {
    no_augmentation: ({"augmentation.flip": True}, "augmentation"),
    no_batch_norm: ({"model.bn_after": ["conv1"]}, "model.bn_after"),
    no_dropout: ({"model.dropout_after": ["conv1"]}, "model.dropout_after"),
    no_placement: ({"model.bn_after": ["conv1"], "model.dropout_after": ["fc1"]}, "model.bn_after"),
    weights_not_passed_on: ({"loss.name": "class_balanced", "loss.beta": 0.99, **LONG_TAIL}, "loss"),
    weights_lost_by_the_task: ({"loss.weighting": "inverse", **LONG_TAIL}, "loss"),
    idle_optimizer: ({}, "optimizer"),
    tampered_rate: ({"schedule.name": "cosine"}, "schedule"),
    uniform_instead_of_weighted: ({"sampler.name": "weighted", **LONG_TAIL}, "sampler"),
    repeating_instead_of_uniform: ({}, "sampler"),
    full_precision: ({"training.precision": "bf16"}, "training.precision"),
    normalized_by_nothing: ({}, "training.normalize"),
}


@pytest.mark.parametrize("sabotage", SABOTAGE, ids=lambda sabotage: sabotage.__name__)
def test_a_switch_that_does_nothing_is_found(
    sabotage: Callable[[Patch], None], tmp_path: Path, monkeypatch: Patch
) -> None:
    settings, named = SABOTAGE[sabotage]
    assert finish(small_spec(tmp_path / "sound", settings)).verified
    sabotage(monkeypatch)
    with pytest.raises(VerificationError, match=f"not verified: .*{named}"):
        finish(small_spec(tmp_path / "sabotaged", settings))


def test_a_trial_that_is_refused_in_its_first_epoch_leaves_no_checkpoint(tmp_path: Path, monkeypatch: Patch) -> None:
    idle_optimizer(monkeypatch)
    trial = Trial(small_spec(tmp_path))
    with pytest.raises(VerificationError, match="moved no parameter"):
        trial.advance()
    assert not list(tmp_path.rglob("*.pt"))


def test_every_idle_switch_is_named_at_once(tmp_path: Path, monkeypatch: Patch) -> None:
    no_batch_norm(monkeypatch)
    no_augmentation(monkeypatch)
    idle_optimizer(monkeypatch)
    settings = {"model.bn_after": ["conv1", "conv2"], "augmentation.flip": True}
    with pytest.raises(VerificationError) as caught:
        finish(small_spec(tmp_path, settings))
    for part in ("after conv1", "after conv2", "augmentation", "optimizer"):
        assert part in str(caught.value)


SWITCHES: list[dict[str, Any]] = [
    {"model.bn_after": ["conv1", "fc1"]},
    {"model.dropout_after": ["conv2", "relu_fc1"], "model.dropout_rate": 0.05},
    {"loss.name": "class_balanced", "loss.beta": 0.9},
    {"sampler.name": "weighted"},
    {"augmentation.flip": True, "augmentation.brightness": 0.2},
    {"training.precision": "bf16", "training.normalize": False},
    {"schedule.name": "cosine", "schedule.warmup": 0.4, "optimizer.name": "adam", "optimizer.lr": 0.003},
]


@pytest.mark.parametrize("count", [0, 1, 2, *(pytest.param(n, marks=pytest.mark.matrix) for n in (3, 4, 5, 6)), 7])
@pytest.mark.matrix
def test_every_combination_of_so_many_switches_that_work_verifies(count: int, tmp_path: Path) -> None:
    for number, on in enumerate(itertools.combinations(SWITCHES, count)):
        settings = {key: value for switch in on for key, value in switch.items()}
        spec = small_spec(tmp_path / str(number), {**settings, "training.epochs": 2})
        assert finish(spec).verified, settings


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.99, 0.9999])
@pytest.mark.parametrize("imbalance", [1, 50])
def test_class_weights_that_hardly_differ_are_no_idle_switch(beta: float, imbalance: int, tmp_path: Path) -> None:
    settings = {"loss.name": "class_balanced", "loss.beta": beta, "dataset.imbalance_factor": imbalance}
    whole = {"dataset.limit_train": 0, "training.epochs": 1}
    assert finish(small_spec(tmp_path, {**settings, **whole})).verified


@pytest.mark.parametrize(
    "sites",
    [
        ["layer1", "layer1.0.conv1"],
        pytest.param(["layer1.0.conv1"], marks=pytest.mark.matrix),
        pytest.param(["layer4"], marks=pytest.mark.matrix),
    ],
)
def test_placements_inside_a_resnet_verify(sites: list[str], tmp_path: Path) -> None:
    settings = {"model.name": "resnet18", "model.dropout_after": sites, "dataset.limit_train": 32, "training.epochs": 1}
    assert finish(small_spec(tmp_path, {**settings, "optimizer.lr": 0.01})).verified


def test_a_schedule_that_the_budget_is_too_short_for_is_noted_and_no_fault(tmp_path: Path) -> None:
    end = Trial(small_spec(tmp_path, {"schedule.name": "step", "training.epochs": 1})).advance()["end"]
    assert end["verified"]
    assert end["notes"] == ["schedule step: not reached in 1 epochs"]


def test_verifying_changes_nothing_of_the_training(tmp_path: Path, monkeypatch: Patch) -> None:
    settings = {"model.bn_after": ["conv1"], "model.dropout_after": ["relu_fc1"], "augmentation.rotation": 10.0}
    verified = finish(small_spec(tmp_path / "with", settings))
    monkeypatch.setattr("trainables.training.verification.after_first_epoch", lambda learner, initial: [])
    assert finish(small_spec(tmp_path / "without", settings)) == verified
