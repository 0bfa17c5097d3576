"""Takes over finished trials of another run by their keys: equal keys mean the same trial, bit for bit."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analysis.records.run_directory import RunDirectory
from core.errors import PlanError
from core.storage import Store
from engine.planning.plan import Plan
from engine.runlog.history import History
from engine.runlog.run_log import RunLog, now
from search_spaces.spaces import point_faults
from search_spaces.study import SearchStudy
from trainables.config import ConfigError, flatten, from_tree
from trainables.trial.remote_checkpoints import put_trial
from trainables.trial.spec import TrialSpec

FOLDERS = ("checkpoints", "artifacts")


def sources(plan: Plan) -> list[Path]:
    """The run directory of `--reuse-from`, if given; PlanError if it holds no study.json."""
    if plan.options.reuse_from is None:
        return []
    source = Path(plan.options.reuse_from)
    if not RunDirectory(source).study.is_file():
        raise PlanError(f"--reuse-from {source}: no run directory: it holds no study.json")
    return [source]


def take_over(plan: Plan, run: RunDirectory, log: RunLog) -> int:
    """Copy the plan's trials that the run of `--reuse-from` has finished; returns their number."""
    if plan.options.reuse_from is None:
        return 0
    other, taken = RunDirectory(Path(plan.options.reuse_from)), 0
    store = Store(run.remote) if run.remote else None
    for spec, events in _found(plan, log.history):
        _copy_files(other, run, spec.trial)
        if store:
            put_trial(store, run.root, spec.trial)
        for event in events:
            log.append(**event)
        taken += 1
    return taken


def foresee(plan: Plan, history: History) -> int:
    """Add to `history` the events that `take_over` would log; returns the number of trials."""
    found = [] if plan.options.reuse_from is None else list(_found(plan, history))
    for _, events in found:
        for event in events:
            history.add(event)
    return len(found)


def _found(plan: Plan, history: History) -> Iterator[tuple[TrialSpec, list[dict[str, Any]]]]:
    """Trials that the other run has finished and this one has not, with their events."""
    (source,) = sources(plan)
    found = History.of(RunDirectory(source))
    for spec, point in _wanted(plan, found, history):
        if spec.trial in found.ends and spec.trial not in history.ends:
            yield spec, list(_events(found, history, spec, point, source))


def _wanted(plan: Plan, found: History, history: History) -> Iterator[tuple[TrialSpec, dict[str, Any] | None]]:
    """The plan's trials; for a search, the other run's trials whose configurations are points of its space."""
    study = plan.study
    if not isinstance(study, SearchStudy):
        yield from ((spec, None) for spec in plan.trials)
        return
    cells = {event["cell"] for event in history.starts.values()}
    for event in found.starts.values():
        try:
            if (point := _point(study, event)) is None:
                continue
            config = plan.factory.config(point)
        except ConfigError:  # of another space, or with code that this study does not name
            continue
        cell = plan.factory.cell(point)
        if event["seed"] not in study.replicates or (cell not in cells and len(cells) >= study.configurations):
            continue
        spec = plan.factory.spec(cell, config, event["seed"], plan.directory)
        if spec.trial == event["trial"] and spec.trial in found.ends:
            cells.add(cell)
            yield spec, point


def _point(study: SearchStudy, event: dict[str, Any]) -> dict[str, Any] | None:
    """The point of the search's space that gives the trial's configuration; None if there is none."""
    settings = flatten(from_tree(event["config"]))
    point: dict[str, Any] = {}
    for parameter in study.space:
        if parameter.active(point):
            if parameter.key not in settings:
                return None
            point[parameter.key] = settings[parameter.key]
    return None if any(point_faults(study.space, point)) else point


def _copy_files(other: RunDirectory, run: RunDirectory, trial: str) -> None:
    for name in FOLDERS:
        if (other.root / name / trial).is_dir():
            shutil.copytree(other.root / name / trial, run.root / name / trial, dirs_exist_ok=True)
    predictions = other.prediction(trial)
    if predictions.exists():
        run.predictions.mkdir(exist_ok=True)
        shutil.copy2(predictions, run.predictions)


def _events(
    found: History, history: History, spec: TrialSpec, point: dict[str, Any] | None, source: Path
) -> Iterator[dict[str, Any]]:
    """Start, epoch rows and end under this run's cell name; the end comes last, so a kill leaves it unfinished."""
    trial = spec.trial
    start = {**found.starts[trial], "cell": spec.cell, "seed": spec.seed, "time": now()}
    start.pop("point", None)
    yield {**start, **({} if point is None else {"point": point})}
    yield from (
        row for epoch, row in sorted(found.rows.get(trial, {}).items()) if epoch not in history.rows.get(trial, {})
    )
    end = found.ends[trial]
    yield {**end, "execution": {**end.get("execution", {}), "reused_from": str(source)}}
