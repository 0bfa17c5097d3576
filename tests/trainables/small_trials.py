"""Trials of a fraction of a second: 96 digits, a network of a few thousand weights, three epochs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from datasets.base import Dataset
from datasets.cache.cache import Prepared, open_dataset, prepare
from datasets.sources.digits import Digits
from trainables.config import TrialConfig, resolve
from trainables.training.learner import Learner
from trainables.trial.spec import TrialSpec
from trainables.trial.trial import Trial

SMALL: dict[str, Any] = {
    "dataset.name": "digits",
    "dataset.limit_train": 96,
    "dataset.limit_eval": 64,
    "model.name": "small_cnn",
    "model.channels": [4, 8],
    "model.hidden": 16,
    "optimizer.lr": 0.1,
    "training.epochs": 3,
    "training.batch_size": 32,
}

# Everything that draws or remembers, so that whatever a resumption forgets shows.
EVERYTHING: dict[str, Any] = {
    "model.bn_after": ["conv1", "fc1"],
    "model.dropout_after": ["relu_fc1"],
    "loss.name": "class_balanced",
    "sampler.name": "weighted",
    "augmentation.rotation": 15.0,
    "augmentation.translate": 0.15,
    "optimizer.name": "adam",
    "optimizer.lr": 0.01,
    "schedule.name": "cosine",
    "schedule.warmup": 0.3,
}


@dataclass(frozen=True)
class Outcome:
    """What of a trial must be the same however it came about; seconds are left out."""

    rows: list[dict[str, Any]]
    status: str
    selected_epoch: int | None
    verified: bool
    predictions: pd.DataFrame | None

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, Outcome)
        mine, theirs = ((o.rows, o.status, o.selected_epoch, o.verified) for o in (self, other))
        return mine == theirs and _same(self.predictions, other.predictions)


def _same(mine: pd.DataFrame | None, theirs: pd.DataFrame | None) -> bool:
    return theirs is None if mine is None else theirs is not None and mine.equals(theirs)


@cache
def prepared_digits() -> Prepared:
    return prepare(Digits())


def small_config(settings: Mapping[str, Any] | None = None) -> TrialConfig:
    return resolve(SMALL, settings or {})


def small_spec(folder: Path, settings: Mapping[str, Any] | None = None, seed: int = 0) -> TrialSpec:
    digits = prepared_digits()
    return TrialSpec(
        trial="0123456789ab",
        cell="baseline",
        seed=seed,
        config=small_config(settings).model_dump(mode="json"),
        dataset_file=str(digits.path),
        fingerprint=digits.info.fingerprint,
        directory=str(folder),
    )


def small_dataset(settings: Mapping[str, Any] | None = None) -> Dataset:
    return open_dataset(small_config(settings).dataset, prepared_digits().path)


def small_learner(settings: Mapping[str, Any] | None = None, seed: int = 0) -> Learner:
    return Learner(small_config(settings), small_dataset(settings), seed, torch.device("cpu"))


def finish(spec: TrialSpec) -> Outcome:
    """The trial from wherever its checkpoints stand to its end; `rows` are all of its epochs."""
    trial = Trial(spec)
    rows: list[dict[str, Any]] = []
    end = None
    while end is None:
        result = trial.advance()
        rows, end = rows + result["rows"], result["end"]
    file = Path(spec.directory) / "predictions" / f"{spec.trial}.parquet"
    return Outcome(
        [timeless(row) for row in rows],
        end["status"],
        end["selected_epoch"],
        end["verified"],
        pd.read_parquet(file) if file.exists() else None,
    )


def timeless(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "seconds"}


def run_epochs(spec: TrialSpec, epochs: int) -> None:
    """So many more epochs of a trial that is then gone, but for its files."""
    trial = Trial(spec)
    last = trial.learner.epoch + epochs
    while trial.learner.epoch < last:
        trial.advance()
