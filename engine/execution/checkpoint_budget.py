"""Limits the disk space of a run's checkpoints (`--disk-budget`, `--keep`)."""

from rich.filesize import decimal

from analysis.records.checkpoint_files import LAST_STATES
from analysis.records.run_directory import RunDirectory
from analysis.records.schema import REMOVED
from core.errors import Interrupted
from engine.planning.disk_estimate import size_on_disk
from engine.planning.plan import Plan
from engine.planning.remaining_work import RemainingWork, remaining_work
from engine.runlog.run_log import RunLog, now


class CheckpointBudget:
    """Keeps checkpoints/ within the disk budget: deletes last states of ended trials, the earliest end first; with
    `--keep best` of each trial once its end is logged."""

    def __init__(self, plan: Plan, left: RemainingWork, log: RunLog) -> None:
        self.limit, self.log, self.history = plan.options.disk_budget, log, log.history
        self.best_alone = plan.options.keep == "best"
        self.run = RunDirectory(plan.directory)
        self.kept: set[str | None] = {spec.segment.continues for spec in left.todo}
        """trials that others with more epochs continue, and those already trimmed"""
        self.sizes: dict[str, int] = {}
        if self.limit is not None and self.run.checkpoints.is_dir():
            self.sizes = {folder.name: size_on_disk(folder) for folder in self.run.checkpoints.iterdir()}

    def ended(self, trial: str) -> None:
        """Make room after a trial's end; Interrupted if nothing more may be deleted."""
        if self.best_alone and trial not in self.kept:
            self._trim(trial)
        if self.limit is None:
            return
        for changed in {trial, *(self.history.starts.keys() - self.history.ends.keys())}:
            self.sizes[changed] = size_on_disk(self.run.checkpoint(changed))
        held = sum(self.sizes.values())
        for old in self.history.ends:
            if held > self.limit and old not in self.kept:
                held -= self._trim(old)
        if held > self.limit:
            raise Interrupted(
                f"the checkpoints hold {decimal(held)}, more than --disk-budget {decimal(self.limit)}, and nothing "
                f"more may be deleted: give `resume` a larger one"
            )

    def _trim(self, trial: str) -> int:
        """Delete an ended trial's last state, once; returns the bytes freed."""
        self.kept.add(trial)
        remove_last_states(self.run, self.log, trial)
        before, self.sizes[trial] = self.sizes.get(trial, 0), size_on_disk(self.run.checkpoint(trial))
        return before - self.sizes[trial]


def remove_last_states(run: RunDirectory, log: RunLog, trial: str) -> int:
    """Delete an ended trial's last states, which the log says first; returns the bytes freed."""
    names, freed = [f"checkpoints/{trial}/{name}" for name in LAST_STATES], 0
    outputs = log.history.ends[trial].get("outputs") or {}
    if outputs.keys() & set(names):
        log.append(event=REMOVED, time=now(), trial=trial, files=names)
    for file in map(run.file, names):
        freed += size_on_disk(file)
        file.unlink(missing_ok=True)
    return freed


def keep_best_alone(plan: Plan, log: RunLog) -> int:
    """With `--keep best`, delete the last states of all ended trials but those from which others are to go on; returns
    the bytes freed."""
    if plan.options.keep != "best":
        return 0
    history = log.history
    left = remaining_work(plan, history)
    if plan.ahead and left.done < left.total:  # a path's later steps may go on from any
        return 0
    needed, run = {spec.segment.continues for spec in left.todo}, RunDirectory(plan.directory)
    return sum(remove_last_states(run, log, trial) for trial in sorted(history.ends.keys() - needed))
