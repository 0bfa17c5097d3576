"""Runs a command in the foreground: its work, its report, its interrupts and exit status."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from analysis.records.run_directory import RunDirectory
from core.errors import Moved
from engine.execution.ray_watchdog import leave

DONE, FAILED, REFUSED = 0, 1, 2  # exit statuses, and engine.execution.ray_watchdog.INTERRUPTED


def in_foreground(
    directory: Path, work: Callable[[], Any], report: Callable[[Path], int], new: bool = False
) -> NoReturn:
    """Do the work, then write and print the `report`, which returns the exit status of this process."""
    with _leaving_at_once(directory):
        try:
            with _claimed(directory, new):
                work()
                status = report(directory)
        except Moved as error:
            leave(error.place or directory, str(error), "go on with `resume` where it is now")
        except KeyboardInterrupt as error:
            leave(directory, str(error))
        except OSError as error:
            from core.errors import PlanError, disk_fault

            fault = disk_fault(error)
            if fault is None:
                raise
            if not (directory / "study.json").exists():
                raise PlanError(f"nothing was started: {fault}") from error
            leave(directory, fault)
    sys.exit(status)


def _claimed(directory: Path, new: bool) -> AbstractContextManager[None]:
    """For the mirror of a URL, a session that sends to the URL all that is written; else a no-op."""
    if not RunDirectory(directory).remote:
        return nullcontext()
    from engine.integrations.remote_sync import session

    return session(directory, new)


@contextmanager
def _leaving_at_once(directory: Path) -> Iterator[None]:
    """The first Ctrl-C raises KeyboardInterrupt in the block, the second ends the process at once."""
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            leave(directory)
        pressed = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
