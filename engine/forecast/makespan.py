"""How long trials take that share a few places: each place takes the next trial once its last one has ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace
from random import Random
from statistics import fmean

from engine.planning.plan import objective
from engine.search.generations import boundaries
from search_spaces.study import AnyStudy, SearchStudy

SIMULATIONS = 4  # of a trial scheduler, half of them with a sampler that learns
LEARNT = (
    1.0  # standard deviations of the trials' values by which the last of such a sampler's are better than the first
)


@dataclass(frozen=True)
class Work:
    """Of one trial: seconds before and after its epochs, epochs that are left, seconds of each."""

    beside: float
    epochs: int
    epoch: float

    @property
    def seconds(self) -> float:
        return self.beside + self.epochs * self.epoch


def makespan(works: Sequence[Work], places: int) -> float:
    """Seconds until the last of the trials has ended, taken in their order."""
    return _last_end([work.seconds for work in works], places)


def _last_end(seconds: Sequence[float], places: int) -> float:
    if not seconds:
        return 0.0
    free = [0.0] * min(places, len(seconds))
    for each in seconds:
        heapreplace(free, free[0] + each)
    return max(free)


def scheduled(study: AnyStudy, works: Sequence[Work], places: int) -> list[float]:
    """The seconds of the study's trials in several simulations of its trial scheduler; one figure without any."""
    if isinstance(study, SearchStudy) and study.population:
        ends = boundaries(study.population, study.epochs)
        lengths = [end - before for before, end in zip([0, *ends], ends, strict=False)]
        parts = [
            [Work(work.beside, min(length, max(0, work.epochs - sum(lengths[i + 1 :]))), work.epoch) for work in works]
            for i, length in enumerate(lengths)
        ]
        return [sum(makespan([work for work in part if work.epochs], places) for part in parts)]
    if not isinstance(study, SearchStudy) or not study.scheduled:
        return [makespan(works, places)]
    from engine.execution.trial_schedulers import Decisions

    metric, maximise = objective(study)
    epochs = max((work.epochs for work in works), default=1)
    learns = study.sampler in ("tpe", "cmaes")

    def once(number: int) -> float:
        decisions = Decisions(study.trial_scheduler, epochs, metric, maximise)
        value = curves(len(works), epochs, number, LEARNT * (number % 2) * learns)
        sign = 1 if maximise else -1
        return stopped_early(
            works,
            places,
            lambda trial, epoch: decisions.stops(str(trial), {"epoch": epoch, metric: sign * value(trial, epoch)}),
        )

    return [once(number) for number in range(SIMULATIONS)]


def curves(trials: int, epochs: int, seed: int, learnt: float) -> Callable[[int, int], float]:
    """Learning curves that rise and flatten, of trials that differ; later ones are better by up to `learnt`."""
    draws = Random(seed)
    final = [draws.gauss(learnt * trial / max(1, trials - 1), 1.0) for trial in range(trials)]
    return lambda trial, epoch: final[trial] - 4 * 0.5 ** (5 * epoch / epochs) + draws.gauss(0, 0.2)


def stopped_early(works: Sequence[Work], places: int, stops: Callable[[int, int], bool]) -> float:
    """`makespan`, where a trial ends with the epoch at which `stops(trial, epoch)`; epochs count from 1."""
    waiting, clock = iter(range(len(works))), 0.0
    events: list[tuple[float, int, int]] = []  # (time of an epoch's end, trial, epoch)

    def begin(now: float) -> None:
        if (trial := next(waiting, None)) is not None:
            heappush(events, (now + works[trial].beside + works[trial].epoch, trial, 1))

    for _ in range(places):
        begin(0.0)
    while events:
        clock, trial, epoch = heappop(events)
        if stops(trial, epoch) or epoch >= works[trial].epochs:
            begin(clock)
        else:
            heappush(events, (clock + works[trial].epoch, trial, epoch + 1))
    return clock


def spread(values: Sequence[float]) -> tuple[float, float]:
    """(mean, greatest relative distance from it)."""
    mean = fmean(values)
    return mean, max((abs(value / mean - 1) for value in values), default=0.0) if mean else 0.0
