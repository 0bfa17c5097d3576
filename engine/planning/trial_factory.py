"""Makes trials from dotted settings: resolves them, checks them against data and network, computes their keys."""

import importlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.records.run_directory import RunDirectory
from core.component import did_you_mean
from core.errors import PlanError
from core.user_code.references import permitted
from datasets.base import DataError, DatasetInfo
from datasets.cache.cache import Prepared, prepare
from engine.planning.config_checks import (
    batch_norm_faults,
    draws,
    inspect_faults,
    meta_network,
    range_faults,
    setting_faults,
    weight_fault,
    whole_split_faults,
)
from engine.planning.own_code import copies
from engine.planning.run_options import Options
from search_spaces.study import AnyStudy
from trainables.config import ConfigError, TrialConfig, resolve
from trainables.registry import WORKLOADS
from trainables.trial.spec import TrialSpec
from trainables.trial_key import code_version, configuration_key, content_key, key_of

if TYPE_CHECKING:
    from torch import nn

    from engine.planning.first_batch import FirstBatch


def trainable_of(workload: str) -> type:
    """The Ray Trainable class of a workload."""
    module, _, name = WORKLOADS[workload][0].partition(":")
    return getattr(importlib.import_module(module), name)


TRIED = 8  # sets of arguments of the same objects of the user's own


class TrialFactory:
    """Turns dotted settings into trials of one study: resolves, checks, prepares each data set once."""

    def __init__(self, study: AnyStudy, options: Options) -> None:
        if study.workload not in WORKLOADS:
            raise PlanError(f"workload {study.workload!r} is unknown; {did_you_mean(study.workload, WORKLOADS)}")
        self.study, self.options = study, options
        self.known: dict[str, str] = {}
        """by content key, the key of the same trial as begun by another code version"""
        self._prepared: dict[str, Prepared | DataError] = {}
        self._tried: dict[str, FirstBatch] = {}
        self._metrics: dict[str, list[str]] = {}
        self._metric_remarks: list[str] = []
        self._networks: dict[str, tuple[nn.Module | None, list[str]]] = {}

    @cached_property
    def trainable(self) -> type:
        """The workload's Ray Trainable class."""
        return trainable_of(self.study.workload)

    @cached_property
    def population(self) -> str | None:
        """JSON of what a population's trial depends on beside its configuration; None without a population."""
        if self.study.population is None:
            return None
        parts = {"space", "samples", "sampler", "trial_scheduler", "enqueue", "metric", "epochs"}
        return self.study.model_dump_json(include=parts)

    def config(self, settings: Mapping[str, Any]) -> TrialConfig:
        """A cell's or a sample's configuration; `--epochs` overrides all else."""
        forced = {"training.epochs": self.options.epochs} if self.options.epochs else {}
        budget = {"training.epochs": self.study.epochs}
        config = resolve(self.trainable.defaults(), budget, self.study.baseline, settings, forced)  # type: ignore[attr-defined]
        if beyond := list(range_faults(config)):
            raise ConfigError(beyond)
        return config

    def data(self, config: TrialConfig) -> Prepared:
        """The configuration's data set, decoded at most once; DataError on every call if that failed."""
        key = config.dataset.model_dump_json()
        if key not in self._prepared:
            try:
                self._prepared[key] = prepare(config.dataset, *self.options.places)
            except DataError as error:
                self._prepared[key] = error
        found = self._prepared[key]
        if isinstance(found, DataError):
            raise found
        return found

    def data_faults(self, config: TrialConfig) -> list[str]:
        """Why this configuration's data cannot be read, or lack the image that it asks for."""
        try:
            return inspect_faults(self.study, config, self.data(config).path)
        except DataError as error:
            return error.faults

    def faults(self, config: TrialConfig) -> list[str]:
        """Why this configuration cannot run: faults of its data, network and settings."""
        faults = self.data_faults(config)
        try:
            info = self.data(config).info
        except DataError:
            return faults
        network, unbuilt = self._network(config, info)
        found = unbuilt + batch_norm_faults(network, info) + setting_faults(config, info) + faults
        found += self._metric_faults(config, info)
        return found or (self._first_batch(config).faults if _own_parts(config) else [])

    def own_faults(self, config: TrialConfig) -> list[str]:
        """Those `faults` that are of `metrics`, the user's own code or a network far beyond this machine: they are the
        study's, in whatever cell.
        """
        if self.data_faults(config):
            return []
        info = self.data(config).info
        if wrong := self._metric_faults(config, info):
            return wrong
        network, unbuilt = self._network(config, info)
        if network is not None and (too_large := weight_fault(config, network)):
            return [too_large]
        if not _own_parts(config):
            return []
        own = unbuilt if config.model.own_references and network is None else []
        return own or (self._first_batch(config).faults if network is not None else [])

    @property
    def own_remarks(self) -> list[str]:
        """What cannot be promised of the user's own code that was tried so far."""
        remarks = [remark for tried in self._tried.values() for remark in tried.remarks]
        return list(dict.fromkeys([*remarks, *self._metric_remarks]))

    def _first_batch(self, config: TrialConfig) -> "FirstBatch":
        from engine.planning.first_batch import FirstBatch

        key = repr((_own_parts(config), self.data(config).path, config.loss.task, config.training.precision))
        if key not in self._tried:
            alike = [tried for tried in self._tried.values() if tried.config.own_references == config.own_references]
            if len(alike) >= TRIED:  # a space has more arguments than a plan can try
                return alike[0]
            # without metrics, which were tried by themselves, on all classes and not on a batch
            self._tried[key] = FirstBatch(config.model_copy(update={"metrics": ()}), self.data(config).path)
        return self._tried[key]

    def _metric_faults(self, config: TrialConfig, info: DatasetInfo) -> list[str]:
        """Why `metrics` cannot be recorded; each is tried once."""
        key = repr((config.metrics, config.loss.task, info.counts))
        if key not in self._metrics:
            self._metrics[key] = list(whole_split_faults(config, info))
            asked = () if self._metrics[key] else config.metrics
            self._metric_remarks += [remark for metric in asked if (remark := metric.remark(info.counts))]
        return self._metrics[key]

    def network(self, config: TrialConfig) -> "nn.Module | None":
        """The configuration's network on the meta device, without data; None if it cannot be built."""
        return self._network(config, self.data(config).info)[0]

    def _network(self, config: TrialConfig, info: DatasetInfo) -> "tuple[nn.Module | None, list[str]]":
        model = config.model.model_dump_json(exclude={"dropout_rate"})  # by which no layer differs
        key = f"{model} {config.loss.task} {info.input_shape} {info.classes} {info.n_points}"
        if key not in self._networks:
            self._networks[key] = meta_network(config, info)
        return self._networks[key]

    def content_key(self, config: TrialConfig, seed: int) -> str:
        """The part of a trial's key that does not depend on the code version."""
        return content_key(config, seed, self.data(config).info, self.population)

    def key(self, config: TrialConfig, seed: int) -> str:
        """The key that a trial has in the records."""
        content = self.content_key(config, seed)
        return self.known.get(content) or key_of(content, code_version(config))

    def cell(self, point: Mapping[str, Any]) -> str:
        """The name of a search's configuration; the same for every number of epochs, unless the search varies it."""
        return configuration_key(self.config(point), budget="training.epochs" in self.study.varied)

    def spec(self, cell: str, config: TrialConfig, seed: int, directory: Path) -> TrialSpec:
        prepared = self.data(config)
        return TrialSpec(
            trial=self.key(config, seed),
            code=code_version(config),
            cell=cell,
            seed=seed,
            config=config.model_dump(mode="json"),
            dataset_file=str(prepared.path),
            fingerprint=prepared.info.fingerprint,
            directory=str(directory),
            threads=self.options.threads,
            data_root=self.options.data_root,
            cache_dir=self.options.cache_dir,
            remote=RunDirectory(directory).remote,
            pictures=draws(self.study, config, seed),
            own_code=copies(RunDirectory(directory), self.options.folders),
            extensions=list(self.study.code),
            permitted=permitted(),
            checkpoint_seconds=0.0 if self.study.scheduled else self.options.checkpoint_seconds,
            stoppable=self.study.scheduled and self.study.population is None,
        )


def _own_parts(config: TrialConfig) -> dict[str, Any]:
    """The parts of a configuration that train by code of the user's own."""
    return {kind: part for kind, part in config if getattr(part, "own_references", ())}
