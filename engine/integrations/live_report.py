"""Rewrites the report of a running study from time to time, in another process that gets only idle processor time.

What the writings cost is measured, and they are spaced so that they take at most SHARE of the trials' processor time.
"""

import os
import subprocess
import sys
import time
from contextlib import suppress

from analysis.records.run_directory import RunDirectory
from core import ROOT

SHARE = 0.02  # greatest share of the trials' processor time for writing reports
COST = 4.0  # processor seconds of a writing, before one was measured


class LiveReport:
    """Rewrites a run's report in another process, when trials have ended and a report is due."""

    def __init__(self, run: RunDirectory) -> None:
        self.run, self.news = run, False
        self.trials, self.spent, self.cost = 0.0, 0.0, COST
        """processor seconds: of the trials so far, of the writings so far, of the costliest writing"""
        self.looked = time.monotonic()
        self.process: subprocess.Popen[bytes] | None = None

    def look(self, ended: bool, running: int) -> None:
        """Begin a report if one is due. `ended`: whether a trial has since the last look; `running`: trials now, each
        of which is taken to use one core since then, as far as there are cores."""
        now = time.monotonic()
        self.trials += (now - self.looked) * min(running, os.cpu_count() or 1)
        self.looked, self.news = now, self.news or ended
        if self.process is not None and (cost := processor_seconds(self.process)) is not None:
            self.spent, self.cost, self.process = self.spent + cost, max(self.cost, cost), None
        if self.process is None and self.news and self.spent + self.cost <= SHARE * self.trials:
            self.news = False
            with suppress(OSError):  # the process cannot be started now
                self.process = written_aside(self.run)

    def stop(self) -> None:
        """End the process at once, before the run writes its final report, and delete the file it was writing."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for folder in (self.run.root, self.run.report):
                for file in folder.glob(f".*.{self.process.pid}"):
                    file.unlink(missing_ok=True)
            self.process = None


def processor_seconds(process: "subprocess.Popen[bytes]") -> float | None:
    """What a process that has ended took, user and system; None while it runs."""
    ended, status, usage = os.wait4(process.pid, os.WNOHANG)
    if not ended:
        return None
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


IDLE = """
import os
os.nice(19)
if hasattr(os, "SCHED_IDLE"):  # runs only where a core is idle; its reads and writes wait for others too
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
"""
WRITE = """
import sys
from pathlib import Path
from analysis.report.build import contents_of, make_report
make_report(contents_of(Path(sys.argv[1])), drawn=False)
"""


def written_aside(run: RunDirectory) -> "subprocess.Popen[bytes]":
    """A process that writes the page and its tables, without figures. It may be killed at any time: each file is
    replaced atomically."""
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(
        [sys.executable, "-c", IDLE + WRITE, str(run.root)],
        cwd=ROOT,
        env={**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")},
        stdin=nowhere,
        stdout=nowhere,
        stderr=nowhere,
        start_new_session=True,  # Ctrl-C goes to the run, which then ends this process
    )
