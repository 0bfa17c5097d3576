"""A study becomes a plan: every cell resolved and checked, every trial with its key, every fault at once.

Nothing here starts Ray. The data sets are decoded (or found in the cache), because a trial's identity holds their
content, and each network is built once on the meta device, because only that shows whether its layers exist.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from core.errors import PlanError
from core.metrics import counterpart, maximised
from engine.planning.config_checks import (
    metric_faults,
    varied_faults,
)
from engine.planning.run_options import Options, apply
from engine.planning.trial_factory import TrialFactory
from search_spaces.designs import DESIGNS, Cell, Comparison, step_cell
from search_spaces.spaces import random_points
from search_spaces.study import AblationStudy, AnyStudy, SearchStudy, StudyError
from trainables.config import UNCOUNTED, ConfigError, TrialConfig
from trainables.trial.spec import TrialSpec

if TYPE_CHECKING:
    pass


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


@dataclass(frozen=True)
class Plan:
    asked: AnyStudy
    """the study before the options changed it: a later command applies its own to this one"""
    study: AnyStudy
    options: Options
    factory: TrialFactory
    directory: Path
    baseline: TrialConfig
    cells: tuple[PlannedCell, ...]
    comparisons: tuple[Comparison, ...]
    trials: tuple[TrialSpec, ...]
    """Seed by seed, so that a run cut short leaves complete pairs; a search's trials are proposed while it runs."""

    @property
    def fuse(self) -> int | Literal["auto"]:
        """How many trials of one kind are trained as one program; 1 for none."""
        asked = self.options.fuse or 1
        return asked if isinstance(asked, int) else "auto" if asked == "auto" else 1

    @property
    def invalid(self) -> list[PlannedCell]:
        return [cell for cell in self.cells if cell.invalid]

    @cached_property
    def in_progress(self) -> dict[str, PlannedCell]:
        """The cells that a path's next step is chosen of, by the factor that each turns on."""
        study = self.study
        if not isinstance(study, AblationStudy) or not study.is_path:
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


def make_plan(study: AnyStudy, options: Options, directory: Path, factory: TrialFactory | None = None) -> Plan:
    """The study under these options, to be run in `directory` (absolute); PlanError lists every fault.

    `factory` is that of an earlier plan, where the two differ in their cells only.
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
        baseline, faults = _checked_search(study, factory)
    else:
        layout = study.layout()
        cells, faults = _checked_cells(study, factory, layout.cells)
        baseline, comparisons = cells[0].config, layout.comparisons
        faults += _path_faults(study, factory, cells) if study.is_path else []
    if baseline is not None:
        faults += metric_faults(study, baseline) + varied_faults(study)
    if isinstance(options.fuse, int) and study.adaptive:
        faults.append(
            f"--fuse {options.fuse}: {study.adaptive} hears of each trial before it decides on others; allowed: off, "
            f"or --sampler random, qmc or grid without a trial scheduler"
        )
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
    """Cells with what is wrong: a fault of the first cell is the study's, one of another makes only that cell invalid.

    Settings that cannot be are always faults of the study; what cannot be had or placed is a matter of the cell.
    """
    planned: list[PlannedCell] = []
    faults: list[str] = []
    names: dict[str, str] = {}
    for cell in cells:
        reference = study.references.get(cell.name)
        try:
            config = factory.config(cell.settings)
        except ConfigError as error:
            if planned and study.is_path:  # a candidate that cannot be is none; where it ends is checked apart
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
        found = factory.faults(config)
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


def _path_faults(study: AblationStudy, factory: TrialFactory, cells: list[PlannedCell]) -> list[str]:
    """What keeps a path from its end, where every factor is on, and from choosing its steps by validation."""
    try:
        end = factory.config(DESIGNS["leave_one_out"].layout(study.factors).cells[0].settings)
        faults = [f"the end of the path: {fault}" for fault in factory.faults(end)]
    except ConfigError as error:
        return [f"the end of the path: {fault}" for fault in error.faults]
    if any(config.dataset.train_on_validation for config in (end, *(item.config for item in cells)) if config):
        faults.append("dataset.train_on_validation: true, so validation cannot choose a path's steps; allowed: false")
    return faults


def _checked_search(study: SearchStudy, factory: TrialFactory, draws: int = 64) -> tuple[TrialConfig | None, list[str]]:
    """Resolve the baseline and `draws` random points: a wrong key, bound or condition shows before Ray starts."""
    faults: list[str] = []
    try:
        baseline = factory.config({})
        faults += factory.faults(baseline)
    except ConfigError as error:
        return None, error.faults
    for point in random_points(study.space, draws):
        try:
            config = factory.config(point)
            if not faults:
                faults += [f"space: {fault}" for fault in factory.faults(config)]
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
