"""Limits the disk space of a run's checkpoints, and deletes temporary files of killed processes."""

import re

from rich.filesize import decimal

from analysis.records.run_directory import RunDirectory
from core.errors import Interrupted
from engine.planning.disk_estimate import size_on_disk
from engine.planning.plan import Plan
from engine.planning.remaining_work import RemainingWork
from engine.runlog.history import History

TEMPORARY = re.compile(r"\..+\.(pt|parquet|png|json)\.\d+")  # the names of `core.files.write_atomically`


class CheckpointBudget:
    """Keeps checkpoints/ within the disk budget: deletes last states of ended trials, the earliest end first."""

    def __init__(self, plan: Plan, now: RemainingWork, history: History) -> None:
        self.limit, self.history = plan.options.disk_budget, history
        self.run = RunDirectory(plan.directory)
        self.kept: set[str | None] = {spec.segment.continues for spec in now.todo}
        """trials that others with more epochs continue, and those already trimmed"""
        self.sizes: dict[str, int] = {}
        if self.limit is not None and self.run.checkpoints.is_dir():
            self.sizes = {folder.name: size_on_disk(folder) for folder in self.run.checkpoints.iterdir()}

    def ended(self, trial: str) -> None:
        """Make room after a trial's end; Interrupted if nothing more may be deleted."""
        if self.limit is None:
            return
        for changed in {trial, *(self.history.starts.keys() - self.history.ends.keys())}:
            self.sizes[changed] = size_on_disk(self.run.checkpoints / changed)
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
        for name in ("last.pt", "previous.pt"):
            (self.run.checkpoints / trial / name).unlink(missing_ok=True)
        before, self.sizes[trial] = self.sizes.get(trial, 0), size_on_disk(self.run.checkpoints / trial)
        return before - self.sizes[trial]


def tidy(run: RunDirectory) -> None:
    """Delete the temporary files of processes that were killed while they wrote."""
    for folder in (run.checkpoints, run.predictions, run.artifacts):
        for file in folder.rglob(".*"):
            if TEMPORARY.fullmatch(file.name):
                file.unlink(missing_ok=True)
