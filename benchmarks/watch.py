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
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from core import ROOT

LOOK = 0.01  # seconds between two looks at the log
LOOK_FOR_PROCESSES = 0.05
SIZE = (50, 120)  # lines and columns of the terminal
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
HEAD = "───".encode()  # below the head of a table, and nowhere else
ROLES = {"gcs_server": "Ray's server", "raylet/raylet": "Ray's node", "default_worker.py": "Ray's worker"}

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
    processes: dict[int, tuple[float, str]] = field(default_factory=dict)
    """by process id: when it was started, and its role; only where they were asked for"""

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


def watch(command: list[str], log: Path | None = None, processes: bool = False, **environment: str) -> Watched:
    """Python with these arguments, started in the program's folder; RuntimeError where it fails."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", **environment}
    boot = time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
    began, clock = time.time(), time.perf_counter()
    streams = {"stdin": subprocess.DEVNULL, "stdout": end, "stderr": end}
    running = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, **streams)  # type: ignore[call-overload]
    os.close(end)
    seen, read, looked, others = Watched(began), 0, 0.0, set(pids()) - {running.pid} if processes else set()
    try:
        while (status := running.poll()) is None:
            _read_terminal(terminal, seen, clock, LOOK)
            read = _read_log(log, seen, clock, read)
            if processes and time.perf_counter() - looked > LOOK_FOR_PROCESSES:
                looked = time.perf_counter()
                _see_processes(running.pid, others, seen.processes, boot)
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


def _see_processes(root: int, others: set[int], seen: dict[int, tuple[float, str]], boot: float) -> None:
    """Notes processes below `root` that have one of `ROLES`."""
    for pid in pids():
        if pid not in seen and pid not in others and root in ancestors(pid):
            with suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
                role = next((role for part, role in ROLES.items() if part in command), None)
                if role:
                    seen[pid] = (int(stat(pid)[19]) / os.sysconf("SC_CLK_TCK") - boot, role)


def pids() -> list[int]:
    """Of all processes; none where there is no /proc."""
    proc = Path("/proc")
    return [int(each.name) for each in proc.iterdir() if each.name.isdigit()] if proc.is_dir() else []


def ancestors(pid: int) -> Iterator[int]:
    """The processes above one, its parent first."""
    with suppress(OSError):
        while pid := int(stat(pid)[1]):
            yield pid


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (proc(5): state, ppid, …); OSError where there is none."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
