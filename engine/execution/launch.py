"""Run and resume: from a study or a run directory to records on disk."""

import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from analysis.records.run_directory import RunDirectory
from core.errors import PlanError
from engine.execution.cluster import joined
from engine.execution.code_proof import under_known_keys
from engine.execution.progress import Progress, duration
from engine.execution.tuner import carry_out, concurrency
from engine.integrations.log_follower import Follower
from engine.integrations.trackers import trackers
from engine.planning.disk_estimate import refuse_too_large, tidy
from engine.planning.plan import Plan, make_plan, objective
from engine.planning.remaining_work import Standing, standing
from engine.planning.reuse import sources, take_over
from engine.planning.run_options import Options
from engine.runlog.history import History
from engine.runlog.run_log import Log, check_free, claim, hold, read_request, rewrite
from engine.runlog.run_log import now as timestamp
from engine.search.sampler import samples_of
from search_spaces.study import AblationStudy, AnyStudy, SearchStudy, parse_study
from trainables.config import UNCOUNTED


def start(study: AnyStudy, options: Options, directory: Path, command: list[str], console: Console) -> RunDirectory:
    """Plan a study, claim its directory, run it to its end; PlanError before anything starts."""
    check_free(directory)
    plan = make_plan(study, options, directory)
    _refuse_invalid(plan)
    with hold(RunDirectory(directory)), joined(plan.options.address, directory):
        plan, proofs = under_known_keys(plan, sources(plan), _teller(console))
        refuse_too_large(plan, standing(plan, History()), History(), concurrency(plan))
        follower = _follower(plan, RunDirectory(directory), console)
        run = claim(plan, command)
        with Log(run) as log, follower:
            log.extend(proofs)
            _run(plan, run, log, standing(plan, log.history), command, console)
    return run


def go_on(directory: Path, given: dict[str, Any], command: list[str], console: Console) -> RunDirectory:
    """Resume a run under its own options and those `given` now."""
    run, record = read_request(directory)
    asked = parse_study(record["request"]["study"], str(run.study))
    stored = Options.model_validate_json(json.dumps(record["request"]["options"]))
    with hold(run):
        plan = make_plan(asked, stored.extended(given), directory)
        _refuse_invalid(plan)
        plan, proofs = under_known_keys(plan, [directory, *sources(plan)], _teller(console))
        with Log(run) as log:
            log.extend(proofs)
            now = standing(plan, log.history, record)
            _say_what_stays(given, now, console)
            address = plan.options.address if now.done < now.total else None
            with joined(address, directory):
                refuse_too_large(plan, now, log.history, concurrency(plan))
                follower = _follower(plan, run, console)
                rewrite(plan, run, command, record)
                with follower:
                    _run(plan, run, log, now, command, console)
    return run


def _run(plan: Plan, run: RunDirectory, log: Log, now: Standing, command: list[str], console: Console) -> None:
    study = plan.study
    tidy(run)
    log.append(event="session", time=timestamp(), command=command, node=platform.node(), pid=os.getpid())
    if isinstance(study, SearchStudy) and samples_of(study) < study.samples:
        console.print(
            f"The space holds {samples_of(study)} distinct configurations, fewer than the {study.samples} asked for; "
            f"each is tried once.",
            soft_wrap=True,
        )
    if taken := take_over(plan, run, log):
        console.print(f"{taken} finished trials are taken over from {plan.options.reuse_from}.", soft_wrap=True)
        now = standing(plan, log.history)
    if now.done:
        console.print(f"{now.done} of {now.total} trials are finished and are not run again.")
    for remark in now.places.remarks():
        console.print(remark, soft_wrap=True)
    if now.done == now.total:
        return
    metric, maximise = objective(study)
    shown = metric if isinstance(study, SearchStudy) else study.metric
    with Progress(console, now.total, now.epochs(plan, log.history), shown, maximise, now.done) as progress:
        carry_out(plan, run, log, now, progress)
    left = progress.total - progress.done
    if left and plan.options.time_budget:
        budget = duration(plan.options.time_budget)
        console.print(
            f"The time budget of {budget} is spent; {left} trials are left: resume {run.address}", soft_wrap=True
        )


def _say_what_stays(given: dict[str, Any], now: Standing, console: Console) -> None:
    asked = [key for key in given.get("settings", {}) if key.partition(".")[0] in UNCOUNTED]
    if asked and now.done:
        console.print(
            f"--set {', '.join(asked)}: is for the trials that are left; {now.done} finished ones stay as they are.",
            soft_wrap=True,
        )


def _follower(plan: Plan, run: RunDirectory, console: Console) -> Follower:
    asked = trackers(run, plan.study.name, plan.options.tensorboard, plan.options.mlflow)
    return Follower(run, asked, _teller(console))


def _teller(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(text, highlight=False, markup=False, soft_wrap=True)


def _refuse_invalid(plan: Plan) -> None:
    if plan.candidates or (isinstance(plan.study, AblationStudy) and plan.study.path):
        return  # the steps of a path are chosen among those that can run
    if plan.invalid and not plan.options.skip_invalid:
        faults = [f"cell {item.cell.name!r} cannot run: {item.invalid}" for item in plan.invalid]
        raise PlanError([*faults, "give --skip-invalid to run the others"])
