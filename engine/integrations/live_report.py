"""The report of a run that is going on, rewritten from time to time by another process of the lowest priority."""

import subprocess
import sys
import time
from contextlib import suppress

from analysis.records.run_directory import RunDirectory
from core import ROOT

FIRST = 20.0  # seconds until the first report of a run: a shorter one has its report soon enough
SHARE = 0.05  # of the time that may go into reports


class LiveReport:
    """The report of a run that is going on, written anew after trials ended, in another process."""

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
            with suppress(OSError):  # no process to be had just now
                self.process = written_aside(self.run)

    def stop(self) -> None:
        """The run's own last report is about to be written."""
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
    """A process that writes the report. It may be killed at any moment: each file is replaced in one step."""
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(
        [sys.executable, "-c", WRITE, str(run.root)],
        cwd=ROOT,
        stdin=nowhere,
        stdout=nowhere,
        stderr=nowhere,
        start_new_session=True,  # Ctrl-C is for the run, which ends this process then
    )
