"""The schema of log.jsonl: which fields each event has, and what they may hold."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from analysis.records.schema import ANEW, END, EPOCH, PROOF, REMADE, REMOVED, SESSION, START
from analysis.records.untrusted import KEY, Count, Epoch, Key, Name, Record, Seconds, Seed, Settings, Text, fault_of
from core.value_words import shown

Event = dict[str, Any]
_PART = r"[^/\\.\x00-\x1f][^/\\\x00-\x1f]*"  # no `..`, and nothing hidden
FileName = Annotated[
    str,
    StringConstraints(
        pattern=rf"^(predictions/{KEY.pattern}\.parquet|(artifacts|checkpoints)/{KEY.pattern}(/{_PART}){{1,3}})$",
        max_length=512,
    ),
]
"""of a file that a trial leaves, from the run's folder"""
Digest = Annotated[str, StringConstraints(pattern="^([0-9a-f]{32})?$")]
"""empty where it is not known"""


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
    outputs: dict[FileName, Digest] | None = None
    time: Name | None = None


class Remade(Record):
    """Files that a trial had lost and has again, by their digests."""

    trial: Key
    outputs: dict[FileName, Digest]


class Removed(Record):
    """Files that a trial needs no more, and whose absence is no damage."""

    trial: Key
    files: list[FileName]


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
    REMADE: Remade,
    REMOVED: Removed,
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
