"""Rewrites the report of a running study from time to time, in another process of the lowest priority."""

import subprocess
import sys
import time
from contextlib import suppress

from analysis.records.run_directory import RunDirectory
from core import ROOT

FIRST = 20.0  # seconds before the first report, and between two at least; a shorter run has its own soon enough
SHARE = 0.05  # greatest share of the time for writing reports


class LiveReport:
    """Rewrites a run's report in another process, when trials have ended and a report is due."""

    def __init__(self, run: RunDirectory) -> None:
        self.run, self.due, self.began, self.news = run, time.monotonic() + FIRST, 0.0, False
        self.process: subprocess.Popen[bytes] | None = None

    def look(self, ended: bool) -> None:
        self.news |= ended
        now = time.monotonic()
        if self.process is not None and self.process.poll() is not None:
            self.process = None
            self.due = max(now + FIRST, now + (now - self.began) / SHARE)
        if self.process is None and self.news and now > self.due:
            self.began, self.news = now, False
            with suppress(OSError):  # the process cannot be started now
                self.process = written_aside(self.run)

    def stop(self) -> None:
        """End the process, before the run writes its final report."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()


WRITE = """
import os, signal, sys
from pathlib import Path
from analysis.report.build import write_report
os.nice(19)
signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # which deletes the file that is being written
write_report(Path(sys.argv[1]))
"""


def written_aside(run: RunDirectory) -> "subprocess.Popen[bytes]":
    """A process that writes the report. It may be killed at any time: each file is replaced atomically."""
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(
        [sys.executable, "-c", WRITE, str(run.root)],
        cwd=ROOT,
        stdin=nowhere,
        stdout=nowhere,
        stderr=nowhere,
        start_new_session=True,  # Ctrl-C goes to the run, which then ends this process
    )
