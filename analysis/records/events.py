"""The schema of log.jsonl: which fields each event has, and what they may hold."""

from typing import Any, Literal

from pydantic import Field

from analysis.records.schema import ANEW, END, EPOCH, PROOF, SESSION, START
from analysis.records.untrusted import Count, Epoch, Key, Name, Record, Seconds, Seed, Settings, Text, fault_of
from core.value_words import shown

Event = dict[str, Any]


class Session(Record):
    command: list[Text] = []
    time: Name | None = None


class Start(Record):
    trial: Key
    cell: Name
    seed: Seed
    config: Settings
    time: Name | None = None
    code: Name | None = None
    fingerprint: Name | None = None
    attempt: Count | None = None
    point: Settings | None = None
    proposal: Count | None = None
    continues: Key | None = None
    node: Name | None = None
    device: Name | None = None


class Execution(Record):
    attempts: Count | None = None
    threads: Count | None = None
    resources: dict[Name, Any] | None = None
    notes: list[Text] = []
    lineage: list[Settings] | None = None
    fused: Settings | None = None
    processor: Name | None = None
    torch: Name | None = None
    rerun: Text | None = None


class End(Record):
    trial: Key
    status: Literal["finished", "stopped", "diverged", "failed"]
    selected_epoch: Epoch | None = None
    epochs: Count | None = None
    verified: bool | None = None
    error: Text | None = None
    seconds: Seconds | None = None
    node: Name | None = None
    device: Name | None = None
    execution: Execution | None = None
    parameters: Count | None = None
    multiply_adds: Count | None = None
    time: Name | None = None


class Enlarged(Record):
    trial: Key
    error: Text | None = None
    share: dict[Name, Any] | None = None


class Exploit(Record):
    donor: Key
    point: Settings
    config: Settings | None = None


class Generation(Record):
    seed: Seed
    epoch: Epoch
    exploits: dict[Key, Exploit]


class Proof(Record):
    trial: Key | None = None
    versions: list[Name] = Field(min_length=2, max_length=2)


class Anew(Record):
    """What was damaged before this line counts no more: these trials are trained anew."""

    trials: list[Key]


EVENTS: dict[str, type[Record]] = {
    SESSION: Session,
    START: Start,
    END: End,
    "enlarged": Enlarged,
    "generation": Generation,
    PROOF: Proof,
    ANEW: Anew,
}


def event_fault(event: Event) -> str | None:
    """What is wrong with an event of the log; None if nothing is. Events of unknown kinds are of later versions."""
    kind = event.get("event")
    if not isinstance(kind, str):
        return "not a JSON object with an `event`"
    if kind == EPOCH:
        return _epoch_fault(event)
    return fault_of(EVENTS[kind], event) if kind in EVENTS else None


class _Row(Record):
    trial: Key
    epoch: Epoch


def _epoch_fault(event: Event) -> str | None:
    for name, value in event.items():
        if name not in ("event", "trial", "time") and type(value) not in (int, float, type(None)):
            return f"{name[:60]}: takes a number (got {shown(value)})"
    return fault_of(_Row, event)
