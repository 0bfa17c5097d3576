"""Proposes a search's configurations: a Ray `Searcher` over an Optuna study, rebuilt from the log on every start.

A configuration is never proposed twice, a finite space ends when it is exhausted, and every outcome is told for what it
is: a diverged or failed trial as FAIL, never as a value.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from ray.tune.search import Searcher

from datasets.seeds import derive_seed
from engine.plan import Workbench, objective
from search_spaces.spaces import Settings, Space, grid, size, suggest
from search_spaces.study import SearchStudy
from trainables.identity import configuration_key
from trainables.trial import TrialSpec

TRIES = 200  # asks for a configuration that was not proposed before, until the space counts as exhausted

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
    """A configuration and how its trials ended; Optuna hears the mean over seeds once all are in."""

    trial: optuna.Trial
    seeds: int
    values: list[float] = field(default_factory=list)
    lost: int = 0


class StudySampler(Searcher):
    """Feeds a run's unfinished trials first, then new proposals until the study has its number of samples."""

    def __init__(self, bench: Workbench, study: SearchStudy, directory: Path, events: Iterable[dict[str, Any]]) -> None:
        super().__init__()
        self.bench, self.space, self.directory = bench, study.space, directory
        self.samples, self.seeds = samples_of(study), study.seeds
        self.metric_name, self.maximise = objective(study)
        self.proposals: dict[str, Proposal] = {}
        self.waiting: deque[tuple[TrialSpec, Settings]] = deque()
        self.running: dict[str, str] = {}
        self._sampler_name = study.sampler
        self.study = optuna.create_study(direction="maximize" if self.maximise else "minimize")
        self._replay(list(events))
        kinds = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
        # Seeded by how many proposals came before, so that a resumed search does not repeat its first draws.
        seed = derive_seed(0, "sampler", len(self.proposals)) % 2**32
        extra = {"constant_liar": True} if study.sampler == "tpe" else {}
        self.study.sampler = kinds[study.sampler](seed=seed, **extra)

    def suggest(self, trial_id: str) -> Any:
        """The next trial's Ray config, or FINISHED."""
        if not self.waiting and not self._propose():
            return Searcher.FINISHED
        spec, point = self.waiting.popleft()
        self.running[trial_id] = spec.cell
        return {"spec": spec.to_dict(), "point": point}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        cell = self.running.pop(trial_id, None)
        end = (result or {}).get("end") if not error else None
        if cell is not None:
            self._hear(cell, end["selected"][self.metric_name] if end and end.get("selected") else None)

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles its searcher into an experiment state that nothing reads."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the log holds every proposal and outcome."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: `__init__` replays the log."""

    def _hear(self, cell: str, value: float | None) -> None:
        proposal = self.proposals[cell]
        if value is None:
            proposal.lost += 1
        else:
            proposal.values.append(value)
        if len(proposal.values) + proposal.lost == proposal.seeds:
            if proposal.lost:
                self.study.tell(proposal.trial, state=optuna.trial.TrialState.FAIL)
            else:
                self.study.tell(proposal.trial, sum(proposal.values) / len(proposal.values))

    def _propose(self) -> bool:
        """Queue one new configuration with all its seeds; False when there is none left to try."""
        if len(self.proposals) >= self.samples:
            return False
        for _ in range(TRIES):
            if self._adopt(self.study.ask()):
                return True
        if size(self.space) is None:
            return False
        for point in grid(self.space):
            self.study.enqueue_trial(_encoded(self.space, point))
            if self._adopt(self.study.ask()):
                return True
        return False

    def _adopt(self, trial: optuna.Trial) -> bool:
        """Take an asked trial up as a new cell, unless its configuration was proposed before."""
        point = suggest(self.space, trial)
        config = self.bench.config(point)
        cell = configuration_key(config)
        if cell in self.proposals:
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return False
        self.proposals[cell] = Proposal(trial, self.seeds)
        self.waiting.extend((self.bench.spec(cell, config, seed, self.directory), point) for seed in range(self.seeds))
        return True

    def _replay(self, events: list[dict[str, Any]]) -> None:
        """Ask again for every configuration of the log, in its order, and tell how each of its trials ended."""
        ends = {event["trial"]: event for event in events if event["event"] == "end"}
        rows = {(event["trial"], event["epoch"]): event for event in events if event["event"] == "epoch"}
        for event in events:
            if event["event"] == "start" and event["cell"] not in self.proposals:
                self.study.enqueue_trial(_encoded(self.space, event["point"]))
                self._adopt(self.study.ask())
        unfinished = deque[tuple[TrialSpec, Settings]]()
        for spec, point in self.waiting:
            end = ends.get(spec.trial)
            if end is None or end["status"] == "failed":
                unfinished.append((spec, point))
            else:
                selected = rows.get((spec.trial, end["selected_epoch"]), {})
                self._hear(spec.cell, selected.get(self.metric_name))
        self.waiting = unfinished


def _encoded(space: Space, point: Settings) -> dict[str, Any]:
    """A point as Optuna's own parameters."""
    return {parameter.key: parameter.encode(point[parameter.key]) for parameter in space if parameter.key in point}
