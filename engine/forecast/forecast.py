"""Forecasts how long a plan's command takes, and its memory and disk; says what a plan cannot show.

Epochs are timed beside each other (`probe`) or taken from earlier runs' logs (`earlier_figures`), the trials are laid
on the places that they share (`makespan`), and the run's start and report are added.
"""

import math
import os
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from statistics import fmean

from analysis.records.run_directory import RunDirectory
from engine.execution.local_ray import is_local
from engine.execution.progress import duration
from engine.execution.tuner import concurrency
from engine.forecast.earlier_figures import Earlier, cost_key, earlier_figures
from engine.forecast.makespan import Work, scheduled, spread
from engine.forecast.probe import Cost, ProbeError, Probes
from engine.planning.disk_estimate import Footprints
from engine.planning.plan import Plan
from engine.planning.remaining_work import RemainingWork, remaining_work
from engine.planning.reuse import foresee
from engine.runlog.history import History
from engine.search.trial_queue import BUNDLE_SECONDS
from search_spaces.spaces import random_points
from search_spaces.study import SearchStudy
from trainables.config import ConfigError, TrialConfig

PROBE_SECONDS = 4.0  # of timing in all; configurations beyond it are taken to be like the mean of those timed
LEAST, MOST = 0.5, 1.5  # seconds of timing a configuration
PROCESSES = 32  # that time steps at most: more change the figures no further
DRAWS = 8  # configurations that stand for those that a search has not proposed yet

# What a run takes beside its trials, as multiples of the seconds until the probes' processes have imported torch and
# the trials' code: measured in the same moment, that says how fast the machine is at such work. The factors are of
# runs on two cores of an EPYC, by the log's times (`python -m benchmarks forecast` prints them).
START = 2.9  # from Enter to the first trial's start: imports, the plan, Ray, its workers
REPORT = 2.5  # from the last trial's end to the prompt
REPORT_TRIAL = 0.005  # of the report, for each trial
RAY_TRIAL = 0.02  # seconds of Ray Tune for a trial of its own; short trials share one

# Half the width of the range, as a share of the middle: chosen, and held against ten runs by `benchmarks forecast`.
NARROWEST, WIDEST = 0.2, 0.3
NARROWEST_EARLIER = 0.15


@dataclass(frozen=True)
class Forecast:
    """Seconds are of the whole command, start and report included; None where no step could be timed."""

    trials: int
    """for a path: an upper bound"""
    finished: int
    reused: int
    """taken over from the run of `--reuse-from`"""
    seconds: float | None
    """the middle of the range"""
    seconds_low: float | None
    seconds_high: float | None
    start_seconds: float | None
    training_seconds: float | None
    """from the first trial's start to the last one's end"""
    report_seconds: float | None
    upper_bound: bool
    """whether trials may end earlier than is known now, or be fewer"""
    concurrent: int
    memory: int
    disk: int
    probed: int
    """configurations that were timed"""
    based_on: str
    """where the seconds of an epoch are from; why there are none"""


@dataclass(frozen=True)
class Figures:
    """What the trials of a plan cost, by `cost_key`."""

    costs: dict[str, Cost]
    earlier: dict[str, Earlier]
    start: float
    """seconds until a process has imported what trials need"""
    spread: float
    """greatest relative distance between processes that timed the same"""
    fault: str = ""

    def of(self, key: str) -> Cost:
        """The cost of a configuration; that of the others' mean, where it was not timed."""
        cost = self.costs.get(key) or Cost(*map(fmean, zip(*map(astuple, self.costs.values()), strict=True)))
        return replace(cost, epoch=self.earlier[key].epoch) if key in self.earlier else cost


def forecast(plan: Plan) -> Forecast:
    """Time, memory and disk of the plan's remaining trials."""
    history = History.of(RunDirectory(plan.directory))
    reused = foresee(plan, history)
    now = remaining_work(plan, history)
    left = _left(plan, now, history)
    concurrent = min(concurrency(plan), max(1, len(left)))
    known = Footprints(plan)
    disk = sum(known.of(each.config).total for each in left)
    wanted = {each.key: each.config for each in left}
    common = Counter(each.key for each in left).most_common()
    figures = measured(plan, {key: wanted[key] for key, _ in common}, concurrent)
    if not left or not figures.costs:
        nothing = 0.0 if not left else None
        parts = dict.fromkeys(SECONDS, nothing)
        memory = 0
    else:
        parts = _seconds(plan, left, figures, concurrent)
        memory = int(max(cost.memory for cost in figures.costs.values()) * concurrent)
    return Forecast(
        trials=now.total,
        finished=now.done - reused,
        reused=reused,
        **parts,
        upper_bound=bool(plan.ahead or any(each.config.training.patience for each in left)),
        concurrent=concurrent,
        memory=memory,
        disk=disk,
        probed=len(figures.costs),
        based_on=_basis(figures, wanted, concurrent),
    )


SECONDS = ("seconds", "seconds_low", "seconds_high", "start_seconds", "training_seconds", "report_seconds")


@dataclass(frozen=True)
class Left:
    """A remaining trial, by what its time depends on."""

    config: TrialConfig
    key: str
    """the `cost_key`"""
    epochs: int
    """that are left to train"""


def _left(plan: Plan, now: RemainingWork, history: History) -> list[Left]:
    """The remaining trials; draws from the space stand for those that a search has not proposed yet."""
    configs = now.configs(plan)
    done = [len(history.rows.get(spec.segment.continues or spec.trial, {})) for spec in now.todo]
    unproposed = len(configs) - len(done)
    if isinstance(plan.study, SearchStudy) and unproposed:
        drawn = _drawn(plan, plan.study, min(DRAWS, unproposed)) or [plan.baseline]
        configs[len(done) :] = [drawn[i % len(drawn)] for i in range(unproposed)]
    keys = {id(config): cost_key(config) for config in {id(config): config for config in configs}.values()}
    rows = [*done, *[0] * unproposed]
    return [
        Left(config, keys[id(config)], max(0, config.training.epochs - n))
        for config, n in zip(configs, rows, strict=True)
    ]


def _drawn(plan: Plan, study: SearchStudy, number: int) -> list[TrialConfig]:
    """Random configurations of the space, on the baseline's data, so that none is decoded for a forecast."""
    found = []
    for point in random_points(study.space, number):
        with suppress(ConfigError):
            config = plan.factory.config(point).model_copy(update={"dataset": plan.baseline.dataset})
            if plan.factory.network(config) is not None:
                found.append(config)
    return found


def measured(plan: Plan, wanted: Mapping[str, TrialConfig], concurrent: int) -> Figures:
    """Costs of the configurations, by `cost_key`, timed as many at a time as will run; epochs from earlier runs."""
    if not wanted:
        return Figures({}, {}, 0.0, 0.0)
    options, costs, spreads = plan.options, dict[str, Cost](), [0.0]
    earlier = earlier_figures(plan, wanted, concurrent)
    setting = {"folders": {k: str(v) for k, v in options.folders.items()}, "code": list(plan.study.code)}
    gpus = options.gpus_per_trial if isinstance(options.gpus_per_trial, float) else 1.0
    seconds = min(MOST, max(LEAST, PROBE_SECONDS / len(wanted)))
    fault, start = "", 0.0
    try:
        with Probes(min(concurrent, PROCESSES), setting, gpus) as probes:
            began, start = time.monotonic(), probes.start
            for key, config in wanted.items():
                if costs and time.monotonic() - began > max(PROBE_SECONDS, start):  # a busy machine needs longer
                    break
                costs[key], apart = probes.cost(plan.factory.spec("probe", config, 0, plan.directory), seconds)
                spreads.append(apart)
    except ProbeError as error:
        fault = str(error)
    return Figures(costs, earlier, start, max(spreads), fault)


def _seconds(plan: Plan, left: Sequence[Left], figures: Figures, concurrent: int) -> dict[str, float | None]:
    works = [_work(plan, each.epochs, figures.of(each.key)) for each in left]
    training, varies = spread(scheduled(plan.study, works, concurrent))
    training = min(training, plan.options.time_budget or training)
    start = figures.start * START + max(cost.first for cost in figures.costs.values())
    report = figures.start * (REPORT + REPORT_TRIAL * len(left))
    whole = start + training + report
    keys = {each.key for each in left}
    unknown = 1 - len(keys & (figures.costs.keys() | figures.earlier.keys())) / len(keys)
    least = NARROWEST_EARLIER if keys <= figures.earlier.keys() else NARROWEST
    width = min(WIDEST, math.hypot(least, figures.spread / 2, varies * training / whole, unknown / 2))
    return dict(zip(SECONDS, (whole, whole * (1 - width), whole * (1 + width), start, training, report), strict=True))


def _work(plan: Plan, epochs: int, cost: Cost) -> Work:
    """A trial's time, with a checkpoint at its end and every `checkpoint_seconds` before."""
    epoch, every = cost.epoch + cost.diagnostics, 0.0 if plan.study.scheduled else plan.options.checkpoint_seconds
    saves = epochs if every <= epoch else math.ceil(epochs * epoch / every)
    alone = cost.trial + epochs * epoch + saves * cost.save
    ray = RAY_TRIAL if plan.study.adaptive else RAY_TRIAL * min(1.0, alone / BUNDLE_SECONDS)
    return Work(cost.trial + ray, epochs, epoch + cost.save * saves / max(1, epochs))


def _basis(figures: Figures, wanted: Collection[str], concurrent: int) -> str:
    if figures.fault and not figures.costs:
        return f"no steps could be timed: {figures.fault}"
    runs: dict[Path, int] = {}
    for each in figures.earlier.values():
        runs[each.run] = runs.get(each.run, 0) + each.epochs
    said = [f"from {n} epoch{'s' * (n > 1)} of {named(run)}" for run, n in runs.items()]
    timed = len(figures.costs.keys() - figures.earlier.keys())
    if timed:
        beside = f" {concurrent} at a time" if concurrent > 1 else ""
        said.append(f"{timed} configuration{'s' * (timed > 1)} timed here{beside}")
    others = len(set(wanted) - figures.costs.keys() - figures.earlier.keys())
    if others:
        said.append(f"{others} more taken to be like {'them' if timed > 1 else 'it'}")
    return ", ".join(said)


def named(run: Path) -> str:
    """The folder as a path from here, where it lies below."""
    return str(run.relative_to(Path.cwd()) if run.is_relative_to(Path.cwd()) else run)


def forecast_line(plan: Plan, made: Forecast) -> str:
    address = plan.options.address
    where = "" if is_local(address) else f" on this machine (the cluster {address} is not asked)"
    if made.seconds_low is None or made.seconds_high is None:
        return f"forecast{where}: none, {made.based_on}; {made.disk / 2**20:.1f} MiB disk"
    most = "at most " * made.upper_bound
    return (
        f"forecast{where}: {most}{duration(made.seconds_low)} to {duration(made.seconds_high)} (start and report "
        f"included), {made.concurrent} at a time; {made.memory / 2**30:.1f} GiB memory, {made.disk / 2**20:.1f} MiB "
        f"disk ({made.based_on}, load {os.getloadavg()[0]:.1f})"
    )
