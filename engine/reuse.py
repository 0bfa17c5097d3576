"""Finished trials of another run, taken over by their keys: equal keys mean the same trial, bit for bit."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analysis.schema import RunDirectory
from analysis.store import read_log
from engine.errors import PlanError
from engine.history import History
from engine.plan import Plan
from engine.record import Log, now
from engine.sampler import cell_of, samples_of
from search_spaces.spaces import point_faults
from search_spaces.study import SearchStudy
from trainables.config import ConfigError, flatten, from_tree
from trainables.trial import TrialSpec

FOLDERS = ("checkpoints", "artifacts")


def take_over(plan: Plan, run: RunDirectory, log: Log, source: Path) -> int:
    """Copy what `source` has finished of the plan's trials into `run`; how many that were."""
    other = RunDirectory(source)
    if not other.study.is_file():
        raise PlanError([f"--reuse-from {source}: no run directory: it holds no study.json"])
    found = History.read(read_log(other.log))
    taken = 0
    for spec, point in _wanted(plan, found, log.history):
        if spec.trial not in log.history.ends and spec.trial in found.ends:
            _copy_files(other, run, spec.trial)
            _copy_events(found, log, spec, point, source)
            taken += 1
    return taken


def reusable(plan: Plan, history: History, source: Path) -> int:
    """How many trials `take_over` would take."""
    found = History.read(read_log(RunDirectory(source).log))
    return sum(spec.trial in found.ends and spec.trial not in history.ends for spec, _ in _wanted(plan, found, history))


def _wanted(plan: Plan, found: History, history: History) -> Iterator[tuple[TrialSpec, dict[str, Any] | None]]:
    """Trials of the plan; of a search, those configurations of the other run that are points of its space."""
    study = plan.study
    if not isinstance(study, SearchStudy):
        yield from ((spec, None) for spec in plan.trials)
        return
    cells = {event["cell"] for event in history.starts.values()}
    for event in found.starts.values():
        point = _point(study, event)
        if point is None:
            continue
        try:
            config = plan.bench.config(point)
        except ConfigError:
            continue
        cell = cell_of(study, plan.bench, point)
        if event["seed"] >= study.seeds or (cell not in cells and len(cells) >= samples_of(study)):
            continue
        spec = plan.bench.spec(cell, config, event["seed"], plan.directory)
        if spec.trial == event["trial"] and spec.trial in found.ends:
            cells.add(cell)
            yield spec, point


def _point(study: SearchStudy, event: dict[str, Any]) -> dict[str, Any] | None:
    """What the search would have chosen to get the trial's configuration; None if nothing."""
    settings = flatten(from_tree(event["config"]))
    point: dict[str, Any] = {}
    for parameter in study.space:
        if parameter.active(point):
            if parameter.key not in settings:
                return None
            point[parameter.key] = settings[parameter.key]
    return None if point_faults(study.space, point) else point


def _copy_files(other: RunDirectory, run: RunDirectory, trial: str) -> None:
    for name in FOLDERS:
        if (other.root / name / trial).is_dir():
            shutil.copytree(other.root / name / trial, run.root / name / trial, dirs_exist_ok=True)
    predictions = other.predictions / f"{trial}.parquet"
    if predictions.exists():
        run.predictions.mkdir(exist_ok=True)
        shutil.copy2(predictions, run.predictions)


def _copy_events(found: History, log: Log, spec: TrialSpec, point: dict[str, Any] | None, source: Path) -> None:
    """Start, epochs and end under this run's name of the cell; the end comes last, so that a kill leaves no half."""
    trial = spec.trial
    start = {**found.starts[trial], "cell": spec.cell, "seed": spec.seed, "time": now()}
    start.pop("point", None)
    log.append(**start, **({} if point is None else {"point": point}))
    for epoch, row in sorted(found.rows.get(trial, {}).items()):
        if epoch not in log.history.rows.get(trial, {}):
            log.append(**row)
    end = found.ends[trial]
    log.append(**{**end, "execution": {**end.get("execution", {}), "reused_from": str(source)}})
