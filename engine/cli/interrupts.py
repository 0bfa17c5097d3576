"""What Ctrl-C does to a command, and a run in the foreground: its work, its report and exit status."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from analysis.records.run_directory import RunDirectory
from core.errors import Moved
from engine.execution.ray_watchdog import INTERRUPTED, SHOW_CURSOR, leave

DONE, FAILED, REFUSED = 0, 1, 2  # exit statuses, and engine.execution.ray_watchdog.INTERRUPTED


def in_foreground(
    directory: Path, work: Callable[[], Any], report: Callable[[Path], int], new: bool = False
) -> NoReturn:
    """Do the work, then write and print the `report`, which returns the exit status of this process."""
    try:
        with interruptible(partial(leave, directory)), _claimed(directory, new):
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


def interrupted() -> str:
    """The one line that a command says after Ctrl-C; a terminal has written `^C` where it would stand."""
    return "\n" * os.isatty(2) + "interrupted"


def leave_quietly() -> NoReturn:
    """Exit without clean-up: what is locked is free then, and what is half written goes at the next start."""
    with suppress(OSError):  # standard error may be a closed pipe
        os.write(2, f"{SHOW_CURSOR * os.isatty(2)}{interrupted()}\n".encode())
    os._exit(INTERRUPTED)


def leave_at_once() -> None:
    """Let Ctrl-C end this process at once, where no block of `interruptible` is: there is nothing to clean up."""
    signal.signal(signal.SIGINT, lambda number, frame: leave_quietly())


def _untold(error: object) -> None:
    """In place of the traceback of what a callback or a thread raises while it is interrupted."""


@contextmanager
def interruptible(leave: Callable[[], NoReturn] = leave_quietly) -> Iterator[None]:
    """The first Ctrl-C raises KeyboardInterrupt in the block, the second calls `leave`.

    The block ends by KeyboardInterrupt then, whatever the code that was interrupted makes of it: a half-done import
    raises other errors, a callback drops it.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread can handle signals
        yield
        return
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            leave()
        pressed = True
        sys.unraisablehook, threading.excepthook = _untold, _untold
        raise KeyboardInterrupt

    before, hooks = signal.signal(signal.SIGINT, press), (sys.unraisablehook, threading.excepthook)
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException:
        if pressed:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook, threading.excepthook = hooks
    if pressed:
        raise KeyboardInterrupt
