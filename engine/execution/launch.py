"""Runs a study in a new run directory, or resumes a run."""

import os
import platform
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.filesize import decimal

from analysis.records.run_directory import RunDirectory
from analysis.records.schema import ANEW, SPENT
from analysis.records.store import read_records
from core.activity import doing
from core.errors import PlanError
from core.files import remove_parts
from core.storage import unwritable
from core.user_code.references import permit, use
from core.value_words import listed
from datasets.audit import audit
from engine.execution.checkpoint_budget import keep_best_alone
from engine.execution.cluster import find, joined, ray_started
from engine.execution.code_proof import under_known_keys
from engine.execution.local_ray import is_local
from engine.execution.made_again import make_again
from engine.execution.progress import Progress, duration, teller
from engine.execution.tuner import beyond_machine, carry_out, concurrency
from engine.integrations.log_follower import Follower, trackers
from engine.integrations.mlflow import NONE, refuse_silent
from engine.planning.consent import refuse_strangers, trusted_code
from engine.planning.disk_estimate import refuse_too_large
from engine.planning.own_code import changed_since, copies, references, whose_code, write_code
from engine.planning.plan import Plan, make_plan, objective
from engine.planning.remaining_work import RemainingWork, remaining_work
from engine.planning.reuse import foresee, sources, take_over
from engine.planning.run_options import Options
from engine.planning.study_record import recorded_request, study_record
from engine.runlog.history import History
from engine.runlog.run_log import RunLog
from engine.runlog.run_log import now as timestamp
from engine.runlog.signature import unavailable
from engine.runlog.study_file import check_free, claim, hold, read_request, reserved, rewrite
from search_spaces.study import AblationStudy, AnyStudy, SearchStudy
from trainables.config import counts

SHOWN = 3  # cells that a fault names
AUDIT_LINES = 10  # told before the first trial


def start(study: AnyStudy, options: Options, directory: Path, command: list[str], console: Console) -> RunDirectory:
    """Plan a study, claim its directory, run it to its end; PlanError, before anything starts, if it cannot run.

    Nothing stays on disk of a run that is refused, and Ray runs before the directory is claimed.
    """
    check_free(directory)
    plan = planned(study, options, directory)
    _refuse([*_misplaced(plan), *invalid_cells(plan), *beyond_machine(plan)])
    with reserved(directory), joined(plan.options.address, directory):
        plan, proofs = under_known_keys(plan, sources(plan), teller(console))
        _refuse_unfit(plan, remaining_work(plan, History()), History())
        follower = _follower(plan, RunDirectory(directory), console)
        with _ray(plan, _foreseen(plan)) as ends:
            record = study_record(plan, command)
            write_code(RunDirectory(plan.directory), plan.code)
            run = claim(plan.directory, record)
            for line in filter(None, [unavailable()]):
                teller(console)(line)
            use(copies(run, plan.options.folders))
            with RunLog(run) as log, follower:
                log.extend(proofs)
                _run(plan, run, log, remaining_work(plan, log.history), command, console, ends)
    return run


def go_on(directory: Path, given: dict[str, Any], command: list[str], console: Console) -> RunDirectory:
    """Resume a run under its own options and those `given` now."""
    run, record = read_request(directory)
    refuse_strangers(run, record, given)
    asked, stored = recorded_request(record, run)
    permit(references(given, of_modules=True))
    for line in filter(None, [*whose_code(run, record), *changed_since(record), unavailable()]):
        teller(console)(line)
    with hold(run):
        used = read_records(directory).trials["trial"]
        plan = planned(asked, stored.extended(given), directory, counting=given.get("settings", {}))
        _refuse(invalid_cells(plan))
        plan, proofs = under_known_keys(plan, [directory, *sources(plan)], teller(console))
        with RunLog(run) as log:
            _begin_anew(log, teller(console))
            make_again(plan, run, log, used, teller(console))
            log.extend(proofs)
            left = remaining_work(plan, log.history, record)
            _say_what_stays(given, left, console)
            _say_other_threads(plan, left, log.history, teller(console), stored.threads)
            address = plan.options.address if left.done < left.total else None
            with joined(address, directory):
                _refuse_unfit(plan, left, log.history)
                follower = _follower(plan, run, console)
                with _ray(plan, left) as ends:
                    held = {"configurations": left.configurations} if isinstance(plan.study, SearchStudy) else {}
                    held |= trusted_code(record)
                    rewrite(run, study_record(plan, command), resumed_at=timestamp(), **held)
                    with follower:
                        _run(plan, run, log, left, command, console, ends)
    return run


def _begin_anew(log: RunLog, tell: Callable[[str], None]) -> None:
    """Says what is damaged in the log. Its trials count as begun and have no epochs, so they go on from their last
    checkpoint, which holds all of them and a digest of itself, or train anew."""
    if not (found := log.history.findings):
        return
    for each in found[:SHOWN]:
        tell(f"damaged: {each}")
    trials = sorted({each.trial for each in found if each.trial})
    more = f"and {len(found) - SHOWN} more; " if len(found) > SHOWN else ""
    tell(f"{more}{len(trials)} of the trials are made again, from their checkpoints where those are whole")
    log.append(event=ANEW, time=timestamp(), trials=trials)


def _foreseen(plan: Plan) -> RemainingWork:
    """What is left of a new run once it has taken over another run's trials."""
    history = History()
    foresee(plan, history)
    return remaining_work(plan, history)


def planned(study: AnyStudy, options: Options, directory: Path, counting: Collection[str] | None = None) -> Plan:
    """`make_plan`, with its data sets decoded where they are not yet."""
    with doing(f"checking the plan of {study.name}"):
        return make_plan(study, options, directory, counting=counting)


def refuse_as_run(plan: Plan) -> list[str]:
    """PlanError, in the words of `run`, for what it would refuse of a command before its first trial: where the run is
    to lie, a cluster or a tracking server that does not answer, too small a disk budget.

    Returns why `run` would be refused where the plan is of a run that there is, with which `resume` goes on.
    """
    options, faults = plan.options, list[str]()
    begun = RunDirectory(plan.directory).study.exists()
    faults += _told(lambda: check_free(plan.directory))
    if not begun:
        remote = RunDirectory(plan.directory).remote
        faults += [*_misplaced(plan), *filter(None, [unwritable(remote) if remote else None])]
    if options.mlflow not in (None, NONE):
        faults += _told(lambda: refuse_silent(str(options.mlflow), plan.study.name))
    if not is_local(options.address):
        faults += _told(lambda: find(str(options.address)))
    if options.disk_budget and not begun:
        left = remaining_work(plan, History())
        found = _told(lambda: refuse_too_large(plan, left, History(), concurrency(plan)))
        faults += [fault for fault in found if fault.startswith("--disk-budget")]
    _refuse(faults[begun:])
    return faults[:begun]


def _told(check: Callable[[], object]) -> list[str]:
    try:
        check()
    except PlanError as error:
        return error.faults
    return []


def _misplaced(plan: Plan) -> Iterator[str]:
    """Why the run directory may not lie where it is asked: in a folder of data, or around one."""
    configs = [plan.baseline, *(cell.config for cell in plan.cells if cell.config and not cell.invalid)]
    for root in sorted({root.resolve() for config in configs if (root := plan.factory.data(config).root)}):
        lies, holds = plan.directory.is_relative_to(root), root.is_relative_to(plan.directory)
        if lies or holds:
            where = "lies in" if lies else "would hold"
            yield f"--out {plan.directory}: {where} the data folder {root}; name a folder outside of it"


def _refuse(found: Iterable[str]) -> None:
    if faults := list(found):
        raise PlanError(faults)


def _refuse_unfit(plan: Plan, left: RemainingWork, history: History) -> None:
    """PlanError if the trials that are left do not fit on the machine, or what they write on the disk."""
    if left.done < left.total:
        _refuse(beyond_machine(plan))
        refuse_too_large(plan, left, history, concurrency(plan))


@contextmanager
def _ray(plan: Plan, left: RemainingWork) -> Iterator[bool]:
    """Ray, for a run that has trials left; PlanError if it has less of this machine than a trial asks for.

    Yields whether Ray ends after the block.
    """
    if left.done == left.total:
        yield False
        return
    with ray_started(plan.options.address, plan.directory) as ends:
        _refuse(beyond_machine(plan))
        yield ends


def _run(
    plan: Plan,
    run: RunDirectory,
    log: RunLog,
    left: RemainingWork,
    command: list[str],
    console: Console,
    ray_ends: bool,
) -> None:
    study, say = plan.study, teller(console)
    remove_parts(run.root, below=True)
    log.append(event="session", time=timestamp(), command=command, node=platform.node(), pid=os.getpid())
    if isinstance(study, SearchStudy) and (held := study.configurations) < study.samples:
        fewer = f"{held} distinct configurations, fewer than the {study.samples} asked for"
        say(f"The space holds {fewer}; each is tried once.")
    with doing("looking for trials to take over"):
        taken = take_over(plan, run, log)
    if taken:
        say(f"{taken} finished trials are taken over from {plan.options.reuse_from}.")
        left = remaining_work(plan, log.history)
        _say_other_threads(plan, left, log.history, say)
    if left.done:
        say(f"{left.done} of {left.total} trials are finished and are not run again.")
    for remark in left.continuations.remarks():
        say(remark)
    if left.done < left.total:
        _train(plan, run, log, left, console, ray_ends)
    if freed := keep_best_alone(plan, log):
        say(f"--keep best: {decimal(freed)} of last states are deleted; more epochs would train these trials anew.")


def _train(plan: Plan, run: RunDirectory, log: RunLog, left: RemainingWork, console: Console, ray_ends: bool) -> None:
    study, say = plan.study, teller(console)
    _say_what_is_doubtful(plan, say)
    metric, maximise = objective(study)
    reported = metric if isinstance(study, SearchStudy) else study.metric
    progress = Progress(console, left.total, left.epochs(plan, log.history), reported, maximise, left.done)
    with doing(progress.now, details=progress.table):
        spent = carry_out(plan, run, log, left, progress, ray_ends)
    missing = progress.total - progress.done
    if missing and spent:
        budget = duration(plan.options.time_budget or 0)
        log.append(event=SPENT, time=timestamp())
        say(f"The time budget of {budget} is spent; {missing} trials are left: resume {run.address}")


def _say_what_is_doubtful(plan: Plan, say: Callable[[str], None]) -> None:
    """What the audit found in the baseline's data, leaks first; `prepare` tells all of it."""
    found = audit(plan.factory.data(plan.baseline))
    lines = list(dict.fromkeys((*found.leaks, *found.lines)))
    for line in lines[:AUDIT_LINES]:
        say(f"data: {line}")
    if len(lines) > AUDIT_LINES:
        say(f"data: and {len(lines) - AUDIT_LINES} more remarks, which `prepare` lists")


def _say_what_stays(given: dict[str, Any], left: RemainingWork, console: Console) -> None:
    asked = [key for key in given.get("settings", {}) if not counts(key)]
    if asked and left.done:
        stay = f"{left.done} finished ones stay as they are"
        teller(console)(f"--set {', '.join(asked)}: is for the trials that are left; {stay}.")


def _say_other_threads(
    plan: Plan, left: RemainingWork, history: History, say: Callable[[str], None], *before: int
) -> None:
    """`before`: the threads of the trials that the run has begun, as far as the log does not tell."""
    now = plan.options.threads
    ended = ((end.get("execution") or {}).get("threads") for end in history.ends.values())
    known = {number for number in (*ended, *(before if history.starts else ())) if number}
    if left.done < left.total and (others := sorted(known - {now})):
        count = f"{now} torch thread{'s' * (now > 1)}"
        say(
            f"--cpus-per-trial: trials train with {count} from now on, those before trained with "
            f"{', '.join(map(str, others))}; the last bits of their numbers depend on it."
        )


def _follower(plan: Plan, run: RunDirectory, console: Console) -> Follower:
    asked = trackers(run, plan.study.name, plan.options.tensorboard, plan.options.mlflow)
    return Follower(run, asked, teller(console))


def invalid_cells(plan: Plan) -> list[str]:
    """Faults of cells that cannot run: always if the first is one, as others are compared with it."""
    first = bool(plan.cells and plan.cells[0].invalid)
    if not first and (plan.candidates or (isinstance(plan.study, AblationStudy) and plan.study.path)):
        return []  # a path chooses its steps among the valid cells
    if not first and (not plan.invalid or plan.options.skip_invalid):
        return []
    cells: dict[str, list[str]] = {}
    for item in plan.invalid:
        for fault in item.faults:
            cells.setdefault(fault, []).append(repr(item.cell.name))
    faults = [f"cell{'s' * (len(names) > 1)} {listed(names, SHOWN)} cannot run: {why}" for why, names in cells.items()]
    return [*faults, *([] if first else ["give --skip-invalid to run the others"])]
