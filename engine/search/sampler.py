"""Proposes a search's configurations: a Ray `Searcher` over an Optuna study, rebuilt from the log on every start.

A configuration is never proposed twice, a finite space ends when it is exhausted, and every outcome is told for what it
is: a stopped trial as PRUNED at its step, a diverged or failed one as FAIL, never as a value.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from core.seeds import derive_seed
from engine.planning.plan import Workbench, objectives
from engine.runlog.history import History
from engine.search.trial_queue import Feeder
from search_spaces.spaces import Settings, Space, encoded, grid, size, suggest, suggest_at
from search_spaces.study import SearchStudy
from trainables.trial.trial import TrialSpec
from trainables.trial_key import configuration_key

TRIES = 200  # draws of a configuration that was not proposed before; of a finite space, one by one afterwards

optuna.logging.set_verbosity(optuna.logging.WARNING)


def random_points(space: Space, n: int, seed: int = 0) -> list[Settings]:
    """`n` independent draws from the space."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [suggest(space, study.ask()) for _ in range(n)]


def samples_of(study: SearchStudy) -> int:
    """How many distinct configurations the search can try: as many as asked for, or as its space holds."""
    held = size(study.space)
    return study.samples if held is None else min(study.samples, held)


@dataclass
class Proposal:
    """A configuration and its trials, a seed each; Optuna hears how it went once all are over."""

    point: Settings
    trials: list[str]
    asked: optuna.Trial | None = None
    """None once it was told"""
    open: set[str] = field(default_factory=set)


class StudySampler(Feeder):
    """Feeds a run's unfinished trials first, then new proposals until the study has its number of samples.

    `place` says where a trial begins (see `Continuations`); `journal` is the file that Optuna's own tools can open.
    """

    def __init__(
        self,
        bench: Workbench,
        study: SearchStudy,
        directory: Path,
        history: History,
        place: Callable[[TrialSpec], TrialSpec] = lambda spec: spec,
        journal: Path | None = None,
    ) -> None:
        super().__init__()
        self.bench, self.definition, self.space, self.directory = bench, study, study.space, directory
        self.samples, self.objectives = samples_of(study), objectives(study)
        self.history, self.place = history, place
        self.proposals: dict[str, Proposal] = {}
        self._numbers: set[int] = set()  # of the proposals
        self._first = 0
        # Of a finite space, what was not looked at yet; as proposals only grow, none is looked at twice.
        finite = size(self.space) is not None
        self._rest = grid(self.space) if finite else iter(())
        self._tries = TRIES // 10 if finite else TRIES
        self.study = optuna.create_study(
            study_name=study.name,
            storage=_storage(journal),
            directions=["maximize" if maximise else "minimize" for _, maximise in self.objectives],
        )
        self._replay()
        self._draw = self._sampler()

    def refill(self) -> bool:
        """Queue one new configuration with all its seeds; False when there is none left to try."""
        if len(self.proposals) >= self.samples:
            return False
        for point in self.definition.enqueue:
            if not self._proposed(point) and self._adopt(self._asked(point)):
                return True
        return self._draw() or self._enumerate(self._rest)

    def left(self) -> int:
        return super().left() + (self.samples - len(self.proposals)) * self.definition.seeds

    def over(self, trial: str) -> None:
        """Take note that one of this search's trials has its end in the log."""
        super().over(trial)
        for proposal in self.proposals.values():
            if trial in proposal.open:
                proposal.open.discard(trial)
                if not proposal.open:
                    self._tell(proposal)

    def _tell(self, proposal: Proposal) -> None:
        trial, state, values = proposal.asked, *self._outcome(proposal)
        proposal.asked = None
        assert trial is not None
        for step, value in self._trace(proposal).items():
            trial.report(value, step)
        if state == TrialState.COMPLETE:
            self.study.tell(trial, values)
        else:
            self.study.tell(trial, state=state)

    def _outcome(self, proposal: Proposal) -> tuple[TrialState, list[float] | None]:
        """What Optuna is told: the objectives' means over the seeds, or that there are none."""
        ends = [self.history.ends.get(trial) for trial in proposal.trials]
        results = [self._values(trial) for trial in proposal.trials]
        if any(values is None for values in results):
            return TrialState.FAIL, None
        if any(end and end["status"] == "stopped" for end in ends):
            return TrialState.PRUNED, None
        return TrialState.COMPLETE, [_mean(column) for column in zip(*filter(None, results), strict=True)]

    def _values(self, trial: str) -> list[float] | None:
        """The objectives of an ended trial; None of one that diverged, failed or has none."""
        end, row = self.history.ends.get(trial), self.history.selected(trial)
        if end is None or row is None or end["status"] == "diverged":
            return None
        measured = {**row, "seconds": end["seconds"]}
        values: list[Any] = [measured.get(metric) for metric, _ in self.objectives]
        return None if any(value is None for value in values) else values

    def _trace(self, proposal: Proposal) -> dict[int, float]:
        """The one objective by epoch, as the mean over the seeds that came so far."""
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

    def _sampler(self) -> Callable[[], bool]:
        """The study's way to a next proposal: whether it found one."""
        name = self.definition.sampler
        if name == "grid":
            return lambda: False  # all of it is what `refill` does with the rest of a finite space
        if name == "qmc":
            return lambda: self._enumerate(self._sobol(self._number()))
        if name == "cmaes":
            # Its state lives in Optuna's storage, which a resumption rebuilds: it goes on from the best that is known.
            best = self.study.best_params if self.study.get_trials(states=(TrialState.COMPLETE,)) else None
            with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of x0, which ends with Optuna 6
                self.study.sampler = optuna.samplers.CmaEsSampler(
                    seed=self._seed(), warn_independent_sampling=False, x0=best
                )
            return self._ask
        kind = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}[name]

        def seeded() -> bool:
            # By its number, so that a search in two parts draws what one in a piece would.
            self.study.sampler = kind(seed=self._seed())
            return self._ask()

        return seeded

    def _number(self) -> int:
        """The first that no proposal has: one that a lost process took with it is chosen again."""
        while self._first in self._numbers:
            self._first += 1
        return self._first

    def _seed(self) -> int:
        return derive_seed(0, "sampler", self._number()) % 2**32

    def _ask(self) -> bool:
        return any(self._adopt(self.study.ask()) for _ in range(self._tries))

    def _enumerate(self, points: Iterator[Settings]) -> bool:
        return any(self._adopt(self._asked(point)) for point in points if not self._proposed(point))

    def _sobol(self, start: int) -> Iterator[Settings]:
        """Points of a scrambled Sobol sequence from the `start`-th on."""
        from scipy.stats import qmc

        sequence = qmc.Sobol(len(self.space), rng=derive_seed(0, "sobol") % 2**32)
        if start:
            sequence.fast_forward(start)
        for _ in range(TRIES):
            yield suggest_at(self.space, sequence.random(1)[0].tolist())

    def _asked(self, point: Settings) -> optuna.Trial:
        self.study.enqueue_trial(encoded(self.space, point))
        return self.study.ask()

    def _proposed(self, point: Settings) -> bool:
        """Whether some configuration that was proposed has all these values."""
        return any(
            all(key in known.point and known.point[key] == value for key, value in point.items())
            for known in self.proposals.values()
        )

    def _adopt(self, trial: optuna.Trial) -> bool:
        """Take an asked trial up as a new cell, unless its configuration was proposed before."""
        point = suggest(self.space, trial)
        cell = cell_of(self.definition, self.bench, point)
        if cell in self.proposals:
            self.study.tell(trial, state=TrialState.FAIL)
            return False
        self._queue(cell, point, self._number(), trial)
        return True

    def _queue(self, cell: str, point: Settings, number: int, trial: optuna.Trial | None) -> Proposal:
        config = self.bench.config(point)
        specs = [self.bench.spec(cell, config, seed, self.directory) for seed in self.definition.replicates]
        proposal = Proposal(point, [spec.trial for spec in specs], trial)
        self._numbers.add(number)
        for spec in specs:
            if spec.trial not in self.history.ends:
                proposal.open.add(spec.trial)
                self.put(self.place(spec), point=point, proposal=number)
        self.proposals[cell] = proposal
        return proposal

    def _replay(self) -> None:
        """Tell a new Optuna study of every configuration of the log, in its order, and how it went."""
        for event in self.history.starts.values():
            cell, point = event["cell"], event.get("point")
            if point is None or cell in self.proposals:
                continue
            number = event.get("proposal", len(self.proposals))
            proposal = self._queue(cell, point, number, None)
            if proposal.open:
                proposal.asked = self._asked(point)
                suggest(self.space, proposal.asked)
            else:
                self._add(proposal)

    def _add(self, proposal: Proposal) -> None:
        """An ended proposal in one step: asking and reporting anew would write a line for each epoch."""
        state, values = self._outcome(proposal)
        trace = self._trace(proposal)
        if state == TrialState.PRUNED and trace:
            values = [trace[max(trace)]]
        self.study.add_trial(
            optuna.trial.create_trial(
                state=state,
                values=values,
                params=encoded(self.space, proposal.point),
                distributions={p.key: p.distribution() for p in self.space if p.key in proposal.point},
                intermediate_values=trace,
            )
        )


def cell_of(study: SearchStudy, bench: Workbench, point: Settings) -> str:
    """A configuration's name; the same for every budget, unless the search varies that."""
    return configuration_key(bench.config(point), budget="training.epochs" in study.varied)


def _storage(journal: Path | None) -> optuna.storages.BaseStorage | None:
    """A fresh journal: what it held before stands in the log, from which it is written again."""
    if journal is None:
        return None
    journal.unlink(missing_ok=True)
    return optuna.storages.JournalStorage(JournalFileBackend(str(journal)))


def _mean(values: Any) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)
