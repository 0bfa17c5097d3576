"""Lets this code continue trials that another code version began, once it has reproduced that version's numbers.

Every upgrade changes some trials' code versions, and nearly none changes a number. So for each version in a log, one
finished trial is trained again: if its rows agree, the trials of that version keep their keys and are continued.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.records.run_directory import RunDirectory
from analysis.records.schema import FINISHED, PROOF
from core.activity import doing
from core.errors import PlanError, first_line
from core.files import scratch
from datasets.base import DataError
from engine.execution.replay import Replay, compare
from engine.planning.plan import Plan, make_plan
from engine.planning.reuse import sources
from engine.planning.trial_factory import TrialFactory
from engine.runlog.history import History
from engine.runlog.run_log import now
from engine.runlog.study_file import git_state, read_request
from trainables.config import ConfigError, TrialConfig, from_tree
from trainables.trial_key import code_version, key_of

Event = dict[str, Any]


@dataclass(frozen=True)
class Begun:
    """A trial that other code began: its start event, that code's version, and this code's version for it (`own`)."""

    start: Event
    version: str
    own: str

    @property
    def trial(self) -> str:
        return str(self.start["trial"])


def under_known_keys(
    plan: Plan, directories: list[Path], tell: Callable[[str], None], prove: bool = True
) -> tuple[Plan, list[Event]]:
    """The plan with each trial under the key that other code gave it in one of these run directories, the first of
    them first; and the proofs as events for the log.

    PlanError if this code computes other numbers, which is not checked without `prove`.
    """
    proofs: list[Event] = []
    for directory in directories:
        run, record = read_request(directory)
        history = History.of(run)
        begun = dict(_begun_by_other_code(plan.factory, history, record))
        if prove:
            # A proven trial that this code continued has this code's version, but the key of the code that began it.
            unproven = [each for each in begun.values() if each.version != each.own]
            for versions in dict.fromkeys((each.version, each.own) for each in unproven):
                if versions not in history.proofs:
                    alike = [each for each in unproven if (each.version, each.own) == versions]
                    proofs += _prove(plan.factory, history, record, alike, tell)
        plan.factory.known = {**{content: each.trial for content, each in begun.items()}, **plan.factory.known}
    changed = bool(plan.factory.known)
    return make_plan(plan.asked, plan.options, plan.directory, plan.factory, counting=()) if changed else plan, proofs


def assumed_to_go_on(plan: Plan) -> Plan:
    """The plan as it would run if this code reproduced the numbers of the other code that began it."""
    begun = [plan.directory] if RunDirectory(plan.directory).study.is_file() else []
    return under_known_keys(plan, [*begun, *sources(plan)], lambda text: None, prove=False)[0]


def _begun_by_other_code(factory: TrialFactory, history: History, record: Event) -> Iterator[tuple[str, Begun]]:
    """(content key, trial): of several trials of one content the furthest one; none if this code has begun it too."""
    found: dict[str, Begun] = {}
    ours = set()

    def progress(event: Event) -> tuple[bool, int]:
        return event["trial"] in history.ends, len(history.rows.get(event["trial"], {}))

    for event in sorted(history.starts.values(), key=progress):
        try:
            config = from_tree(event["config"])
            info = factory.data(config).info
        except (ConfigError, DataError):  # so it is no trial of this plan
            continue
        if event.get("fingerprint", record["data"]["fingerprint"]) != info.fingerprint:
            continue
        content, own = factory.content_key(config, event["seed"]), code_version(config)
        if key_of(content, own) == event["trial"]:
            ours.add(content)
        elif event.get("code") != own:  # else this code began it in a population of another size: another trial
            version = history.codes[event["trial"]] or f"unrecorded, {_components(config)}"
            found[content] = Begun(event, version, own)
    yield from ((content, begun) for content, begun in found.items() if content not in ours)


def _components(config: TrialConfig) -> str:
    """Component names, which stand for the code version in a log that does not record it."""
    names = (getattr(value, "name", None) for _, value in config)
    return " ".join(name for name in names if name)


def _prove(
    factory: TrialFactory, history: History, record: Event, begun: list[Begun], tell: Callable[[str], None]
) -> list[Event]:
    """Train the shortest finished trial of one version again, or the longest begun one if none is finished."""
    with_rows = [each for each in begun if history.rows.get(each.trial)]
    if not with_rows:
        return []  # no epoch row of that code to compare with
    finished = [each for each in with_rows if history.ends.get(each.trial, {}).get("status") == FINISHED]
    chosen = (
        min(finished, key=lambda each: (len(history.rows[each.trial]), history.ends[each.trial].get("seconds") or 0))
        if finished
        else max(with_rows, key=lambda each: len(history.rows[each.trial]))
    )
    start = chosen.start
    who = f"trial {chosen.trial} (cell {start['cell']!r}, seed {start['seed']})"
    tell(
        f"{who} was trained by other code; it is trained once more, to see whether this code comes to the same numbers."
    )
    with scratch() as folder:
        try:
            with doing(f"training trial {chosen.trial} again"):
                kind, differences = compare(Replay(factory, history, folder), chosen.trial, brief=True)
        except RuntimeError as error:  # as in a population of another size, whose generations differ
            kind, differences = "", [f"it cannot be trained again ({first_line(error)})"]
    if differences:
        commits = (record.get("git", {}).get("commit"), git_state()["commit"])
        raise PlanError(
            f"{who} was trained by other code (version {chosen.version}, commit {commits[0]}), and this code "
            f"(version {chosen.own}, commit {commits[1]}) comes to other numbers: {differences[0]}; run it into "
            f"another folder with --out, or go on by the code that began it"
        )
    tell(f"It does, {kind}: the run goes on under the keys that it has.")
    return [
        {"event": PROOF, "time": now(), "trial": chosen.trial, "versions": [chosen.version, chosen.own], "kind": kind}
    ]
