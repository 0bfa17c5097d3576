"""Population based training (Jaderberg et al., 2017) in generations, as trials that pause and continue.

All members train to the same epoch before any continues. Then the worst take over weights and settings of some of the
best, and perturb the settings. A generation's decisions follow from the rows of its epoch and are one line of the log,
so a killed search continues with the same population, and `rerun` can replay a member with its donors' segments.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.seeds import derive_seed
from engine.planning.plan import objective
from engine.planning.trial_factory import TrialFactory
from engine.runlog.run_log import RunLog, now
from engine.search.generations import boundaries, segments
from engine.search.search_queue import Proposal, SearchQueue
from search_spaces.spaces import Number, Settings, mutable
from search_spaces.study import SearchStudy
from trainables.config import ConfigError
from trainables.trial.checkpoints import generation_file
from trainables.trial.spec import TrialSpec


class Population(SearchQueue):
    """Trains a search's configurations as one population per seed."""

    def __init__(
        self,
        factory: TrialFactory,
        study: SearchStudy,
        directory: Path,
        log: RunLog,
        place: Callable[[TrialSpec], TrialSpec],
        journal: Path,
        say: Callable[[str], None],
    ) -> None:
        assert study.population is not None
        self.log, self.settings = log, study.population
        self.ends = boundaries(self.settings, study.epochs)
        self.members: dict[int, dict[str, tuple[TrialSpec, Settings]]] = {}
        super().__init__(factory, study, directory, log.history, place, journal, say)

    def refill(self) -> bool:
        """Queue the whole population first, then the next generation of each seed that has completed one."""
        if len(self.proposals) < self.samples and super().refill():
            return True
        for seed, members in self.members.items():
            for generation, end in enumerate(self.ends[:-1]):
                if (seed, end) not in self.history.generations and self._complete(members, end):
                    self._decide(seed, generation)
                    self._go_on(members, end)
        return bool(self.waiting)

    def may_grow(self) -> bool:
        return bool(self.running)

    def on_trial_end(self, trial: str) -> None:
        super().on_trial_end(trial)
        for members in self.members.values():
            if members.keys() <= self.history.ends.keys():
                self._clean(members, self.ends)

    def enqueue(self, spec: TrialSpec, **chosen: Any) -> None:
        """Queue the next segment of a member's trial, unless it waits for others of its generation."""
        part, _ = segments(spec, chosen["point"], self.history, self.ends)[-1]
        until = part.segment.until
        if until is None or self._reached(spec.trial) < until:
            super().enqueue(part, **chosen)

    def _queue(self, cell: str, point: Settings, number: int, trial: Any) -> Proposal:
        config = self.factory.config(point)
        for seed in self.definition.replicates:
            spec = self.factory.spec(cell, config, seed, self.directory)
            self.members.setdefault(seed, {})[spec.trial] = (spec, point)
        return super()._queue(cell, point, number, trial)

    def _reached(self, trial: str) -> int:
        return max(self.history.rows.get(trial, {}), default=0)

    def _complete(self, members: Mapping[str, Any], end: int) -> bool:
        """Whether every member has reached this epoch, has ended before it, or was lost."""
        if len(self.proposals) < self.samples or any(item["spec"]["trial"] in members for item in self.waiting):
            return False
        behind = [trial for trial in members if self._reached(trial) < end and trial not in self.history.ends]
        return not any(trial in self.running or trial in self.history.enlarged for trial in behind)

    def _go_on(self, members: Mapping[str, tuple[TrialSpec, Settings]], end: int) -> None:
        """Queue the next segment of the members that reached `end`; delete checkpoints of earlier generations."""
        for trial, (spec, point) in members.items():
            if trial not in self.history.ends and self._reached(trial) >= end:
                self.enqueue(spec, point=point)
        self._clean(members, self.ends[: self.ends.index(end)])

    def _clean(self, members: Iterable[str], ends: Sequence[int]) -> None:
        for trial in members:
            for end in ends:
                generation_file(self.directory, trial, end).unlink(missing_ok=True)

    def _decide(self, seed: int, generation: int) -> None:
        """Log which member takes over from which, with which settings; each member has its own random seed."""
        end, (metric, maximise) = self.ends[generation], objective(self.definition)
        rows = {trial: self.history.rows.get(trial, {}).get(end, {}) for trial in self.members[seed]}
        ranked = sorted((row[metric], trial) for trial, row in rows.items() if row.get(metric) is not None)
        if maximise:
            ranked.reverse()
        count = int(len(ranked) * self.settings.quantile)
        best = [trial for _, trial in ranked[:count]]
        exploits = {}
        for _, trial in ranked[len(ranked) - count :]:
            draws = random.Random(derive_seed(seed, "pbt", trial, end))
            donor = draws.choice(best)
            spec, point = self.members[seed][donor]
            _, point = segments(spec, point, self.history, self.ends)[-1]
            try:
                point, config = self._checked(self._perturbed(point, draws))
            except ConfigError:  # the donor's own settings can be
                point, config = self._checked(point)
            exploits[trial] = {"donor": donor, "point": point, "config": config}
        self.log.append(event="generation", time=now(), seed=seed, epoch=end, exploits=exploits)

    def _checked(self, point: Settings) -> tuple[Settings, dict[str, Any]]:
        return point, self.factory.config(point).model_dump(mode="json")

    def _perturbed(self, point: Settings, draws: random.Random) -> Settings:
        """The point with each range that may change during training multiplied by a factor, or drawn anew."""
        changed = dict(point)
        for parameter in self.space:
            if isinstance(parameter, Number) and mutable(parameter.key) and parameter.key in point:
                anew, share = draws.random() < self.settings.resample, draws.random()
                factor = draws.choice(self.settings.factors)
                key = parameter.key
                changed[key] = parameter.at(share) if anew else parameter.times(point[key], factor)
        return changed
