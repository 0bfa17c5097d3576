"""Runs a command in a terminal of its own and notes when what happened, from outside: nothing runs in the command.

Moments are seconds since the command was given ("Enter").
"""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from core import ROOT

LOOK = 0.01  # seconds between two looks at the log
SIZE = (50, 120)  # lines and columns of the terminal
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
HEAD = "───".encode()  # below the head of a table, and nowhere else
Event = dict[str, Any]


@dataclass
class Watched:
    """What came of a command: its exit status, what stood on the terminal when, which events its log got when."""

    began: float
    """on the clock of `time.time`"""
    seconds: float = 0.0
    status: int = 0
    shown: list[tuple[float, bytes]] = field(default_factory=list)
    events: list[tuple[float, Event]] = field(default_factory=list)

    def now(self) -> float:
        return time.time() - self.began

    @property
    def text(self) -> str:
        return ESCAPES.sub(b"", b"".join(piece for _, piece in self.shown)).decode(errors="replace")

    def shown_at(self, sign: bytes) -> float | None:
        """When a sign first stood on the terminal."""
        before = b""
        for at, piece in self.shown:
            if sign in (before := before[-len(sign) :] + piece):
                return at
        return None

    def first(self, event: str) -> float | None:
        """When the first event of a kind was read in the log."""
        return next((at for at, found in self.events if found["event"] == event), None)

    def last(self, event: str) -> float | None:
        """When the last event of a kind happened, by its own time."""
        times = [
            datetime.fromisoformat(found["time"]).timestamp() for _, found in self.events if found["event"] == event
        ]
        return times[-1] - self.began if times else None


def watch(
    command: list[str],
    log: Path | None = None,
    look: Callable[[int, Watched], None] = lambda pid, seen: None,
    every: float = 0.05,
) -> Watched:
    """Python with these arguments, started in the program's folder; RuntimeError where it fails.

    `look` gets the process id and what was seen so far, `every` so many seconds.
    """
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    began, clock = time.time(), time.perf_counter()
    streams = {"stdin": subprocess.DEVNULL, "stdout": end, "stderr": end}
    running = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, **streams)  # type: ignore[call-overload]
    os.close(end)
    seen, read, looked = Watched(began), 0, 0.0
    try:
        while (status := running.poll()) is None:
            _read_terminal(terminal, seen, clock, LOOK)
            read = _read_log(log, seen, clock, read)
            if time.perf_counter() - looked > every:
                looked = time.perf_counter()
                look(running.pid, seen)
        seen.seconds, seen.status = time.perf_counter() - clock, status
        _read_terminal(terminal, seen, clock, 0.0)
        _read_log(log, seen, clock, read)
    finally:
        os.close(terminal)
    if status:
        raise RuntimeError(f"{' '.join(command)}: status {status}\n{seen.text[-2000:]}")
    return seen


def _read_terminal(terminal: int, seen: Watched, clock: float, patience: float) -> None:
    if not select.select([terminal], [], [], patience)[0]:
        return
    with suppress(OSError):  # the other end is closed
        piece = os.read(terminal, 1 << 16)
        seen.shown.append((time.perf_counter() - clock, piece))
        return
    time.sleep(patience)


def _read_log(log: Path | None, seen: Watched, clock: float, read: int) -> int:
    """Reads what the log has gained; returns how many bytes of it are read now."""
    with suppress(OSError):
        if log is not None and log.stat().st_size > read:
            at = time.perf_counter() - clock
            with log.open("rb") as file:
                file.seek(read)
                whole = file.read().rpartition(b"\n")
            seen.events += [(at, json.loads(line)) for line in whole[0].splitlines()]
            return read + len(whole[0]) + len(whole[1])
    return read


@dataclass(frozen=True)
class Process:
    """A process of this machine, as /proc shows it."""

    pid: int
    parent: int
    began: float
    """on the clock of `time.time`"""
    own: float
    """seconds of processor time, of user and system"""
    reaped: float
    """those of its children that are over and waited for, and of theirs"""
    command: str

    @property
    def is_worker(self) -> bool:
        """Of Ray's, which runs trials; Ray gives its agents such names too."""
        named = self.command.startswith("ray::") and not self.command.rstrip().endswith("Agent")
        return named or "default_worker.py" in self.command

    @property
    def is_node(self) -> bool:
        return "raylet/raylet" in self.command

    @property
    def is_of_ray(self) -> bool:
        return self.command.startswith("ray::") or "/ray/" in self.command


def processes_below(root: int) -> list[Process]:
    """A process and all below it, parents first; none where there is no /proc."""
    proc = Path("/proc")
    found = [process(int(each.name)) for each in proc.iterdir() if each.name.isdigit()] if proc.is_dir() else []
    known = {each.pid: each for each in found if each}
    below = [known[root]] if root in known else []
    for above in below:
        below += [each for each in known.values() if each.parent == above.pid]
    return below


def process(pid: int) -> Process | None:
    """None where there is none of this id."""
    try:
        # proc(5): after the name in brackets state, ppid, …; utime, stime, cutime and cstime are fields 14 to 17.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return None
    tick = os.sysconf("SC_CLK_TCK")
    user, system, user_reaped, system_reaped = (int(value) / tick for value in fields[11:15])
    began = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + int(fields[19]) / tick
    return Process(pid, int(fields[1]), began, user + system, user_reaped + system_reaped, command)
