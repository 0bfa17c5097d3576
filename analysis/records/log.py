"""log.jsonl, the source of truth: what of it counts, what in it is damaged, and cutting off the torn last line that a
kill leaves behind."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

from analysis.records.log_lines import Event, Line, read_line
from analysis.records.schema import ANEW, END, EPOCH, FAILED, START

OF_TRIAL = re.compile(rb'"trial": ?"([0-9a-f]{12})"')
LONGEST = 2**24  # bytes of a line
MOST_LOST = 10**6  # lines between two others, above which the second one's number is what is damaged


@dataclass(frozen=True)
class Finding:
    """Something damaged or missing in a run directory; `trial` is the key of the trial that cannot be used for it."""

    place: str
    what: str
    trial: str | None = None

    def __str__(self) -> str:
        return f"{self.place}: {self.what}" + (f" (trial {self.trial})" if self.trial else "")


@dataclass
class Log:
    """What a log holds: the events that count, in order, and what is damaged."""

    file: Path
    events: list[Event] = field(default_factory=list)
    """of a damaged trial its starts alone"""
    findings: list[Finding] = field(default_factory=list)
    lines: int = 0
    """how many lines there are, or were before some were lost"""

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    @property
    def damaged(self) -> set[str]:
        """Keys of the trials that cannot be used."""
        return {finding.trial for finding in self.findings if finding.trial}


def read_log(path: Path) -> Log:
    """The log, without a torn last line."""
    reader = _Reader(Log(path))
    for position, text, last in _lines(path):
        line = read_line(text)
        if not (last and line.torn):
            reader.take(position, text, line)
    return reader.settled()


def _lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """(position from 1, line without its end, whether it is the last) of each line that has an end; of a line that is
    too long its beginning, which is no JSON."""
    if not path.exists():
        return
    with path.open("rb") as file:
        position, line = 0, _bounded(file)
        while line.endswith(b"\n"):
            position, following = position + 1, _bounded(file)
            yield position, line[:-1], not following
            line = following


def _bounded(file: IO[bytes]) -> bytes:
    """The next line, of which what is beyond LONGEST is passed over."""
    line = rest = file.readline(LONGEST)
    while len(rest) == LONGEST and not rest.endswith(b"\n"):
        rest = file.readline(LONGEST)
    return line if rest is line else line[: LONGEST // 2] + rest[-1:]


class _Reader:
    """Takes the lines of a log, then settles which of its trials can be used."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.taken: list[tuple[int, Event]] = []
        """(number of the line, event)"""
        self.following, self.unread, self.first_numbered = 1, 0, 0
        """the next line's number; lines before it that cannot be read; the first that carries its number, or 0"""
        self.lost: set[int] = set()

    def take(self, position: int, text: bytes, line: Line) -> None:
        if fault := line.fault or self._misplaced(line):
            found = None if fault.startswith("repeats") else OF_TRIAL.search(text)
            self._find(position, fault, found[1].decode() if found else None)
            self.unread += line.fault is not None or line.number is None
            return
        number = self._numbered(position, line)
        if line.event["event"] == ANEW:
            self._begin_anew(set(line.event["trials"]))
        self.taken.append((number, line.event))

    def _misplaced(self, line: Line) -> str | None:
        """What is wrong with a line's number; None if it can be used."""
        if line.number is None:
            return "carries no checksum, and lines before it do" if self.first_numbered else None
        if line.number < self.following and line.number not in self.lost:
            return f"repeats line {line.number}, and is left out"
        if not 0 < line.number < self.following + MOST_LOST:
            return f"carries the number {line.number}"
        return None

    def _numbered(self, position: int, line: Line) -> int:
        """The number of a line that can be used, after which `following` is the next one's."""
        number = self.following + self.unread if line.number is None else line.number
        self.first_numbered = self.first_numbered or line.number or 0
        if number < self.following:
            self.lost.remove(number)
            self._find(position, f"is line {number}, out of its place")
            return number
        if (count := number - self.following - self.unread) > 0:
            self._find(position, f"{count} line{'s are' if count > 1 else ' is'} missing before it")
        self.lost.update(range(self.following, number))
        self.following, self.unread = number + 1, 0
        return number

    def _begin_anew(self, trials: set[str]) -> None:
        """What was damaged before counts no more; of these trials the starts alone do."""
        self.log.findings.clear()
        self.taken = [(number, event) for number, event in self.taken if _begins_or_is_not_of(event, trials)]

    def _find(self, position: int, what: str, trial: str | None = None) -> None:
        self.log.findings.append(Finding(f"{self.log.file}:{position}", what, trial))

    def settled(self) -> Log:
        self.log.lines = self.following + self.unread - 1
        self.taken.sort(key=itemgetter(0))
        known = {event.get("trial") for _, event in self.taken}  # a damaged key is no trial's
        findings = self.log.findings
        findings[:] = [each if each.trial in known else replace(each, trial=None) for each in findings]
        for trial, what in self._incomplete():
            if trial not in self.log.damaged:
                self.log.findings.append(Finding(str(self.log.file), what, trial))
        damaged = self.log.damaged
        self.log.events = [event for _, event in self.taken if _begins_or_is_not_of(event, damaged)]
        return self.log

    def _incomplete(self) -> Iterator[tuple[str, str]]:
        """(trial, what it lacks): its start, or an epoch before its end."""
        begun, epochs, ends = set[str](), dict[str, set[int]](), dict[str, Event]()
        for _, event in self.taken:
            kind, trial = event["event"], str(event.get("trial"))
            if kind == START:
                begun.add(trial)
            elif kind in (EPOCH, END) and trial not in begun:
                begun.add(trial)
                yield trial, "has no start event before its others"
            if kind == EPOCH:
                epochs.setdefault(trial, set()).add(event["epoch"])
            elif kind == END:
                ends[trial] = event
        for trial, end in ends.items():
            if what := missing_epochs(end, len(found := epochs.get(trial, set())), max(found, default=0)):
                yield trial, what


def missing_epochs(end: Event, count: int, last: int) -> str | None:
    """What a trial with this end lacks, of whose epochs `count` are logged, the `last` one latest; None if nothing."""
    last = max(last, end.get("epochs") or 0, end.get("selected_epoch") or 0)
    if end["status"] == FAILED or count == last:
        return None
    return f"{last - count} of its {last} epochs {'is' if last - count == 1 else 'are'} missing"


def _begins_or_is_not_of(event: Event, trials: set[str]) -> bool:
    return event["event"] not in (EPOCH, END) or event["trial"] not in trials


def news(row: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """What an epoch's row tells beyond an earlier row of that epoch: the values that were null there."""
    return {name: value for name, value in row.items() if value is not None and known.get(name) is None}


def repair_tail(path: Path) -> int:
    """Cut a torn last line off the log, so that the next line can be appended; returns the number of bytes cut."""
    if not path.exists() or not path.stat().st_size:
        return 0
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        begin = _start_of_last_line(file.fileno(), size)
        line = os.pread(file.fileno(), size - begin, begin)
        if line.endswith(b"\n") and not read_line(line[:-1]).torn:
            return 0
        file.truncate(begin)
        file.flush()
        os.fsync(file.fileno())
        return size - begin


def _start_of_last_line(descriptor: int, size: int, block: int = 1 << 16) -> int:
    """Offset behind the last newline that is not the file's final byte; 0 if there is none."""
    end = size - 1
    while end > 0:
        begin = max(0, end - block)
        found = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0
