"""A run's remaining work: which trials have ended, which continue and from where, which are still to come."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import PlanError
from engine.planning.plan import Plan
from engine.planning.resume import Continuations
from engine.planning.trial_factory import TrialFactory
from engine.runlog.history import History
from search_spaces.study import AnyStudy, SearchStudy
from trainables.config import TrialConfig, from_tree
from trainables.trial.spec import TrialSpec


@dataclass(frozen=True)
class RemainingWork:
    total: int
    """for a path, whose later steps are not chosen yet: an upper bound"""
    done: int
    todo: list[TrialSpec]
    """trials without an end: an ablation's, or those that a search has begun"""
    continuations: Continuations
    configurations: int = 0
    """of a search, as many as it tries"""

    def configs(self, plan: Plan) -> list[TrialConfig]:
        """Configurations of all remaining trials; the baseline stands for those not proposed or chosen yet."""
        unproposed = self.total - self.done - len(self.todo)
        return [*(from_tree(spec.config) for spec in self.todo), *[plan.baseline] * unproposed]

    def epochs(self, plan: Plan, history: History) -> int:
        """Epochs that are left to train."""
        known = (spec.segment.continues or spec.trial for spec in self.todo)
        return sum(c.training.epochs for c in self.configs(plan)) - sum(len(history.rows.get(t, {})) for t in known)


def remaining_work(plan: Plan, history: History, record: dict[str, Any] | None = None) -> RemainingWork:
    """Compares the plan with the log; PlanError if a trial that was begun would no longer be the same trial."""
    if isinstance(plan.study, SearchStudy):
        configurations = _configurations(plan.study, record or {})
        total = configurations * plan.study.seeds
        specs = list(_begun(plan.study, plan.factory, history, plan.directory))
    else:
        configurations, total, specs = 0, len(plan.trials) + plan.ahead, list(plan.trials)
    if plan.factory.population and any(
        spec.trial not in history.starts and history.begun(spec.cell, spec.seed) for spec in specs
    ):
        raise PlanError(
            f"{plan.directory}: a population (trial_scheduler pbt) keeps its space, size, epochs and metric; "
            f"run it into another folder with --out"
        )
    if faults := list(_left_out(plan.study, history)):
        raise PlanError(faults)
    continuations = Continuations(history, record, plan.factory)
    todo = [continuations.place(spec) for spec in specs if spec.trial not in history.ends]
    continuations.refuse()
    done = sum(spec.trial in history.ends for spec in specs)
    return RemainingWork(max(total, len(specs)), done, todo, continuations, configurations)


def _configurations(study: SearchStudy, record: dict[str, Any]) -> int:
    """How many configurations a search tries: fewer than it asks for where its record says that there are no more."""
    same = all(record.get(name) == getattr(study, name) for name in ("samples", "sampler"))
    held = study.configurations
    return min(held, (record.get("configurations") if same else None) or held)


def _left_out(study: AnyStudy, history: History) -> Iterator[str]:
    """Faults of a plan without seeds or configurations that its run has begun."""
    another = "is another run: give it another folder with --out"
    begun = {event["seed"] for event in history.starts.values()}
    if begun - set(study.replicates):
        yield f"--seeds {study.seeds}: seeds {min(begun)} to {max(begun)} were begun; a smaller number {another}"
    points = len({event["cell"] for event in history.starts.values() if "point" in event})
    if isinstance(study, SearchStudy) and points > study.samples:
        yield f"--samples {study.samples}: {points} configurations were begun; a smaller number {another}"


def _begun(study: SearchStudy, factory: TrialFactory, history: History, directory: Path) -> Iterator[TrialSpec]:
    """Trials of the configurations that the log holds, with the seeds and the budget asked for now."""
    seen = set()
    for event in history.starts.values():
        if event["cell"] not in seen and "point" in event:
            seen.add(event["cell"])
            config = factory.config(event["point"])
            for seed in study.replicates:
                yield factory.spec(event["cell"], config, seed, directory)
