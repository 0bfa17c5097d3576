"""Runs a plan on Ray Tune: actors reused, short trials bundled, every result logged by the driver.

Ray's own experiment state, in a temporary folder, is never read: the plan and the log tell what is left after a crash.
"""

import os
import sys
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from analysis.records.run_directory import RunDirectory
from core.files import scratch
from engine.execution.checkpoint_budget import CheckpointBudget
from engine.execution.cluster import nodes, room, too_much, waits_told
from engine.execution.local_ray import is_local
from engine.execution.prepared_workers import used_by_tune
from engine.execution.ray_watchdog import watched
from engine.planning.plan import Plan, objective
from engine.planning.remaining_work import RemainingWork
from engine.runlog.run_log import RunLog, stopping
from engine.runlog.study_file import read_request, rewrite
from search_spaces.study import SearchStudy

if TYPE_CHECKING:
    from engine.execution.progress import Progress
    from engine.execution.ray_callback import RunLogCallback
    from engine.execution.time_budget import TimeBudget
    from engine.execution.trial_schedulers import LoggedScheduler
    from engine.search.trial_queue import TrialQueue

RETRIES = 3  # of a trial whose process was lost; exceptions inside a trial are not retried
LARGER = 2.0  # times the resources, for the second try of a trial that ran out of memory


def carry_out(
    plan: Plan, run: RunDirectory, log: RunLog, left: RemainingWork, progress: "Progress", ray_ends: bool = False
) -> bool:
    """Run on Ray the trials without an end in the log; after KeyboardInterrupt or a spent time budget `resume` goes on.
    Returns whether the time budget was spent.

    `ray_ends`: whether Ray ends after this, so that its actors need not be asked to stop.

    A trial that runs out of memory is tried once more, after the others, with `LARGER` times the resources.
    """
    from engine.execution.time_budget import TimeBudget

    tuning = Tuning(plan, run, log, left, progress, TimeBudget(plan.options.time_budget), ray_ends)
    with watched(run.root), scratch() as folder:
        gpus = tuning.gpus()
        tuning.fit(folder / "first", _share(plan, gpus), None)
        if (enlarged := log.history.enlarged - set(log.history.ends)) and not tuning.time_budget.stop_all():
            tuning.fit(folder / "second", _share(plan, gpus, LARGER), enlarged)
    return tuning.time_budget.spent


@dataclass(frozen=True)
class Tuning:
    """Builds Ray Tune's parts from a plan: the queue of its trials, a trial scheduler, the callback that logs."""

    plan: Plan
    run: RunDirectory
    log: RunLog
    left: RemainingWork
    progress: "Progress"
    time_budget: "TimeBudget"
    ray_ends: bool

    def fit(self, folder: Path, share: dict[str, float], only: set[str] | None) -> None:
        """One Tuner over the trials of `only`, or over all but those that ran out of memory before."""
        from ray import tune
        from ray.air._internal import usage

        from engine.execution.ray_callback import AllEnded

        os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
        options, scheduler = self.plan.options, self.scheduler()
        queue = self.queue(scheduler.pending if scheduler else {}, only)
        processes = options.max_concurrent or max(1, room(share))
        queue.processes = None if self.plan.study.adaptive else processes
        queue.fuse = self.plan.fuse
        tuner = tune.Tuner(
            tune.with_resources(self.plan.factory.trainable, share),
            tune_config=tune.TuneConfig(
                num_samples=sys.maxsize,  # the queue knows when to end
                search_alg=queue,
                scheduler=scheduler,
                reuse_actors=True,
                # Without a number Ray starts the processes of a searcher's trials one after another.
                max_concurrent_trials=processes,
            ),
            run_config=tune.RunConfig(
                name="trials",
                storage_path=str(folder),
                callbacks=[self.time_budget, self.callback(queue, share, retries=only is None)],
                stop=self.time_budget,
                failure_config=tune.FailureConfig(max_failures=RETRIES),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                verbose=0,
            ),
        )
        local = is_local(options.address)
        with (
            nullcontext() if local else waits_told(share, lambda: not self.progress.running, self.progress.say),
            used_by_tune(),
            patch.object(usage, "tag_callbacks"),  # imports every logger that Ray knows, for reports that are off
            suppress(AllEnded),
        ):
            tuner.fit()

    def callback(self, queue: "TrialQueue", share: dict[str, float], retries: bool) -> "RunLogCallback":
        from engine.execution.ray_callback import RunLogCallback

        budget, threads = CheckpointBudget(self.plan, self.left, self.log), self.plan.options.threads
        return RunLogCallback(self.log, self.run, self.progress, threads, queue, share, retries, budget, self.ray_ends)

    def scheduler(self) -> "LoggedScheduler | None":
        study = self.plan.study
        if not isinstance(study, SearchStudy) or study.population or not study.scheduled:
            return None
        from engine.execution.trial_schedulers import Decisions, LoggedScheduler

        metric, maximise = objective(study)
        decisions = Decisions(study.trial_scheduler, self.plan.baseline.training.epochs, metric, maximise)
        return LoggedScheduler(decisions, self.log.history)

    def queue(self, pending: dict[str, int], only: set[str] | None) -> "TrialQueue":
        """The queue of the trials; those of `pending` end at the epoch at which their stop was decided."""
        from engine.search.trial_queue import TrialQueue

        study, factory, place = self.plan.study, self.plan.factory, self.left.continuations.place
        say = self.progress.say
        history, root, journal = self.log.history, self.run.root, self.run.journal
        queue: TrialQueue
        if not isinstance(study, SearchStudy):
            queue = TrialQueue(self.left.todo)
            if study.is_path:
                from engine.search.ablation_path import PathQueue

                queue = PathQueue(self.plan, self.log, self.left.todo, say, self.progress.replanned)
        elif study.population:
            from engine.search.population import Population

            queue = Population(factory, study, root, self.log, place, journal, say)
        else:
            from engine.search.search_queue import SearchQueue

            queue = SearchQueue(factory, study, root, history, place, journal, say, self.all_tried)
        queue.keep_only(lambda trial: trial in only if only is not None else trial not in history.enlarged)
        queue.stop_at(pending)
        return queue

    def all_tried(self, configurations: int) -> None:
        """Record that a search's space holds no more configurations than these."""
        self.progress.total = configurations * self.plan.study.seeds
        self.progress.say(f"The space holds {configurations} configurations; all of them were tried.")
        with stopping():
            rewrite(self.run, read_request(self.run.root)[1], configurations=configurations)

    def gpus(self) -> float | None:
        """The measured GPU share of one trial with `auto`; else None, and `_share` decides."""
        if self.plan.options.gpus_per_trial != "auto":
            return None
        from engine.execution.gpu_share import measured_share
        from trainables.fused.autotune import MOST

        specs = self.left.todo or [self.plan.factory.spec("baseline", self.plan.baseline, 0, self.run.root)]
        gpus, why = measured_share(specs, MOST if self.plan.fuse == "auto" else self.plan.fuse)
        self.progress.say(f"--gpus-per-trial auto: {gpus:.3g}; {why}")
        return gpus


def beyond_machine(plan: Plan) -> list[str]:
    """Faults where a trial asks for more than the running Ray, or this machine if there is none, can ever have."""
    return too_much(plan.options.address, _share(plan))


def concurrency(plan: Plan) -> int:
    """How many trials fit at a time into the running Ray, or into this machine if there is none."""
    fits = room(_share(plan))
    return max(1, min(fits, plan.options.max_concurrent or fits))


def _share(plan: Plan, gpus: float | None = None, times: float = 1.0) -> dict[str, float]:
    """A trial's CPUs and GPUs, `times` those asked for; at most all CPUs of the largest machine and one shared GPU."""
    machines, asked = nodes(), plan.options.gpus_per_trial
    if gpus is None:
        whole = 1.0 if any(machine["gpu"] >= 1 for machine in machines) else 0.0
        gpus = asked if isinstance(asked, float) else whole
    largest = max(machine["cpu"] for machine in machines)
    cpus = min(plan.options.cpus_per_trial * times, max(plan.options.cpus_per_trial, largest))
    return {"cpu": cpus, "gpu": min(gpus * times, max(gpus, 1.0))}
