"""A private Ray on this machine, started in a thread while the main thread imports torch and makes its plan.

It listens on the loopback interface only. The command line calls `begin_early` once it knows that it will probably need
Ray; `started` waits for it.
"""

import atexit
import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from unittest.mock import patch

from core.activity import doing
from core.errors import PlanError, first_line
from core.files import marked, remove_marked
from engine.execution.prepared_workers import forget, prepare

ATTEMPTS = 3  # to start Ray, which times out now and then under load
SOCKET = 103 if sys.platform == "darwin" else 107  # bytes that the path of a socket may have
LONGEST = "/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.1"  # below Ray's folder
NICENESS = "RAY_worker_niceness"
JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")  # set in a batch job
SHORT = ("/tmp", "/var/tmp", "/dev/shm")  # where that fits

ENVIRONMENT = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    # Ray would start a worker per CPU and wait for all; Tune's actors, with their own variables, never use these.
    "RAY_prestart_worker_first_driver": "0",
}
# Ray's own switch, made for the firewalls of macOS and Windows: with 0, its processes listen on 127.0.0.1 alone.
BEYOND_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"

LOCAL = "local"
Workers = Callable[[Mapping[str, float]], int]
MOST_WORKERS = 16  # prepared before it is known how many trials there will be; each holds 0.3 GB


class LocalRay(threading.Thread):
    """Starts Ray, keeps it and ends it: the system ends Ray's processes with the thread that started them.

    `workers`: how many to prepare for trials, by what Ray has found, {"CPU": …}; none where it is None. `meanwhile`:
    called while the first of them get ready.
    """

    def __init__(self, workers: Workers | None, meanwhile: Callable[[], object]) -> None:
        super().__init__(name="ray", daemon=True)
        self.workers, self.meanwhile = workers, meanwhile
        self.ready, self.over = threading.Event(), threading.Event()
        self.used = False
        """whether a block of `started` is within it"""
        self.error: Exception | None = None
        self.sessions = ExitStack()
        """removes the folders of Ray's sessions"""
        atexit.register(self.finish)

    def run(self) -> None:
        try:
            self._start_ray()
        except Exception as error:
            self.error = error
        finally:
            self.ready.set()
        if self.error is None and not self.over.is_set():
            with suppress(Exception):  # then Ray Tune starts its workers itself
                self._prepare_workers()
        self.over.wait()
        if self.error is None:
            _end()
        self.sessions.close()

    def _start_ray(self) -> None:
        import ray  # noqa: F401

        atexit.unregister(self.finish)
        atexit.register(self.finish)  # before what Ray itself does at exit
        if not self.over.is_set():
            _start(self.sessions)

    def _prepare_workers(self) -> None:
        import ray

        if self.workers is not None:
            prepare(self.workers(ray.cluster_resources()), self.over, self.meanwhile)

    def wait(self) -> None:
        """Returns once Ray runs; raises what prevented it."""
        self.ready.wait()
        if self.error is not None:
            raise self.error

    def finish(self) -> None:
        """Ends Ray, and returns once its processes are gone."""
        self.over.set()
        self.join()


_running: LocalRay | None = None


def begin(workers: Workers | None = None, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Starts Ray in the background; a no-op where this process uses a Ray already."""
    global _running
    if _running is not None and _running.over.is_set():
        _running.join()
        _running = None
    ray = sys.modules.get("ray")
    if _running is None and not (ray and ray.is_initialized()):
        set_environment()
        _running = LocalRay(workers, meanwhile)
        _running.start()


def begin_early(options: Mapping[str, Any], meanwhile: Callable[[], object]) -> None:
    """Starts Ray, and workers for as many trials as will run at a time under a run's `options`; no-op for a cluster.

    `meanwhile` is called in Ray's thread while the first of them get ready.
    """
    if not is_local(options.get("address")):
        return
    cpus, gpus = float(options.get("cpus_per_trial") or 1), options.get("gpus_per_trial")

    def workers(found: Mapping[str, float]) -> int:
        if found.get("GPU") and gpus != 0:
            return 0  # Ray gives a GPU to a process when it starts it for a trial
        return min(int(found["CPU"] / cpus), options.get("max_concurrent") or MOST_WORKERS, MOST_WORKERS)

    begin(workers, meanwhile)


@contextmanager
def started() -> Iterator[bool]:
    """Ray for the length of the block, begun now if it is not yet; PlanError if it cannot be started.

    A Ray that this process used before is used, and stays. Yields whether it ends with the block.
    """
    begin()
    if _running is None or _running.used:
        yield False
        return
    with doing("starting Ray"):
        _running.wait()
    _running.used = True
    try:
        yield True
    finally:
        with doing("ending Ray"):
            _running.finish()


def set_environment() -> None:
    """What Ray reads when it is imported; a user's own values stay."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def is_local(address: str | None) -> bool:
    """Whether a run has a private Ray on this machine."""
    return address in (None, LOCAL)


def _start(sessions: ExitStack) -> None:
    import ray

    stay_on_loopback()
    os.environ.setdefault(NICENESS, "0")  # Ray's default of 15 would let every other process go first
    folder = temporary_folder()
    remove_marked(Path(folder), "session_")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with _needed_alone(), _marked(sessions):
                ray.init("local", include_dashboard=False, log_to_driver=False, logging_level="error", _temp_dir=folder)
            return
        except Exception as error:
            ray.shutdown()
            if attempt == ATTEMPTS:
                raise PlanError(f"Ray cannot be started on this machine ({first_line(error)})") from error
            time.sleep(2 * attempt)


def _end() -> None:
    """Ends Ray. No garbage is collected meanwhile, in whatever thread: a reference to an object of Ray's that is freed
    while Ray ends is fatal to the process."""
    import ray

    collecting = gc.isenabled()
    gc.disable()
    try:
        forget()
        ray.shutdown()
    finally:
        if collecting:
            gc.enable()


@contextmanager
def _marked(sessions: ExitStack) -> Iterator[None]:
    """The folder of a session that Ray makes in the block is marked as soon as it is there."""
    from ray._private.node import Node

    if not (known := getattr(Node, "_init_temp", None)):
        yield
        return

    def init_temp(node: Any, *arguments: Any) -> None:
        known(node, *arguments)
        sessions.enter_context(marked(Path(node.get_session_dir_path())))

    with patch.object(Node, "_init_temp", init_temp):
        yield


@contextmanager
def _needed_alone() -> Iterator[None]:
    """Ray starts without its API server, its autoscaler's monitor and its log monitor, three processes of Python that
    only a dashboard, a cluster or printed logs need; it would wait for the first, and for its end."""
    from ray._private.node import Node

    with ExitStack() as stack:
        for name in ("start_api_server", "start_monitor", "start_log_monitor"):
            if hasattr(Node, name):
                stack.enter_context(patch.object(Node, name))
        yield


def temporary_folder() -> str:
    """Where a private Ray keeps its sockets and logs: where it would itself, else where a short path can be written.

    The path of a socket has at most `SOCKET` bytes, and Ray wants ASCII. PlanError if no folder fits, and for a TMPDIR
    that a person made too long; a batch job's or macOS's, which nobody chose, is passed over.
    """
    own = Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp", "ray")
    short = [Path(base, f"ray-{os.getuid()}") for base in SHORT]
    most, chosen = SOCKET - len(LONGEST), sys.platform != "darwin" and not any(map(os.environ.get, JOBS))
    if chosen and len(str(own).encode()) > most and own.parent.is_dir():
        raise PlanError(
            f"TMPDIR {own.parent}: too long for the sockets of Ray ({len(str(own.parent).encode())} bytes); "
            f"allowed: up to {most - len('/ray')}; set TMPDIR or RAY_TMPDIR to a shorter one such as /tmp"
        )
    for folder in (own, *short):
        if str(folder).isascii() and len(f"{folder}{LONGEST}") <= SOCKET and _takes_files(folder):
            return str(folder.absolute())
    raise PlanError(
        f"no folder for the sockets of Ray can be written: {own}, {', '.join(map(str, short))}; name one by "
        f"RAY_TMPDIR, in ASCII and of at most {most - len('/ray')} bytes"
    )


def _takes_files(folder: Path) -> bool:
    try:
        with TemporaryFile(dir=folder if folder.is_dir() else folder.parent):
            return True
    except OSError:
        return False


def stay_on_loopback() -> None:
    """Set the environment for Ray's processes, and the constant for this one, which may have imported ray already."""
    from ray._private import ray_constants

    if os.environ.setdefault(BEYOND_LOOPBACK, "0") == "0":
        ray_constants.ENABLE_RAY_CLUSTER = False
