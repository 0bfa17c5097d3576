"""The queue of a search: a run's unfinished trials, then new configurations until the study has its number of them.

A configuration is never proposed twice, and a finite space ends when it is exhausted. Optuna is told a stopped trial as
PRUNED at its last step, a diverged or failed one as FAIL, never as a value. All is rebuilt from the log on every start.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from core.errors import FaultError
from engine.planning.plan import objectives
from engine.planning.trial_factory import TrialFactory
from engine.runlog.history import History
from engine.search.sampler import OptunaStudy
from engine.search.trial_queue import TrialQueue
from search_spaces.spaces import Settings, grid, is_finite, suggest
from search_spaces.study import SearchStudy
from trainables.trial.spec import TrialSpec


@dataclass
class Proposal:
    """A configuration and its trials, one per seed; Optuna is told the outcome once all have ended."""

    point: Settings
    trials: list[str]
    asked: optuna.Trial | None = None
    """None once its outcome was told"""
    open: set[str] = field(default_factory=set)


class SearchQueue(TrialQueue):
    """Queues a run's unfinished trials first, then new proposals until the study has its number of samples.

    `place`: decides where a trial begins (see `Continuations`); `journal`: a file that Optuna's own tools can open;
    `say`: tells the user of proposals that cannot be; `all_tried`: called with the number of configurations where the
    space holds fewer than the study asks for.
    """

    def __init__(
        self,
        factory: TrialFactory,
        study: SearchStudy,
        directory: Path,
        history: History,
        place: Callable[[TrialSpec], TrialSpec] = lambda spec: spec,
        journal: Path | None = None,
        say: Callable[[str], None] = lambda text: None,
        all_tried: Callable[[int], None] = lambda configurations: None,
    ) -> None:
        super().__init__()
        self.say, self.all_tried = say, all_tried
        self.factory, self.definition, self.space, self.directory = factory, study, study.space, directory
        self.samples, self.objectives = study.configurations, objectives(study)
        self.history, self.place = history, place
        self.proposals: dict[str, Proposal] = {}
        self._numbers: set[int] = set()  # of the proposals so far
        self._first = 0
        # Points of a finite space not looked at yet; proposals are never removed, so one look at each is enough.
        self._rest = grid(self.space) if is_finite(self.space) else iter(())
        self.optuna = OptunaStudy(study, self.objectives, journal)
        self._replay()
        self.optuna.choose_sampler(self._number())

    def refill(self) -> bool:
        """Queue one new configuration with all its seeds; False when there is none left to try."""
        if len(self.proposals) >= self.samples:
            return False
        for point in self.definition.enqueue:
            if not self._proposed(point) and self._adopt(self.optuna.ask_for(point)):
                return True
        return any(map(self._adopt, self.optuna.candidates(self._number(), self._proposed))) or any(
            self._adopt(self.optuna.ask_for(point)) for point in self._rest if not self._proposed(point)
        )

    def suggest(self, trial_id: str) -> Any:
        before, suggested = self.exhausted, super().suggest(trial_id)
        if self.exhausted and not before and len(self.proposals) < self.samples:
            self.all_tried(len(self.proposals))
        return suggested

    def remaining(self) -> int:
        return super().remaining() + (self.samples - len(self.proposals)) * self.definition.seeds

    def on_trial_end(self, trial: str) -> None:
        """Tell Optuna a configuration's outcome once the last of its trials has its end in the log."""
        super().on_trial_end(trial)
        for proposal in self.proposals.values():
            if trial in proposal.open:
                proposal.open.discard(trial)
                if not proposal.open:
                    self.optuna.tell(proposal.asked, *self._outcome(proposal), self._trace(proposal))
                    proposal.asked = None

    def _outcome(self, proposal: Proposal) -> tuple[TrialState, list[float] | None]:
        """The state and values for Optuna: the objectives' means over the seeds, or None."""
        ends = [self.history.ends.get(trial) for trial in proposal.trials]
        results = [self._values(trial) for trial in proposal.trials]
        if any(values is None for values in results):
            return TrialState.FAIL, None
        if any(end and end["status"] == "stopped" for end in ends):
            return TrialState.PRUNED, None
        return TrialState.COMPLETE, [_mean(column) for column in zip(*filter(None, results), strict=True)]

    def _values(self, trial: str) -> list[float] | None:
        """The objectives of an ended trial; None if it diverged, failed or lacks one."""
        end, row = self.history.ends.get(trial), self.history.selected(trial)
        if end is None or row is None or end["status"] == "diverged":
            return None
        measured = {**row, "seconds": end["seconds"]}
        values: list[Any] = [measured.get(metric) for metric, _ in self.objectives]
        return None if any(value is None for value in values) else values

    def _trace(self, proposal: Proposal) -> dict[int, float]:
        """A single objective by epoch, as the mean over the seeds, for epochs that all have; else empty."""
        if len(self.objectives) > 1:
            return {}
        metric = self.objectives[0][0]
        rows = [self.history.rows.get(trial, {}) for trial in proposal.trials]
        steps = {
            epoch: [part[epoch].get(metric) for part in rows]
            for epoch in rows[0]
            if all(epoch in part for part in rows)
        }
        return {epoch: _mean(values) for epoch, values in sorted(steps.items()) if None not in values}

    def _number(self) -> int:
        """The first number without a proposal, so that one that was lost before its start was logged is used again."""
        while self._first in self._numbers:
            self._first += 1
        return self._first

    def _proposed(self, point: Settings) -> bool:
        """Whether a proposed configuration has all these values."""
        return any(
            all(key in known.point and known.point[key] == value for key, value in point.items())
            for known in self.proposals.values()
        )

    def _adopt(self, trial: optuna.Trial) -> bool:
        """Queue an asked trial as a new cell; returns False if its configuration was proposed before, or cannot be."""
        point = suggest(self.space, trial)
        try:
            cell = self.factory.cell(point)
            if cell not in self.proposals:
                self._queue(cell, point, self._number(), trial)
                return True
        except FaultError as error:
            self.say(f"a proposal cannot be and counts as failed: {json.dumps(point)}: {'; '.join(error.faults)}")
        self.optuna.tell(trial, TrialState.FAIL)
        return False

    def _queue(self, cell: str, point: Settings, number: int, trial: optuna.Trial | None) -> Proposal:
        config = self.factory.config(point)
        specs = [self.factory.spec(cell, config, seed, self.directory) for seed in self.definition.replicates]
        proposal = Proposal(point, [spec.trial for spec in specs], trial)
        self._numbers.add(number)
        for spec in specs:
            if spec.trial not in self.history.ends:
                proposal.open.add(spec.trial)
                self.enqueue(self.place(spec), point=point, proposal=number)
        self.proposals[cell] = proposal
        return proposal

    def _replay(self) -> None:
        """Add every configuration of the log, with its outcome, to the new Optuna study, in the log's order."""
        for event in self.history.starts.values():
            cell, point = event["cell"], event.get("point")
            if point is None or cell in self.proposals:
                continue
            number = event.get("proposal", len(self.proposals))
            proposal = self._queue(cell, point, number, None)
            if proposal.open:
                proposal.asked = self.optuna.ask_for(point)
                suggest(self.space, proposal.asked)
            else:
                self.optuna.add(point, *self._outcome(proposal), self._trace(proposal))


def _mean(values: Any) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)
