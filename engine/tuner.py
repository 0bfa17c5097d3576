"""Carries a plan out on Ray Tune: actors reused, one trial an actor at a time, every result logged by the driver.

Ray's own experiment state is never read. It lives in a temporary folder, and what is left to do after a crash follows
from the plan and the log.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.schema import RunDirectory
from engine.cluster import nodes, ray_started, room
from engine.disk import Budget
from engine.plan import Plan, objective
from engine.record import Log
from engine.standing import Standing
from engine.watch import watched
from search_spaces.study import SearchStudy

if TYPE_CHECKING:
    from engine.feeder import Deadline, Feeder
    from engine.progress import Progress
    from engine.trial_schedulers import LoggedScheduler

RETRIES = 3  # of a trial whose process was lost; exceptions inside a trial are not retried
LARGER = 2.0  # the share, times which a trial that ran out of memory is tried once more


def carry_out(plan: Plan, run: RunDirectory, log: Log, standing: Standing, progress: "Progress") -> None:
    """Run what the log lacks; KeyboardInterrupt and a spent time budget leave all written, and `resume` goes on.

    A trial that runs out of memory is tried once more, after the others, with a larger share of the machine.
    """
    from engine.feeder import Deadline

    deadline = Deadline(plan.options.time_budget)
    with (
        ray_started(plan.options.address, run.root),
        watched(),
        tempfile.TemporaryDirectory(prefix="vision-ablation-") as scratch,
    ):
        for turn, larger in enumerate((False, True)):
            share = _share(plan, LARGER if larger else 1.0)
            left = log.history.enlarged - set(log.history.ends) if larger else None
            if left is None or (left and not deadline.stop_all()):
                _fit(plan, run, log, standing, progress, Path(scratch) / str(turn), share, left, deadline)


def _fit(
    plan: Plan,
    run: RunDirectory,
    log: Log,
    standing: Standing,
    progress: "Progress",
    scratch: Path,
    share: dict[str, float],
    only: set[str] | None,
    deadline: "Deadline",
) -> None:
    """One Tuner over the trials of `only`, or over all but those that ran out of memory before."""
    from ray import tune

    from engine.recorder import Recorder

    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    scheduler = _scheduler(plan, log)
    feeder = _feeder(plan, run, log, standing, scheduler.pending if scheduler else {}, only)
    tuner = tune.Tuner(
        tune.with_resources(plan.bench.trainable, share),
        tune_config=tune.TuneConfig(
            num_samples=sys.maxsize,  # the feeder knows when to end
            search_alg=feeder,
            scheduler=scheduler,
            reuse_actors=True,
            # Without a number Ray starts the processes of a searcher's trials one after another.
            max_concurrent_trials=plan.options.max_concurrent or max(1, room(share)),
        ),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=str(scratch),
            callbacks=[
                Recorder(
                    log,
                    run,
                    progress,
                    plan.options.threads,
                    feeder,
                    share,
                    retries=only is None,
                    budget=Budget(plan, standing, log.history),
                )
            ],
            stop=deadline,
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            verbose=0,
        ),
    )
    tuner.fit()


def _scheduler(plan: Plan, log: Log) -> "LoggedScheduler | None":
    study = plan.study
    if not isinstance(study, SearchStudy) or study.trial_scheduler.name in ("none", "pbt"):
        return None
    from engine.trial_schedulers import Decisions, LoggedScheduler

    metric, maximise = objective(study)
    decisions = Decisions(study.trial_scheduler, plan.baseline.training.epochs, metric, maximise)
    return LoggedScheduler(decisions, log.history)


def _feeder(
    plan: Plan, run: RunDirectory, log: Log, standing: Standing, pending: dict[str, int], only: set[str] | None
) -> "Feeder":
    from engine.feeder import Feeder
    from engine.population import Population
    from engine.sampler import StudySampler

    study, journal = plan.study, run.root / "optuna.journal"
    feeder: Feeder
    if not isinstance(study, SearchStudy):
        feeder = Feeder(standing.todo)
    elif study.trial_scheduler.name == "pbt":
        feeder = Population(plan.bench, study, run.root, log, standing.places.place, journal)
    else:
        feeder = StudySampler(plan.bench, study, run.root, log.history, standing.places.place, journal)
    feeder.keep(lambda trial: trial in only if only is not None else trial not in log.history.enlarged)
    feeder.end_at(pending)
    return feeder


def concurrency(plan: Plan) -> int:
    """How many trials fit at a time into the Ray that is up, or into this machine where none is."""
    fits = room(_share(plan))
    return max(1, min(fits, plan.options.max_concurrent or fits))


def _share(plan: Plan, times: float = 1.0) -> dict[str, float]:
    """What of a machine a trial has; never more than all of the largest, nor a part of more than one GPU."""
    machines, gpus = nodes(), plan.options.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if any(machine["gpu"] >= 1 for machine in machines) else 0.0
    largest = max(machine["cpu"] for machine in machines)
    cpus = min(plan.options.cpus_per_trial * times, max(plan.options.cpus_per_trial, largest))
    return {"cpu": cpus, "gpu": min(gpus * times, max(gpus, 1.0))}
