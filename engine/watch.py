"""Ends a run from outside Ray Tune's loop: where a private Ray has lost one of its own processes, and on SIGTERM.

Without its raylet, Ray Tune waits for ever for the next actor; without its GCS, Ray ends this process after a minute
and without a word of ours.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from engine.errors import Interrupted

PERIOD = 0.5  # seconds between two looks


@contextmanager
def watched() -> Iterator[None]:
    """Interrupted in the main thread, out of whatever it waits for, once Ray's processes are not all there."""
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    over, lost = threading.Event(), list[str]()

    def watch() -> None:
        while not over.wait(PERIOD):
            if found := lost_processes():
                lost.extend(found)
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                return

    before = signal.signal(signal.SIGTERM, _terminated)
    watcher = threading.Thread(target=watch, name="watch", daemon=True)
    watcher.start()
    try:
        yield
    except KeyboardInterrupt:
        if lost:
            raise Interrupted(f"Ray on this machine has lost its {' and its '.join(lost)}") from None
        raise
    finally:
        over.set()
        signal.signal(signal.SIGTERM, before)


def lost_processes() -> list[str]:
    """Names of the processes of a private Ray that are gone; those of a cluster are not this program's to watch."""
    from ray._private import worker

    node = worker._global_node
    return [name for name, _ in node.dead_processes()] if node is not None else []


def _terminated(number: int, frame: FrameType | None) -> None:
    """What a cluster's scheduler sends before it kills."""
    raise Interrupted("ended by SIGTERM")
