"""A run's log by trial, read in one pass: starts, epoch rows, ends."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from analysis.records.log import Finding, read_log
from analysis.records.outputs import after
from analysis.records.run_directory import RunDirectory
from analysis.records.schema import ANEW, END, EPOCH, FAILED, PROOF, REMADE, REMOVED, START


@dataclass
class History:
    """The log by trial. A failed end is not among `ends`: such a trial is tried again."""

    starts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """first start of each trial, in the order of the log"""
    _begun: dict[tuple[str, int], list[dict[str, Any]]] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    rows: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    ends: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    """trials whose last attempt failed"""
    order: list[tuple[str, int]] = field(default_factory=list)
    """(trial, epoch) of the epoch rows in the order of the log, each once"""
    enlarged: set[str] = field(default_factory=set)
    """trials that ran out of memory and are tried again with more resources"""
    codes: dict[str, str | None] = field(default_factory=dict)
    """code version of each trial's last start; None if the log does not record it"""
    proofs: set[tuple[str, str]] = field(default_factory=set)
    """(version, later version) of code shown to compute the same numbers"""
    generations: dict[tuple[int, int], dict[str, dict[str, Any]]] = field(default_factory=dict)
    """by (seed, epoch) and trial: what a population's member took over from another"""
    lines: int = 0
    """of the log"""
    findings: list[Finding] = field(default_factory=list)
    """what is damaged in the log"""

    @classmethod
    def read(cls, events: Iterable[dict[str, Any]]) -> "History":
        history = cls()
        for event in events:
            history.add(event)
        return history

    @classmethod
    def of(cls, run: RunDirectory) -> "History":
        """The history of a run directory, empty if it has no log; a damaged trial is begun and has no epochs."""
        log = read_log(run.log)
        history = cls.read(log)
        history.lines, history.findings = log.lines, log.findings
        return history

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
        elif kind in (REMADE, REMOVED) and trial in self.ends:
            self.ends[trial] = after(self.ends[trial], event)
        elif kind == ANEW:
            self._begin_anew(set(event["trials"]))

    def _begin_anew(self, trials: set[str]) -> None:
        """Of these trials the starts alone count."""
        for trial in trials:
            self.rows.pop(trial, None)
            self.ends.pop(trial, None)
        self.failed -= trials
        self.order = [place for place in self.order if place[0] not in trials]

    def selected(self, trial: str) -> dict[str, Any] | None:
        """The row of an ended trial's selected epoch; None if there is none."""
        end = self.ends.get(trial)
        return None if end is None else self.rows.get(trial, {}).get(end.get("selected_epoch") or 0)

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
