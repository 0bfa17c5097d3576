"""Every workload is a Trainable whose defaults are a configuration; those with data at hand train."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets.cache.cache import prepare
from datasets.registry import DATASETS
from tests.trainables.models.model_cases import LARGE
from tests.trainables.small_trials import finish
from trainables.config import resolve
from trainables.registry import MODELS, WORKLOADS
from trainables.trainable import VisionTrainable
from trainables.trial.spec import TrialSpec

SMALL = {"training.epochs": 1, "dataset.limit_train": 24, "dataset.limit_eval": 16, "optimizer.lr": 0.001}


def trainable(name: str) -> type[VisionTrainable]:
    module, _, attribute = WORKLOADS[name][0].partition(":")
    return getattr(importlib.import_module(module), attribute)


def folder_of_noise(root: Path) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    for name in ("cat", "dog", "emu"):
        (root / name).mkdir(parents=True)
        for i in range(20):
            Image.fromarray(generator.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(root / name / f"{i}.png")
    return {"dataset.path": str(root), "dataset.image_size": 16}


# data set: what makes a small one, with the settings that read it
AT_HAND: dict[str, Callable[[Path], dict[str, Any]]] = {"digits": lambda root: {}, "image_folder": folder_of_noise}


def test_the_registry_of_workloads_is_not_empty() -> None:
    assert WORKLOADS


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_is_a_trainable_whose_defaults_resolve(name: str) -> None:
    owner = trainable(name)
    assert issubclass(owner, VisionTrainable)
    assert WORKLOADS[name][1]
    if name == "own":
        assert owner.defaults() == {}
        return
    assert owner.dataset in DATASETS
    assert owner.model in MODELS
    config = resolve(owner.defaults())
    assert (config.dataset.name, config.model.name) == (owner.dataset, owner.model)


def test_no_two_workloads_are_the_same() -> None:
    assert len({target for target, _ in WORKLOADS.values()}) == len(WORKLOADS)
    assert len({description for _, description in WORKLOADS.values()}) == len(WORKLOADS)


def by_size(name: str) -> Any:
    """A workload with a large network is of the matrix."""
    return pytest.param(name, marks=pytest.mark.matrix) if trainable(name).model in LARGE else name


@pytest.mark.parametrize("name", [by_size(name) for name in WORKLOADS if trainable(name).dataset in AT_HAND])
def test_a_workload_whose_data_is_at_hand_trains_and_verifies(name: str, tmp_path: Path) -> None:
    owner = trainable(name)
    config = resolve(owner.defaults(), AT_HAND[owner.dataset](tmp_path / "data"), SMALL)
    prepared = prepare(config.dataset, cache_dir=tmp_path / "cache")
    spec = TrialSpec(
        trial="0123456789ab",
        cell="baseline",
        seed=0,
        config=config.model_dump(mode="json"),
        dataset_file=str(prepared.path),
        fingerprint=prepared.info.fingerprint,
        directory=str(tmp_path / "run"),
    )
    outcome = finish(spec)
    assert (outcome.status, outcome.verified) == ("finished", True)
    assert outcome.predictions is not None
    assert len(outcome.predictions) == sum(prepared.info.counts["test"])
