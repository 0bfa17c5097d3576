"""Optuna's part of a search: asking for proposals, telling their outcomes."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from core.seeds import derive_seed
from search_spaces.spaces import Settings, encoded, is_finite, suggest_at
from search_spaces.study import SearchStudy

TRIES = 200  # draws, at most, until a configuration is new
FINITE_TRIES = 20  # for a finite space, whose other points are then tried in order
SAMPLERS = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}

optuna.logging.set_verbosity(optuna.logging.WARNING)


class OptunaStudy:
    """A new Optuna study over a search's space, stored in a new file `journal`, if given, for Optuna's own tools."""

    def __init__(self, search: SearchStudy, objectives: Sequence[tuple[str, bool]], journal: Path | None) -> None:
        """`objectives`: (metric, maximise) of each."""
        self.search, self.space = search, search.space
        self.tries = FINITE_TRIES if is_finite(search.space) else TRIES
        self.study = optuna.create_study(
            study_name=search.name,
            storage=_storage(journal),
            directions=["maximize" if better else "minimize" for _, better in objectives],
        )
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            self.study.set_metric_names([metric for metric, _ in objectives])

    def choose_sampler(self, number: int) -> None:
        """Make the CMA-ES sampler before proposal `number`, once the log's configurations were added.

        It keeps its state, and starts from the best known point; other samplers are made anew for each proposal.
        """
        if self.search.sampler == "cmaes":
            best = self.study.best_params if self.study.get_trials(states=(TrialState.COMPLETE,)) else None
            with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of x0, which ends with Optuna 6
                self.study.sampler = optuna.samplers.CmaEsSampler(
                    seed=_seed(number), warn_independent_sampling=False, x0=best
                )

    def candidates(self, number: int, proposed: Callable[[Settings], bool]) -> Iterator[optuna.Trial]:
        """Asked trials for proposal `number`; the caller takes the first whose configuration is new.

        They are seeded by the number, so that a resumed search draws what an uninterrupted one would.
        """
        name = self.search.sampler
        if name == "qmc":
            yield from (self.ask_for(point) for point in self._sobol(number) if not proposed(point))
        elif name != "grid":
            if name in SAMPLERS:
                self.study.sampler = SAMPLERS[name](seed=_seed(number))
            for _ in range(self.tries):
                yield self.study.ask()

    def _sobol(self, start: int) -> Iterator[Settings]:
        """Points of a scrambled Sobol sequence from the `start`-th on."""
        from scipy.stats import qmc

        sequence = qmc.Sobol(len(self.space), rng=derive_seed(0, "sobol") % 2**32)
        if start:
            sequence.fast_forward(start)
        for _ in range(TRIES):
            yield suggest_at(self.space, sequence.random(1)[0].tolist())

    def ask_for(self, point: Settings) -> optuna.Trial:
        """A trial of this configuration; settings that it leaves out are sampled."""
        self.study.enqueue_trial(encoded(self.space, point))
        return self.study.ask()

    def tell(
        self,
        trial: optuna.Trial | None,
        state: TrialState,
        values: Sequence[float] | None = None,
        trace: Mapping[int, float] | None = None,
    ) -> None:
        """Report an asked trial's outcome: `values` if it is COMPLETE; `trace`, a single objective by epoch."""
        assert trial is not None
        for step, value in (trace or {}).items():
            trial.report(value, step)
        self.study.tell(trial, values if state == TrialState.COMPLETE else None, state=state)

    def add(
        self, point: Settings, state: TrialState, values: Sequence[float] | None, trace: Mapping[int, float]
    ) -> None:
        """Add an ended configuration in one step: asking and reporting would write a journal line for each epoch."""
        if state == TrialState.PRUNED and trace:
            values = [trace[max(trace)]]
        self.study.add_trial(
            optuna.trial.create_trial(
                state=state,
                values=values,
                params=encoded(self.space, point),
                distributions={p.key: p.distribution() for p in self.space if p.key in point},
                intermediate_values=dict(trace),
            )
        )


def _seed(number: int) -> int:
    return derive_seed(0, "sampler", number) % 2**32


def _storage(journal: Path | None) -> optuna.storages.BaseStorage | None:
    """A new journal file; an old one is deleted, as it is rewritten from the log."""
    if journal is None:
        return None
    journal.unlink(missing_ok=True)
    return optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
