"""Run, resume and rerun: from a study or a run directory to records on disk."""

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from analysis.schema import RunDirectory
from analysis.store import read_log
from datasets.component import did_you_mean
from engine.errors import PlanError
from engine.options import Options
from engine.plan import Plan, Workbench, make_plan, objective
from engine.progress import Progress
from engine.record import check_free, claim, hold, rewrite
from engine.sampler import samples_of
from engine.tuner import carry_out, unfinished
from search_spaces.study import AnyStudy, SearchStudy, parse_study
from trainables.config import flatten, from_tree
from trainables.trial import Trial, TrialSpec


def start(study: AnyStudy, options: Options, directory: Path, command: list[str], console: Console) -> RunDirectory:
    """Plan a study, claim its directory, run it to its end; PlanError before anything starts."""
    check_free(directory)
    plan = make_plan(study, options, directory)
    _refuse_invalid(plan)
    with hold(RunDirectory(directory)):
        run = claim(plan, command)
        _run(plan, run, command, console)
    return run


def go_on(directory: Path, given: dict[str, Any], command: list[str], console: Console) -> RunDirectory:
    """Resume a run under its own options and those `given` now."""
    run, record = read_request(directory)
    asked = parse_study(record["request"]["study"], str(run.study))
    stored = Options.model_validate_json(json.dumps(record["request"]["options"]))
    with hold(run):
        plan = make_plan(asked, stored.extended(given), directory)
        _refuse_invalid(plan)
        _refuse_changes(plan, run, record)
        rewrite(plan, run, command)
        _run(plan, run, command, console)
    return run


def read_request(directory: Path) -> tuple[RunDirectory, dict[str, Any]]:
    """A run directory and its study.json; PlanError where that cannot be read."""
    run = RunDirectory(directory)
    try:
        return run, json.loads(run.study.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PlanError([f"{directory}: its study.json cannot be read ({error})"]) from None


def _run(plan: Plan, run: RunDirectory, command: list[str], console: Console) -> None:
    events = list(read_log(run.log))
    if isinstance(plan.study, SearchStudy):
        total = samples_of(plan.study) * plan.study.seeds
        if total < plan.size:
            console.print(f"The space holds {total // plan.study.seeds} distinct configurations; each is tried once.")
        done = sum(event["event"] == "end" and event["status"] != "failed" for event in events)
        epochs = (total - done) * plan.baseline.training.epochs
        metric, maximise = objective(plan.study)
    else:
        todo = unfinished(plan, events)
        total, done = len(plan.trials), len(plan.trials) - len(todo)
        epochs = sum(spec.config["training"]["epochs"] for spec in todo)
        metric, maximise = plan.study.metric, objective(plan.study)[1]
    if done:
        console.print(f"{done} of {total} trials are finished and are not run again.")
    with Progress(console, total, epochs, metric, maximise, done) as progress:
        carry_out(plan, run, progress, command)


def _refuse_invalid(plan: Plan) -> None:
    if plan.invalid and not plan.options.skip_invalid:
        faults = [f"cell {item.cell.name!r} cannot run: {item.invalid}" for item in plan.invalid]
        raise PlanError([*faults, "give --skip-invalid to run the others"])


def _refuse_changes(plan: Plan, run: RunDirectory, record: dict[str, Any]) -> None:
    """A resumed run may gain trials; a trial that it has already begun must still be the same trial."""
    planned = {(spec.cell, spec.seed): spec for spec in plan.trials}
    for event in read_log(run.log):
        if event["event"] != "start":
            continue
        spec = planned.get((event["cell"], event["seed"]))
        if spec is not None and spec.trial != event["trial"]:
            raise PlanError([f"{run.root}: {_difference(spec, event, record)}; run it into another folder with --out"])


def _difference(spec: TrialSpec, event: dict[str, Any], record: dict[str, Any]) -> str:
    old, new = flatten(from_tree(event["config"])), flatten(from_tree(spec.config))
    changed = [
        f"{key} from {old.get(key)!r} to {new.get(key)!r}" for key in {**old, **new} if old.get(key) != new.get(key)
    ]
    begun = f"trial {event['trial']} (cell {spec.cell!r}, seed {spec.seed}) was begun"
    if changed:
        return f"{begun} with other settings: {', '.join(changed)}"
    if record["data"]["fingerprint"] != spec.fingerprint:
        return f"{begun} on other data: the files under the data root changed"
    return f"{begun} by other training code, at commit {record['git']['commit']}"


def again(directory: Path, trial: str, tell: Callable[[dict[str, Any]], None]) -> tuple[str, list[str]]:
    """Train one recorded trial without Ray, in a scratch folder: (its key, every difference to the recorded rows)."""
    run, record = read_request(directory)
    events = list(read_log(run.log))
    starts = {event["trial"]: event for event in events if event["event"] == "start"}
    found = [key for key in starts if key.startswith(trial)]
    if len(found) != 1:
        what = "stands for several" if found else "is no trial of this run"
        raise PlanError([f"{trial}: {what}; {did_you_mean(trial, found or list(starts))}"])
    event = starts[found[0]]
    options = Options.model_validate_json(json.dumps(record["request"]["options"]))
    bench = Workbench(parse_study(record["request"]["study"], str(run.study)), options)
    ends = [e for e in events if e["event"] == "end" and e["trial"] == found[0]]
    config = from_tree(event["config"])
    with tempfile.TemporaryDirectory(prefix="vision-ablation-") as scratch:
        spec = bench.spec(event["cell"], config, event["seed"], Path(scratch))
        if ends:
            spec = replace(spec, threads=ends[-1]["execution"]["threads"])
        rows = list(_rows(Trial(spec), tell))
    recorded = {e["epoch"]: e for e in events if e["event"] == "epoch" and e["trial"] == found[0]}
    return found[0], list(_differences(rows, recorded))


def _rows(trial: Trial, tell: Callable[[dict[str, Any]], None]) -> Iterator[dict[str, Any]]:
    end = None
    while end is None:
        result = trial.advance()
        end = result["end"]
        for row in result["rows"]:
            tell(row)
            yield row


def _differences(rows: list[dict[str, Any]], recorded: dict[int, dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        if row["epoch"] not in recorded:
            continue
        for key, value in row.items():
            if key != "seconds" and value != recorded[row["epoch"]].get(key):
                yield f"epoch {row['epoch']}: {key} {value!r}, recorded {recorded[row['epoch']].get(key)!r}"
