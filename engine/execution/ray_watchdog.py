"""Ends a run from outside Ray Tune's loop: when a private Ray has lost one of its processes, and on SIGTERM.

Without its raylet, Ray Tune waits for ever for the next actor. Without its GCS, a call into Ray may block signals, and
after a minute Ray ends this process without our message.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from analysis.records.run_directory import RunDirectory
from core.errors import Interrupted

PERIOD = 0.5  # seconds between two checks
GRACE = 20.0  # seconds for the main thread to end by itself; Ray would end it a minute after the loss
INTERRUPTED = 130  # exit status
SHOW_CURSOR = "\x1b[?25h"  # a live display hides it


def leave(directory: Path, why: str = "", absent: str = "nothing was started") -> NoReturn:
    """Print how to resume, or `absent` where there is no run, and exit without clean-up, as Ray's and torch's may wait
    for work nobody needs any more."""
    begun = (directory / "study.json").exists()
    saved = f"everything so far is saved. Go on with:\n  python run_search.py resume {RunDirectory(directory).address}"
    text = f"\ninterrupted{f' ({why})' if why else ''}; {saved if begun else absent}\n"
    with suppress(OSError):  # standard error may be a closed pipe
        os.write(2, (SHOW_CURSOR * os.isatty(2) + text).encode())  # click's echo may be what was interrupted
    os._exit(INTERRUPTED)


@contextmanager
def watched(directory: Path) -> Iterator[None]:
    """Raises Interrupted in the main thread, whatever it waits for, once a process of Ray's is gone.

    If the main thread takes no signal, or hangs while Ray shuts down, the process exits after `GRACE` seconds.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread can handle signals
        yield
        return
    over, lost = threading.Event(), list[str]()

    def watch() -> None:
        while not over.wait(PERIOD):
            found = lost_processes()
            if found and not over.is_set():  # else Ray is being ended
                lost.extend(found)
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                threading.Event().wait(GRACE)
                end_ray()
                leave(directory, _loss(lost))

    before = signal.signal(signal.SIGTERM, _terminated)
    watcher = threading.Thread(target=watch, name="watch", daemon=True)
    watcher.start()
    try:
        yield
    except KeyboardInterrupt:
        if lost:
            raise Interrupted(_loss(lost)) from None
        raise
    finally:
        over.set()
        if not lost:
            watcher.join()  # a look in progress would take what ends after the block for lost
        signal.signal(signal.SIGTERM, before)


def _loss(names: list[str]) -> str:
    return f"Ray on this machine has lost its {' and its '.join(names)}"


def lost_processes() -> list[str]:
    """Names of the processes of a private Ray that are gone; those of a cluster are not this program's to watch."""
    from ray._private import worker

    node = worker._global_node
    return [name for name, _ in node.dead_processes()] if node is not None else []


def end_ray() -> None:
    """SIGKILL the processes left of a private Ray, whose own shutdown would wait for the lost one."""
    from ray._private import worker

    if (node := worker._global_node) is not None:
        node.kill_all_processes(check_alive=False, allow_graceful=False)


def _terminated(number: int, frame: FrameType | None) -> None:
    """Handler of SIGTERM, which a cluster's scheduler sends before SIGKILL."""
    raise Interrupted("ended by SIGTERM")
