"""Checks a configuration or metric before anything runs; one sentence per fault."""

import math
import os
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from rich.filesize import decimal

from core.component import did_you_mean
from core.errors import first_line
from core.metrics import CURVES, split_of
from core.user_code.references import UserCodeError
from core.value_words import shown
from datasets.augmentation.settings import point_faults
from datasets.base import DataError
from datasets.cache.cache import open_dataset
from datasets.lookup import find_example
from search_spaces.designs import counted
from search_spaces.study import MOST, AnyStudy, SearchStudy
from trainables.config import TrialConfig, counts
from trainables.metrics.field import FIELD
from trainables.models.libraries.models import LibraryModel
from trainables.registry import LOSSES

if TYPE_CHECKING:
    from torch import nn

    from datasets.base import DatasetInfo, DatasetSettings
    from trainables.models.base import Model


# A first pass on the meta device makes torch import its compiler and sympy, three seconds of a process: a small network
# is tried with real numbers instead.
WIDE = 4096  # a setting of a network that is named where the network is too large
WIDEST = 2**31  # beyond, products of two overflow
SMALL_WEIGHTS, SMALL_IMAGE = 12_000_000, 3 * 128 * 128


def meta_network(config: TrialConfig, info: "DatasetInfo") -> "tuple[nn.Module | None, list[str]]":
    """(the network on the meta device or None, faults): weights that are missing, layers that do not exist."""
    import torch

    from trainables.models.build import build_network
    from trainables.models.libraries.weightless import without_memory
    from trainables.models.placement import PlacementError

    if missing := config.model.missing_weights():
        return None, [missing]

    def build() -> "nn.Module":
        return build_network(config, info, seed=0)

    try:
        # Loading weights only checks that they fit; torch warns of each that it does nothing on the meta device.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*copying from a non-meta parameter")
            # A network of the user's own may compute with values, which the meta device has not.
            own = bool(config.model.own_references)
            network = build() if own else without_memory(build)
            if too_large := weight_fault(config, network):
                return network, [too_large]
            tried = build() if not own and _is_small(network, info) else network
            tried.eval()(torch.zeros(2, *info.input_shape, device=next(tried.parameters()).device))
    except PlacementError as error:
        return None, error.faults
    except UserCodeError as error:
        return None, [f"model.name: {fault}" for fault in error.faults]
    except ValueError as error:
        of_library = type(error) is ValueError and isinstance(config.model, LibraryModel)
        return None, [_unfit(config.model, info, error) if of_library else str(error)]
    except Exception as error:  # whatever a network raises for an input shape it cannot take
        return None, [_unfit(config.model, info, error)]
    return network, []


def range_faults(config: TrialConfig) -> Iterator[str]:
    """Numbers beyond all that can be trained: epochs, and widths of a network of ours."""
    if config.training.epochs > MOST:
        yield f"training.epochs: {shown(config.training.epochs)} is out of range; allowed: at most {MOST}"
    for key, value in {} if config.model.own_references else config.model:
        if _largest(value) > WIDEST:
            yield f"model.{key}: {shown(value)} is out of range; allowed: numbers up to {WIDEST:,}"


def weight_fault(config: TrialConfig, network: "nn.Module") -> str | None:
    """A network whose weights and gradients this machine's memory cannot hold; None for one that may fit."""
    weights = sum(value.numel() for value in network.parameters())
    needed, there = 8 * weights, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed <= there:
        return None
    wide = [f"model.{key} = {shown(value)}" for key, value in config.model if _largest(value) > WIDE]
    what = f"{counted(weights)} weights, which take {decimal(needed)} with their gradients"
    return f"{', '.join(wide) or f'model.name: {config.model.name}'}: {what}; this machine has {decimal(there)}"


def _largest(value: object) -> float:
    """The largest number in a setting's value."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else []
    return max([value if isinstance(value, int | float) else 0, *map(_largest, parts)])


def _unfit(model: "Model", info: "DatasetInfo", error: Exception) -> str:
    """A network that cannot take the images, with the sizes that it can where those are found."""
    from trainables.models.libraries.image_sizes import size_fault

    classes = len(info.classes)
    told = size_fault(model, info.input_shape, classes) if isinstance(model, LibraryModel) else None
    return told or f"model.name: {model.name} cannot take pictures of {info.input_shape}: {first_line(error)}"


def batch_norm_faults(network: "nn.Module | None", info: "DatasetInfo") -> list[str]:
    """A training split too small for a batch norm, which takes its statistics over a batch."""
    from torch.nn.modules.batchnorm import _BatchNorm

    held = sum(info.counts["train"])
    if held > 1 or network is None or not any(isinstance(module, _BatchNorm) for module in network.modules()):
        return []
    return [f"the training split of {info.name} holds {held} image: a batch norm needs two and more in a batch"]


def setting_faults(config: TrialConfig, info: "DatasetInfo") -> list[str]:
    """Settings that contradict each other, or have no effect on these images."""
    return [*_task_faults(config, info), *_selection_faults(config), *config.augmentation.faults(info.image_shape[0])]


def _task_faults(config: TrialConfig, info: "DatasetInfo") -> Iterator[str]:
    loss, model = config.loss, config.model
    wanted = "classification" if not model.landmarks else "faces" if model.classifies else "landmarks"
    if loss.task != wanted:
        fitting = [name for name, kind in LOSSES.items() if kind.task == wanted]
        yield f"loss.name: {loss.name} does not train what {model.name} gives; {did_you_mean(loss.name, fitting)}"
    if config.training.mixup and loss.task != "classification":
        yield f"training.mixup: {config.training.mixup} has no meaning for landmarks: a mixed target is undefined"
    if info.n_points and config.augmentation.extra:
        yield f"augmentation.extra: {config.augmentation.extra} moves no landmarks; allowed for sets without"
    if info.n_points:
        yield from point_faults(config.augmentation, info.flip_pairs)


def _selection_faults(config: TrialConfig) -> Iterator[str]:
    selection, training = config.selection, config.training
    if selection.rule == "epoch" and not 1 <= selection.epoch <= training.epochs:
        yield f"selection.epoch: {selection.epoch} is outside 1 … {training.epochs}, the epochs of the trial"
    if training.patience and selection.rule != "best":
        waits = f"training.patience: {training.patience} waits for a better selection metric"
        yield f"{waits}, and selection.rule is {selection.rule}; allowed with it: best"
    if config.dataset.train_on_validation and selection.rule == "best":
        yield "dataset.train_on_validation: true, so validation cannot choose; selection.rule must be last or epoch"
    if selection.rule == "best" and split_of(selection.metric)[1] not in [*_recorded(config), *_asked(config)]:
        unknown = f"selection.metric: {selection.metric} is not recorded for {config.loss.task}"
        yield f"{unknown}; allowed: val_reference, val_loss"


def draws(study: AnyStudy, config: TrialConfig, seed: int) -> bool:
    """Whether a trial writes thumbnails and feature maps: as set, else the first seed of each cell of an ablation.

    A search may have thousands of trials; its winners are inspected when `confirm` trains them again.
    """
    if config.inspect.pictures is not None:
        return config.inspect.pictures
    return study.kind == "ablation" and seed == study.replicates[0]


def _is_small(network: "nn.Module", info: "DatasetInfo") -> bool:
    """Whether a pass of two images on the CPU takes some tens of milliseconds."""
    weights = sum(value.numel() for value in network.parameters())
    return weights <= SMALL_WEIGHTS and math.prod(info.input_shape) <= SMALL_IMAGE


def inspect_faults(study: AnyStudy, config: TrialConfig, cache_file: Path) -> list[str]:
    """An image to inspect that the data set lacks, or that no trial would draw."""
    image = config.inspect.image
    if not image:
        return []
    if not draws(study, config, study.replicates[0]):
        return [f"inspect.image: {image!r} is drawn by no trial; with it, give inspect.pictures=true"]
    return _name_faults(config.dataset, cache_file, image)


@lru_cache(maxsize=64)
def _name_faults(settings: "DatasetSettings", cache_file: Path, image: str) -> list[str]:
    """Cached for all cells: looking through the names of 27,000 images takes tens of milliseconds."""
    try:
        find_example(open_dataset(settings, cache_file), image)
    except DataError as error:
        return [f"inspect.image: {fault}" for fault in error.faults]
    return []


def varied_faults(study: AnyStudy) -> list[str]:
    """Settings that a study varies although they change no result."""
    return [
        f"{key}: varied by the study, but it changes no number; give it to all trials by --set {key}=VALUE"
        for key in sorted(study.varied)
        if not counts(key) or key.partition(".")[0] == "metrics"
    ]


def _recorded(config: TrialConfig) -> tuple[str, ...]:
    """The metrics recorded on every split after every epoch, asked or not."""
    from trainables.tasks.registry import TASKS

    return TASKS[config.loss.task].METRICS


def _asked(config: TrialConfig) -> list[str]:
    """Those of `metrics`, recorded on validation and test."""
    return [metric.column for metric in config.metrics]


def whole_split_faults(config: TrialConfig, info: "DatasetInfo") -> Iterator[str]:
    """Metrics of `metrics` that cannot be recorded; a function of the user's is tried on made scores."""
    from trainables.tasks.classification import Classification
    from trainables.tasks.registry import TASKS

    if not config.metrics:
        return
    if not issubclass(TASKS[config.loss.task], Classification):
        yield f"metrics: are of a classifier's scores, and {config.loss.name} trains {config.loss.task}; allowed: []"
        return
    for metric in config.metrics:
        if metric.column in _recorded(config):
            yield f"metrics: {metric.name}: the name {metric.column!r} is taken; give another by `as`"
        elif fault := metric.fault(info.counts):
            yield fault


def metric_faults(study: AnyStudy, baseline: TrialConfig) -> Iterator[str]:
    """Metrics that are not recorded, or whose meaning the study's own factors change."""
    names = [*_recorded(baseline), *_asked(baseline)]
    known = [f"{split}_{name}" for split in ("test", "val") for name in names]
    known += [*(f"train_{name}" for name in _recorded(baseline)), *CURVES]
    for metric in (study.metric, *study.further_metrics):
        if metric not in known:
            add = f"; `metrics: [{split_of(metric)[1]}]` records it" if split_of(metric)[1] in FIELD else ""
            yield f"metric: {metric!r} is not recorded; {did_you_mean(metric, known)}{add}"
    if isinstance(study, SearchStudy):
        allowed = [*(f"val_{name}" for name in names), "seconds"]
        for metric in study.objectives:
            if metric not in allowed:
                yield f"objectives: {metric!r} may not be one; {did_you_mean(metric, allowed)}"
        if study.objectives == ("seconds",):
            yield "objectives: 'seconds' alone would find the worst network that is fast; add a val_ metric"
    if study.metric.endswith("_loss") and any(key.startswith("loss.") for key in study.varied):
        yield f"metric: {study.metric} is the trained criterion, which this study varies; use test_reference"
