"""The kinds of trials that several benchmarks train."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets.base import Dataset
from datasets.cache.cache import open_or_prepare, prepare
from trainables.config import TrialConfig, resolve

SIZE, ROTATION = 48, 15.0  # pixels, degrees
WIDE, NARROW = (32, 64, 128, 128), (8, 16, 32, 32)


def small_cnn(root: Path, channels: Sequence[int], precision: str, size: int, colours: int, **more: Any) -> TrialConfig:
    settings = {
        "dataset.name": "image_folder",
        "dataset.path": str(root),
        "dataset.image_size": size,
        "dataset.channels": colours,
        "model.name": "small_cnn",
        "model.channels": list(channels),
        "model.hidden": 128,
        "optimizer.lr": 0.02,
        "optimizer.momentum": 0.9,
        "augmentation.flip": True,
        "augmentation.rotation": ROTATION,
        "training.batch_size": 64,
        "training.precision": precision,
    }
    return resolve(settings, more)


def stage3(root: Path) -> TrialConfig:
    settings = {"dataset.name": "faces", "dataset.path": str(root), "model.name": "stage3", "loss.name": "face"}
    return resolve(settings, {"optimizer.name": "adam", "training.batch_size": 64})


def opened(config: TrialConfig, cache: Path) -> Dataset:
    """The data set as a trial opens it."""
    return open_or_prepare(config.dataset, prepare(config.dataset, None, cache).path)
