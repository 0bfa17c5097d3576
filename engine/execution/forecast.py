"""Forecasts how long a plan's command takes, and its memory and disk; says what a plan cannot show.

Epochs are timed beside each other (`probe`) or taken from earlier runs' logs (`earlier_figures`), the trials are laid
on the places that they share (`makespan`), and the run's start and report are added.
"""

import json
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from analysis.records.run_directory import RunDirectory
from analysis.statistics.hypothesis_tests import MINIMUM_PAIRS
from core.value_words import listed
from engine.execution.cluster import is_local
from engine.execution.earlier_figures import Earlier, cost_key, earlier_figures
from engine.execution.makespan import Work, scheduled, spread
from engine.execution.probe import Cost, ProbeError, Probes
from engine.execution.progress import duration, teller
from engine.execution.tuner import concurrency
from engine.planning.disk_estimate import Footprints
from engine.planning.own_code import uncopied
from engine.planning.plan import Plan
from engine.planning.remaining_work import RemainingWork, remaining_work
from engine.planning.reuse import foresee
from engine.runlog.history import History
from engine.search.trial_queue import BUNDLE_SECONDS
from search_spaces.spaces import random_points
from search_spaces.study import AblationStudy, SearchStudy
from trainables.config import ConfigError, TrialConfig
from trainables.models.construction import Constructed, constructed

SHOWN_FACTORS, SHOWN_NAMES = 4, 12
PROBE_SECONDS = 4.0  # of timing in all; configurations beyond it are taken to be like the mean of those timed
LEAST, MOST = 0.5, 1.5  # seconds of timing a configuration
PROCESSES = 32  # that time steps at most: more change the figures no further
DRAWS = 8  # configurations that stand for those that a search has not proposed yet

# What a run takes beside its trials, as multiples of the seconds until the probes' processes have imported torch and
# the trials' code: measured in the same moment, that says how fast the machine is at such work. The factors are of
# runs on two cores of an EPYC, by the log's times (`python -m benchmarks forecast` prints them).
START = 2.65  # from Enter to the first trial's start: imports, the plan, Ray, its workers
REPORT = 1.6  # from the last trial's end to the prompt
REPORT_TRIAL = 0.005  # of the report, for each trial
RAY_TRIAL = 0.02  # seconds of Ray Tune for a trial of its own; short trials share one

# Half the width of the range, as a share of the middle: the least that ten runs of different kinds asked for, and the
# most that a forecast may have to be one.
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
    disk = sum(known.of(config).total for config, _ in left)
    kinds = Counter(cost_key(config) for config, _ in left)
    wanted = {cost_key(config): config for config, _ in left}
    figures = measured(plan, {key: wanted[key] for key, _ in kinds.most_common()}, concurrent)
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
        upper_bound=bool(plan.ahead or any(config.training.patience for config, _ in left)),
        concurrent=concurrent,
        memory=memory,
        disk=disk,
        probed=len(figures.costs),
        based_on=_basis(figures, wanted, concurrent),
    )


SECONDS = ("seconds", "seconds_low", "seconds_high", "start_seconds", "training_seconds", "report_seconds")


def _left(plan: Plan, now: RemainingWork, history: History) -> list[tuple[TrialConfig, int]]:
    """(configuration, epochs to train) of each remaining trial; draws from the space stand for those not proposed."""
    configs = now.configs(plan)
    done = [len(history.rows.get(spec.segment.continues or spec.trial, {})) for spec in now.todo]
    unproposed = len(configs) - len(done)
    if isinstance(plan.study, SearchStudy) and unproposed:
        drawn = _drawn(plan, plan.study, min(DRAWS, unproposed)) or [plan.baseline]
        configs[len(done) :] = [drawn[i % len(drawn)] for i in range(unproposed)]
    rows = [*done, *[0] * unproposed]
    return [(config, max(0, config.training.epochs - n)) for config, n in zip(configs, rows, strict=True)]


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
                if costs and time.monotonic() - began > PROBE_SECONDS:
                    break
                costs[key], apart = probes.cost(plan.factory.spec("probe", config, 0, plan.directory), seconds)
                spreads.append(apart)
    except ProbeError as error:
        fault = str(error)
    return Figures(costs, earlier, start, max(spreads), fault)


def _seconds(
    plan: Plan, left: Sequence[tuple[TrialConfig, int]], figures: Figures, concurrent: int
) -> dict[str, float | None]:
    works = [_work(plan, config, epochs, figures.of(cost_key(config))) for config, epochs in left]
    training, varies = spread(scheduled(plan.study, works, concurrent))
    training = min(training, plan.options.time_budget or training)
    start = figures.start * START + max(cost.first for cost in figures.costs.values())
    report = figures.start * (REPORT + REPORT_TRIAL * len(left))
    whole = start + training + report
    keys = {cost_key(config) for config, _ in left}
    unknown = 1 - len(keys & (figures.costs.keys() | figures.earlier.keys())) / len(keys)
    least = NARROWEST_EARLIER if keys <= figures.earlier.keys() else NARROWEST
    width = min(WIDEST, math.hypot(least, figures.spread / 2, varies * training / whole, unknown / 2))
    return dict(zip(SECONDS, (whole, whole * (1 - width), whole * (1 + width), start, training, report), strict=True))


def _work(plan: Plan, config: TrialConfig, epochs: int, cost: Cost) -> Work:
    """A trial's time, with a checkpoint at its end and every `checkpoint_seconds` before."""
    epoch, every = cost.epoch + cost.diagnostics, 0.0 if plan.study.scheduled else plan.options.checkpoint_every
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
    timed = len(set(wanted) - figures.earlier.keys() & set(figures.costs)) if figures.earlier else len(figures.costs)
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


def unpaired_weights(plan: Plan) -> dict[str, list[str]]:
    """By name of a network, its parameters that stay as constructed, so that cells of other networks do not share them.

    A network's constructor draws them under the trial's seed, in an order of its own.
    """
    return _by_network(plan, lambda built: built.unpaired)


def _by_network(plan: Plan, names: Callable[[Constructed], list[str]]) -> dict[str, list[str]]:
    configs = [item.config for item in plan.cells if item.runs] or [plan.baseline]
    found: dict[str, list[str]] = {}
    for config in configs:
        network = plan.factory.network(config) if config else None
        if config and network is not None and (some := names(constructed(network))):
            found[config.model.name] = list(dict.fromkeys([*found.get(config.model.name, []), *some]))
    return found


def remarks(plan: Plan) -> list[str]:
    """What the plan's trials cannot show, however they turn out."""
    said, seeds = [], plan.study.seeds
    if plan.comparisons and seeds < MINIMUM_PAIRS:
        said.append(
            f"{seeds} seed{'s' * (seeds > 1)}: no verdict can follow, each row will say `too few runs`; "
            f"{MINIMUM_PAIRS} seeds are the fewest that can settle anything (--seeds {MINIMUM_PAIRS})"
        )
    if plan.options.epochs and isinstance(plan.study, AblationStudy) and "training.epochs" in plan.study.varied:
        said.append(f"--epochs {plan.options.epochs} is for every cell, also where a level sets training.epochs")
    if plan.code:
        said.append(f"code: {listed([*plan.code], SHOWN_NAMES)}; `run` copies {'them' if len(plan.code) > 1 else 'it'}")
    said += uncopied(plan.study)
    said += plan.factory.own_remarks
    for model, names in _by_network(plan, lambda built: built.unfilled).items():
        said.append(
            f"pretrained weights of {model} do not fill {', '.join(names)}, which start at random: their shapes are "
            f"others here (a first layer's, by model.stem and the pictures' channels; an output's, by the classes)"
        )
    for model, names in unpaired_weights(plan).items():
        said.append(
            f"initial weights of {model} that its constructor set, so not paired with other networks: "
            f"{listed(names, SHOWN_NAMES, 'more (plan --json lists all)')}"
        )
    return said


def data_line(plan: Plan) -> str:
    """The baseline's data and network in a line."""
    info, config = plan.factory.data(plan.baseline).info, plan.baseline
    sizes = ", ".join(f"{sum(counts)} {name}" for name, counts in info.counts.items())
    shape = " × ".join(map(str, info.input_shape))
    return f"{info.name}: {sizes}; {len(info.classes)} classes, pictures of {shape}; {config.model.name}"


def plan_record(plan: Plan) -> dict[str, Any]:
    """The plan as plain data; `study` is in the schema that a user's YAML file has."""
    finished = History.of(RunDirectory(plan.directory)).ends
    study = plan.study.model_dump(mode="json")
    if (epochs := study["baseline"].pop("training.epochs", None)) is not None:  # by `--set`
        study["epochs"] = plan.options.epochs or epochs
    return {
        "study": study,
        "directory": str(plan.directory),
        "cells": [{**item.record, "settings": item.cell.settings} for item in plan.cells],
        "trials": [
            {"trial": spec.trial, "cell": spec.cell, "seed": spec.seed, "finished": spec.trial in finished}
            for spec in plan.trials
        ],
        "unpaired_weights": unpaired_weights(plan),
        "remarks": remarks(plan),
        "forecast": vars(forecast(plan)),
    }


def describe_plan(plan: Plan, console: Console) -> None:
    """Print the plan to the console."""
    study, say = plan.study, teller(console)
    console.print(f"[bold]{study.name}[/bold]  {study.question}", highlight=False)
    if isinstance(study, SearchStudy):
        seeds = f"{study.seeds} seed{'s' * (study.seeds > 1)}"
        say(f"search by {study.sampler}: {study.configurations} configurations × {seeds}, over")
        for parameter in study.space:
            tree = parameter.model_dump(mode="json", exclude={"key", "kind"}, exclude_defaults=True)
            say(f"  {parameter.key}: {json.dumps(tree)}")
    else:
        shown = study.factors if len(study.factors) <= SHOWN_FACTORS else ()  # the names of a ladder's cells say it
        table = Table("cell", *(factor.name for factor in shown), "epochs", "trials", "remark", box=None)
        for item in plan.cells:
            remark = f"identical to {item.identical_to}" if item.identical_to else item.invalid or ""
            trials = str(study.seeds) if item.runs else "-"
            epochs = str(item.config.training.epochs) if item.config else "-"
            levels = (item.cell.levels[factor.name] for factor in shown)
            table.add_row(item.cell.name, *levels, epochs, trials, remark)
        console.print(table)
    say(data_line(plan))
    for remark in remarks(plan):
        say(remark)
    if plan.invalid and not plan.candidates:
        say(f"{len(plan.invalid)} of {len(plan.cells)} cells cannot run: `run` refuses them all without --skip-invalid")
    made = forecast(plan)
    reused = f", {made.reused} in {plan.options.reuse_from}" if made.reused else ""
    most = "at most " if plan.ahead else ""  # a path's candidates may be identical to other cells, or invalid
    console.print(
        f"{most}{made.trials} trials, {made.finished} of them finished in {plan.directory}{reused}",
        highlight=False,
        soft_wrap=True,
    )
    if plan.factory.known:
        console.print(
            f"{len(plan.factory.known)} trials were begun by other code; one of each version is first trained again",
            highlight=False,
        )
    if made.trials > made.finished + made.reused:
        console.print(forecast_line(plan, made), highlight=False, soft_wrap=True)


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
