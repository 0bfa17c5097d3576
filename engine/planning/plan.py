"""Turns a study into a plan: resolves and checks every cell, computes trial keys, reports every fault at once.

Nothing here starts Ray. Data sets are decoded (or found in the cache), because a trial's key includes their content,
and each network is built once on the meta device to check that its layers exist.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from core.errors import PlanError
from core.metrics import counterpart, maximised
from core.yaml_text import MOST_FAULTS
from engine.planning.config_checks import metric_faults, varied_faults
from engine.planning.effect_checks import idle_in_ablation
from engine.planning.own_code import code_of, twins
from engine.planning.run_options import Options, apply
from engine.planning.search_checks import checked_search
from engine.planning.trial_factory import TrialFactory
from search_spaces.designs import DESIGNS, Cell, Comparison, step_cell
from search_spaces.study import AblationStudy, AnyStudy, SearchStudy, StudyError
from trainables.config import UNCOUNTED, ConfigError, TrialConfig
from trainables.trial.spec import TrialSpec


@dataclass(frozen=True)
class PlannedCell:
    """A cell with its configuration; or with the cell it is identical to, or why it is invalid."""

    cell: Cell
    config: TrialConfig | None
    identical_to: str | None = None
    faults: tuple[str, ...] = ()
    """why it is invalid"""
    reference: str | None = None

    @property
    def record(self) -> dict[str, Any]:
        """The cell as study.json and `plan --json` hold it."""
        own = {name: getattr(self, name) for name in ("reference", "identical_to", "invalid")}
        return {"name": self.cell.name, "levels": self.cell.levels, **own}

    @property
    def invalid(self) -> str | None:
        return "; ".join(self.faults) or None

    @property
    def runs(self) -> bool:
        return self.config is not None and self.identical_to is None and self.invalid is None


@dataclass(frozen=True)
class Plan:
    asked: AnyStudy
    """the study before the options were applied: a later command applies its own options to it"""
    study: AnyStudy
    options: Options
    factory: TrialFactory
    directory: Path
    baseline: TrialConfig
    cells: tuple[PlannedCell, ...]
    comparisons: tuple[Comparison, ...]
    trials: tuple[TrialSpec, ...]
    """Seed by seed, so that an interrupted run leaves complete pairs; empty for a search, which proposes its trials."""

    @property
    def fuse(self) -> int | Literal["auto"]:
        """How many compatible trials are trained as one program; 1: none are fused."""
        asked = self.options.fuse or 1
        return asked if isinstance(asked, int) else "auto" if asked == "auto" else 1

    @cached_property
    def code(self) -> dict[str, bytes]:
        """The user's own files that the study's references lead to, by their path below the run's code/."""
        return code_of(self.study)

    @property
    def invalid(self) -> list[PlannedCell]:
        return [cell for cell in self.cells if cell.invalid]

    @cached_property
    def in_progress(self) -> dict[str, PlannedCell]:
        """By factor, the cells from which a path's next step is chosen; each turns that factor on."""
        study = self.study
        if not isinstance(study, AblationStudy) or not study.is_path:
            return {}
        names = {step_cell(len(study.steps) + 1, factor.name): factor.name for factor in study.factors}
        return {names[item.cell.name]: item for item in self.cells if item.cell.name in names}

    @property
    def candidates(self) -> dict[str, PlannedCell]:
        """The valid cells of `in_progress`."""
        return {factor: item for factor, item in self.in_progress.items() if not item.invalid}

    @property
    def ahead(self) -> int:
        """Greatest number of trials of a path's later steps; 0 if the step in progress has no candidates."""
        return self.study.ahead if isinstance(self.study, AblationStudy) and self.candidates else 0


def make_plan(
    study: AnyStudy,
    options: Options,
    directory: Path,
    factory: TrialFactory | None = None,
    counting: Collection[str] | None = None,
) -> Plan:
    """The study under these options, to be run in `directory` (absolute); PlanError lists every fault.

    `factory`: that of an earlier plan, if the two differ only in their cells. `counting`: the settings that must take
    effect, where a run goes on that was planned before; None: all of the study's.
    """
    asked = study
    try:
        study = apply(asked, options)
    except StudyError as error:
        raise PlanError(error.faults) from None
    factory = factory or TrialFactory(study, options)
    cells: list[PlannedCell] = []
    comparisons: tuple[Comparison, ...] = ()
    if isinstance(study, SearchStudy):
        baseline, faults = checked_search(study, factory, counting)
    else:
        layout = study.layout()
        cells, faults = _checked_cells(study, factory, layout.cells)
        baseline, comparisons = cells[0].config, layout.comparisons
        resolved = [(item.cell, item.config) for item in cells if item.config]
        if study.is_path:
            end, found = _path_end(study, factory, cells)
            faults, resolved = faults + found, [*resolved, *end]
        if not faults:
            faults += idle_in_ablation(study, resolved, counting)
    if baseline is not None:
        faults += [*metric_faults(study, baseline), *varied_faults(study)]
    if isinstance(options.fuse, int) and study.adaptive:
        faults.append(
            f"--fuse {options.fuse}: {study.adaptive} hears of each trial before it decides on others; allowed: off, "
            f"or --sampler random, qmc or grid without a trial scheduler"
        )
    if not faults and options.folders:
        faults += twins(study)
    if faults or baseline is None:
        raise PlanError(faults)
    trials = [
        factory.spec(cell.cell.name, cell.config, seed, directory)
        for seed in study.replicates
        for cell in cells
        if cell.runs and cell.config is not None
    ]
    return Plan(asked, study, options, factory, directory, baseline, tuple(cells), comparisons, tuple(trials))


def _checked_cells(
    study: AblationStudy, factory: TrialFactory, cells: tuple[Cell, ...]
) -> tuple[list[PlannedCell], list[str]]:
    """(cells, faults of the study): what cannot be built or trained makes only its cell invalid, be it the first.

    Settings that do not resolve are faults of the study in any cell, except in a path's candidates; so are data that
    the first cell cannot read.
    """
    planned: list[PlannedCell] = []
    faults: list[str] = []
    names: dict[str, str] = {}
    for cell in cells:
        if len(faults) >= MOST_FAULTS:
            break
        reference = study.references.get(cell.name)
        try:
            config = factory.config(cell.settings)
        except ConfigError as error:
            if planned and study.is_path:  # so it is no candidate; `_path_end` checks the path's end
                planned.append(PlannedCell(cell, None, faults=tuple(error.faults), reference=reference))
                continue
            faults += [f"{cell.name}: {fault}" if planned else fault for fault in error.faults if fault not in faults]
            planned.append(PlannedCell(cell, None, reference=reference))
            continue
        if config.training.patience:
            faults.append(
                f"{cell.name}: training.patience: {config.training.patience} ends trials early, and an ablation gives "
                f"every cell its whole budget; allowed: 0"
            )
        found = factory.faults(config)
        if not (planned and study.is_path):
            own = factory.own_faults(config)
            faults += [f"{cell.name}: {fault}" if planned else fault for fault in own if fault not in faults]
        if found and cell is cells[0]:
            faults += factory.data_faults(config)
        identical = names.setdefault(config.model_dump_json(exclude=UNCOUNTED), cell.name)
        planned.append(
            PlannedCell(
                cell,
                config,
                identical_to=None if identical == cell.name else identical,
                faults=tuple(found),
                reference=reference,
            )
        )
    return planned, faults


def _path_end(
    study: AblationStudy, factory: TrialFactory, cells: list[PlannedCell]
) -> tuple[list[tuple[Cell, TrialConfig]], list[str]]:
    """(the path's last cell, where every factor is on; its faults, and settings that prevent choosing by validation).

    Where the first cell is invalid, so is the last: it is not told twice.
    """
    cell = DESIGNS["leave_one_out"].layout(study.factors).cells[0]
    try:
        end = factory.config(cell.settings)
    except ConfigError as error:
        return [], [f"the end of the path: {fault}" for fault in error.faults]
    faults = [] if cells[0].invalid else [f"the end of the path: {fault}" for fault in factory.faults(end)]
    if any(config.dataset.train_on_validation for config in (end, *(item.config for item in cells)) if config):
        faults.append("dataset.train_on_validation: true, so validation cannot choose a path's steps; allowed: false")
    return [(cell, end)], faults


def objective(study: AnyStudy) -> tuple[str, bool]:
    """(metric, maximise) that a search proposes and ranks by: the validation counterpart of its metric."""
    metric = counterpart(study.metric, "val")
    return metric, maximised(metric)


def objectives(study: SearchStudy) -> list[tuple[str, bool]]:
    """(metric, maximise) of each objective of a search; of `objective` if it names none."""
    return [(metric, maximised(metric)) for metric in study.objectives] or [objective(study)]
