"""What a run's log says of its trials, read in one pass: which were begun, which are over, how each went."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from analysis.records.log import read_log
from analysis.records.run_directory import RunDirectory
from analysis.records.schema import END, EPOCH, FAILED, PROOF, START
from core.errors import PlanError


@dataclass
class History:
    """The log by trial. A failed end counts as none: such a trial is tried again."""

    starts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """first start of each trial, in the order of the log"""
    _begun: dict[tuple[str, int], list[dict[str, Any]]] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    rows: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    ends: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    """trials whose last attempt failed"""
    order: list[tuple[str, int]] = field(default_factory=list)
    """(trial, epoch) as they were written, each once"""
    enlarged: set[str] = field(default_factory=set)
    """trials that ran out of memory, and go on with a larger share of the machine"""
    codes: dict[str, str | None] = field(default_factory=dict)
    """version of the code that trained each trial last; None where the log says nothing of it"""
    proofs: set[tuple[str, str]] = field(default_factory=set)
    """(version, later version) of code that came to the same numbers"""
    generations: dict[tuple[int, int], dict[str, dict[str, Any]]] = field(default_factory=dict)
    """by (seed, epoch): what members of a population took over from others there, by trial"""

    @classmethod
    def read(cls, events: Iterable[dict[str, Any]]) -> "History":
        history = cls()
        for event in events:
            history.add(event)
        return history

    @classmethod
    def of(cls, run: RunDirectory) -> "History":
        """The history of a run directory, empty where it has no log; PlanError names a bad line."""
        try:
            return cls.read(read_log(run.log))
        except ValueError as error:
            raise PlanError([f"{error}; what stands before that line can be kept: delete the others"]) from None

    def add(self, event: dict[str, Any]) -> None:
        kind, trial = event["event"], event.get("trial", "")
        if kind == START:
            if trial not in self.starts:
                self.starts[trial] = event
                self._begun.setdefault((event["cell"], event["seed"]), []).append(event)
            self.codes[trial] = event.get("code")
            self.failed.discard(trial)
            self.attempts[trial] = self.attempts.get(trial, 0) + 1
        elif kind == EPOCH:
            if event["epoch"] not in self.rows.setdefault(trial, {}):
                self.order.append((trial, event["epoch"]))
            self.rows[trial][event["epoch"]] = event
        elif kind == END and event["status"] != FAILED:
            self.ends[trial] = event
        elif kind == END:
            self.failed.add(trial)
        elif kind == "enlarged":
            self.enlarged.add(trial)
        elif kind == PROOF:
            self.proofs.add((event["versions"][0], event["versions"][1]))
        elif kind == "generation":
            self.generations[event["seed"], event["epoch"]] = event["exploits"]

    def selected(self, trial: str) -> dict[str, Any] | None:
        """The row of the epoch that an ended trial is judged at."""
        end = self.ends.get(trial)
        return None if end is None else self.rows.get(trial, {}).get(end["selected_epoch"])

    def lineage(self, trial: str) -> list[dict[str, Any]]:
        """What a member of a population took over, generation by generation."""
        return [
            {"epoch": epoch, **{name: exploits[trial][name] for name in ("donor", "point")}}
            for (_, epoch), exploits in self.generations.items()
            if trial in exploits
        ]

    def begun(self, cell: str, seed: int) -> list[dict[str, Any]]:
        """Start events of a cell's replicate, the latest first: one for each budget that it was given."""
        return self._begun.get((cell, seed), [])[::-1]
