"""Carries a plan out on Ray Tune: actors reused, one trial an actor at a time, every result logged by the driver.

Ray's own experiment state is never read. It lives in a temporary folder, and what is left to do after a crash follows
from the plan and the log.
"""

import os
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.schema import RunDirectory
from engine.cluster import ray_started
from engine.plan import Plan
from engine.record import Log, now
from search_spaces.study import SearchStudy
from trainables.trial import TrialSpec

if TYPE_CHECKING:
    from engine.progress import Progress

RETRIES = 3  # of a trial whose process was lost; exceptions inside a trial are not retried


def unfinished(plan: Plan, events: Sequence[dict[str, Any]]) -> list[TrialSpec]:
    """The plan's trials that have no outcome in the log; failed ones run again."""
    done = {event["trial"] for event in events if event["event"] == "end" and event["status"] != "failed"}
    return [spec for spec in plan.trials if spec.trial not in done]


def carry_out(plan: Plan, run: RunDirectory, progress: "Progress", command: list[str]) -> None:
    """Run what the log lacks. KeyboardInterrupt leaves everything written; `resume` goes on from there."""
    log = Log(run)
    log.append(event="session", time=now(), command=command, node=platform.node(), pid=os.getpid())
    try:
        search = isinstance(plan.study, SearchStudy)
        todo = [] if search else unfinished(plan, log.events)
        if search or todo:
            with ray_started(), tempfile.TemporaryDirectory(prefix="vision-ablation-") as scratch:
                _fit(plan, run, log, todo, progress, Path(scratch))
    finally:
        log.close()


def _fit(plan: Plan, run: RunDirectory, log: Log, todo: list[TrialSpec], progress: "Progress", scratch: Path) -> None:
    from ray import tune

    from engine.recorder import Recorder
    from engine.sampler import StudySampler

    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    search_alg, space, samples = None, {}, 1
    if isinstance(plan.study, SearchStudy):
        search_alg = StudySampler(plan.bench, plan.study, run.root, log.events)
        samples = search_alg.samples * search_alg.seeds
    else:
        space = {"spec": tune.grid_search([spec.to_dict() for spec in todo])}
    tuner = tune.Tuner(
        tune.with_resources(plan.bench.trainable, _resources(plan)),
        param_space=space,
        tune_config=tune.TuneConfig(
            num_samples=samples,
            search_alg=search_alg,
            reuse_actors=True,
            max_concurrent_trials=plan.options.max_concurrent,
        ),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=str(scratch),
            callbacks=[Recorder(log, run, progress, plan.options.threads)],
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            verbose=0,
        ),
    )
    tuner.fit()


def concurrency(plan: Plan) -> int:
    """How many trials this machine can hold at a time."""
    resources = _resources(plan)
    fits = int((os.cpu_count() or 1) / resources["cpu"])
    if resources["gpu"]:
        import torch

        fits = min(fits, int(torch.cuda.device_count() / resources["gpu"]))
    return max(1, min(fits, plan.options.max_concurrent or fits))


def _resources(plan: Plan) -> dict[str, float]:
    import torch

    gpus = plan.options.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if torch.cuda.is_available() else 0.0
    return {"cpu": plan.options.cpus_per_trial, "gpu": gpus}
