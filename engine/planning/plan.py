"""A study becomes a plan: every cell resolved and checked, every trial with its key, every fault at once.

Nothing here starts Ray. The data sets are decoded (or found in the cache), because a trial's identity holds their
content, and each network is built once on the meta device, because only that shows whether its layers exist.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from analysis.records.run_directory import RunDirectory
from core.component import did_you_mean
from core.errors import PlanError
from core.metrics import counterpart, maximised
from datasets.base import DataError, DatasetInfo
from datasets.cache.cache import Prepared, prepare
from engine.planning.config_checks import (
    draws,
    inspect_faults,
    meta_network,
    metric_faults,
    setting_faults,
    varied_faults,
)
from engine.planning.run_options import Options, apply
from search_spaces.designs import Cell, Comparison, leave_one_out, step_cell
from search_spaces.study import AblationStudy, AnyStudy, SearchStudy, StudyError
from trainables.config import UNCOUNTED, ConfigError, TrialConfig, resolve
from trainables.registry import WORKLOADS
from trainables.trial.trial import TrialSpec
from trainables.trial_key import code_version, content_key, trial_key

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PlannedCell:
    """A cell as it will run: the cell it is identical to, or why it cannot run, where either holds."""

    cell: Cell
    config: TrialConfig | None
    identical_to: str | None = None
    invalid: str | None = None
    reference: str | None = None

    @property
    def runs(self) -> bool:
        return self.config is not None and self.identical_to is None and self.invalid is None


class Workbench:
    """Turns dotted settings into trials of one study: resolves, checks, prepares each data set once."""

    def __init__(self, study: AnyStudy, options: Options) -> None:
        if study.workload not in WORKLOADS:
            raise PlanError([f"workload {study.workload!r} is unknown; {did_you_mean(study.workload, WORKLOADS)}"])
        self.study, self.options = study, options
        self.known: dict[str, str] = {}
        """by content key, the trial that other code began under a key of its own, and that is the same trial"""
        self._prepared: dict[str, Prepared | DataError] = {}
        self._networks: dict[str, tuple[nn.Module | None, list[str]]] = {}

    @cached_property
    def trainable(self) -> type:
        """The workload's Ray Trainable class."""
        module, _, name = WORKLOADS[self.study.workload][0].partition(":")
        return getattr(importlib.import_module(module), name)

    @property
    def scheduled(self) -> bool:
        """Whether a trial scheduler may stop a trial after any epoch, where its checkpoint then has to be."""
        return isinstance(self.study, SearchStudy) and self.study.trial_scheduler.name != "none"

    @cached_property
    def population(self) -> str | None:
        """What a trial of a population is, beside its own configuration: how the population is made and bred."""
        if self.study.population is None:
            return None
        parts = {"space", "samples", "sampler", "trial_scheduler", "enqueue", "metric", "epochs"}
        return self.study.model_dump_json(include=parts)

    def config(self, settings: Mapping[str, Any]) -> TrialConfig:
        """A cell's or a sample's configuration; `--epochs` has the last word."""
        forced = {"training.epochs": self.options.epochs} if self.options.epochs else {}
        budget = {"training.epochs": self.study.epochs}
        return resolve(self.trainable.defaults(), budget, self.study.baseline, settings, forced)  # type: ignore[attr-defined]

    def data(self, config: TrialConfig) -> Prepared:
        """The configuration's data set, decoded at most once; raises DataError again on every call that meets it."""
        key = config.dataset.model_dump_json()
        if key not in self._prepared:
            try:
                self._prepared[key] = prepare(
                    config.dataset, _path(self.options.data_root), _path(self.options.cache_dir)
                )
            except DataError as error:
                self._prepared[key] = error
        found = self._prepared[key]
        if isinstance(found, DataError):
            raise found
        return found

    def faults(self, config: TrialConfig) -> list[str]:
        """What keeps this configuration from running: its data, its network."""
        try:
            prepared = self.data(config)
        except DataError as error:
            return error.faults
        drawn = inspect_faults(self.study, config, prepared.path)
        return self._network(config, prepared.info)[1] + setting_faults(config, prepared.info) + drawn

    def network(self, config: TrialConfig) -> "nn.Module | None":
        """The configuration's network on the meta device, where its tensors hold nothing; None where it cannot be."""
        return self._network(config, self.data(config).info)[0]

    def _network(self, config: TrialConfig, info: DatasetInfo) -> "tuple[nn.Module | None, list[str]]":
        key = f"{config.model.model_dump_json()} {config.loss.task} {info.input_shape} {info.classes} {info.n_points}"
        if key not in self._networks:
            self._networks[key] = meta_network(config, info)
        return self._networks[key]

    def content_key(self, config: TrialConfig, seed: int) -> str:
        """What a trial is, whichever code computes it."""
        return content_key(config, seed, self.data(config).info, self.population)

    def key(self, config: TrialConfig, seed: int) -> str:
        """The key that a trial has in the records."""
        known = self.known.get(self.content_key(config, seed)) if self.known else None
        return known or trial_key(config, seed, self.data(config).info, self.population)

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
            checkpoint_seconds=0.0 if self.scheduled else self.options.checkpoint_every,
        )


@dataclass(frozen=True)
class Plan:
    asked: AnyStudy
    """the study before the options changed it: a later command applies its own to this one"""
    study: AnyStudy
    options: Options
    bench: Workbench
    directory: Path
    baseline: TrialConfig
    cells: tuple[PlannedCell, ...]
    comparisons: tuple[Comparison, ...]
    trials: tuple[TrialSpec, ...]
    """Seed by seed, so that a run cut short leaves complete pairs; a search's trials are proposed while it runs."""

    @property
    def fuse(self) -> int | Literal["auto"]:
        """How many trials of one kind are trained as one program; 1 for none."""
        asked = self.options.fuse or ("auto" if isinstance(self.study, SearchStudy) else "off")
        return asked if isinstance(asked, int) else "auto" if asked == "auto" else 1

    @property
    def invalid(self) -> list[PlannedCell]:
        return [cell for cell in self.cells if cell.invalid]

    @cached_property
    def in_progress(self) -> dict[str, PlannedCell]:
        """The cells that a path's next step is chosen of, by the factor that each turns on."""
        study = self.study
        if not isinstance(study, AblationStudy) or study.design != "path":
            return {}
        names = {step_cell(len(study.steps) + 1, factor.name): factor.name for factor in study.factors}
        return {names[item.cell.name]: item for item in self.cells if item.cell.name in names}

    @property
    def candidates(self) -> dict[str, PlannedCell]:
        """Those of them that can be run."""
        return {factor: item for factor, item in self.in_progress.items() if not item.invalid}

    @property
    def ahead(self) -> int:
        """Trials of a path's later steps, at most; none where the step in progress has nothing to choose from."""
        return self.study.ahead if isinstance(self.study, AblationStudy) and self.candidates else 0


def make_plan(study: AnyStudy, options: Options, directory: Path, bench: Workbench | None = None) -> Plan:
    """The study under these options, to be run in `directory` (absolute); PlanError lists every fault.

    `bench` is that of an earlier plan, where the two differ in their cells only.
    """
    asked = study
    try:
        study = apply(asked, options)
    except StudyError as error:
        raise PlanError(error.faults) from None
    bench = bench or Workbench(study, options)
    cells: list[PlannedCell] = []
    comparisons: tuple[Comparison, ...] = ()
    if isinstance(study, SearchStudy):
        baseline, faults = _checked_search(study, bench)
    else:
        layout = study.layout()
        cells, faults = _checked_cells(study, bench, layout.cells)
        baseline, comparisons = cells[0].config, layout.comparisons
        faults += _path_faults(study, bench, cells) if study.design == "path" else []
    if baseline is not None:
        faults += metric_faults(study, baseline) + varied_faults(study)
    if isinstance(options.fuse, int) and study.advised:
        faults.append(
            f"--fuse {options.fuse}: {study.advised} hears of each trial before it decides on others; allowed: off, or "
            f"--sampler random, qmc or grid without a trial scheduler"
        )
    if faults or baseline is None:
        raise PlanError(faults)
    trials = [
        bench.spec(cell.cell.name, cell.config, seed, directory)
        for seed in study.replicates
        for cell in cells
        if cell.runs and cell.config is not None
    ]
    return Plan(asked, study, options, bench, directory, baseline, tuple(cells), comparisons, tuple(trials))


def _checked_cells(
    study: AblationStudy, bench: Workbench, cells: tuple[Cell, ...]
) -> tuple[list[PlannedCell], list[str]]:
    """Cells with what is wrong: a fault of the first cell is the study's, one of another makes only that cell invalid.

    Settings that cannot be are always faults of the study; what cannot be had or placed is a matter of the cell.
    """
    planned: list[PlannedCell] = []
    faults: list[str] = []
    names: dict[str, str] = {}
    for cell in cells:
        reference = study.references.get(cell.name)
        try:
            config = bench.config(cell.settings)
        except ConfigError as error:
            if planned and study.design == "path":  # a candidate that cannot be is none; where it ends is checked apart
                planned.append(PlannedCell(cell, None, invalid="; ".join(error.faults), reference=reference))
                continue
            faults += [f"{cell.name}: {fault}" if planned else fault for fault in error.faults if fault not in faults]
            planned.append(PlannedCell(cell, None, reference=reference))
            continue
        if config.training.patience:
            faults.append(
                f"{cell.name}: training.patience: {config.training.patience} ends trials early, and an ablation gives "
                f"every cell its whole budget; allowed: 0"
            )
        found = bench.faults(config)
        if found and cell is cells[0]:
            faults += found
        identical = names.setdefault(config.model_dump_json(exclude=UNCOUNTED), cell.name)
        planned.append(
            PlannedCell(
                cell,
                config,
                identical_to=None if identical == cell.name else identical,
                invalid="; ".join(found) or None,
                reference=reference,
            )
        )
    return planned, faults


def _path_faults(study: AblationStudy, bench: Workbench, cells: list[PlannedCell]) -> list[str]:
    """What keeps a path from its end, where every factor is on, and from choosing its steps by validation."""
    try:
        end = bench.config(leave_one_out(study.factors).cells[0].settings)
        faults = [f"the end of the path: {fault}" for fault in bench.faults(end)]
    except ConfigError as error:
        return [f"the end of the path: {fault}" for fault in error.faults]
    if any(config.dataset.train_on_validation for config in (end, *(item.config for item in cells)) if config):
        faults.append("dataset.train_on_validation: true, so validation cannot choose a path's steps; allowed: false")
    return faults


def _checked_search(study: SearchStudy, bench: Workbench, draws: int = 64) -> tuple[TrialConfig | None, list[str]]:
    """Resolve the baseline and `draws` random points: a wrong key, bound or condition shows before Ray starts."""
    from engine.search.sampler import random_points

    faults: list[str] = []
    try:
        baseline = bench.config({})
        faults += bench.faults(baseline)
    except ConfigError as error:
        return None, error.faults
    for point in random_points(study.space, draws):
        try:
            config = bench.config(point)
            if not faults:
                faults += [f"space: {fault}" for fault in bench.faults(config)]
        except ConfigError as error:
            faults += [f"space: {fault}" for fault in error.faults]
        if faults:
            break
    return baseline, faults


def objective(study: AnyStudy) -> tuple[str, bool]:
    """(metric, maximise) that a search proposes and ranks by: the validation counterpart of its metric."""
    metric = counterpart(study.metric, "val")
    return metric, maximised(metric)


def objectives(study: SearchStudy) -> list[tuple[str, bool]]:
    """What a search proposes by: its objectives where it has any."""
    return [(metric, maximised(metric)) for metric in study.objectives] or [objective(study)]


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
