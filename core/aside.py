"""Work beside the main thread: in a process of its own, on a core that would be idle, or in threads."""

import importlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar, cast

from core import ROOT

Result = TypeVar("Result")


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_pool() -> ThreadPoolExecutor:
    """A pool with one thread per core, for work that waits for files or runs outside of Python, such as decoding."""
    return ThreadPoolExecutor(cores())


def python(module: str, function: str) -> list[str]:
    """The command that calls a function of one of the program's modules, in whatever folder it is run."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from {module} import {function}; {function}()"
    return [sys.executable, "-c", code]


class Aside(Generic[Result]):
    """A call of a module's function that begins now in another process, with `threads` of libraries' own.

    With a single core, or where that process cannot be started or is lost, `result` makes the call itself.
    """

    def __init__(self, function: Callable[..., Result], *arguments: object, threads: int = 1) -> None:
        self.function, self.arguments = function, arguments
        self.process: subprocess.Popen[bytes] | None = None
        if cores() == 1:
            return
        with suppress(OSError):
            self.process = subprocess.Popen(
                python(__name__, "serve"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # Passive: a thread that spins while it waits takes the core of what the caller does meanwhile.
                env={**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"},
            )
            assert self.process.stdin
            pickle.dump((function.__module__, function.__qualname__, arguments), self.process.stdin)
            self.process.stdin.close()

    def result(self) -> Result:
        """What the function returns; raises what it raises."""
        if self.process is not None and self.process.stdout is not None:
            done, found = False, cast(Result, None)
            with self.process.stdout as answer, suppress(OSError, EOFError, pickle.UnpicklingError):
                done, found = pickle.load(answer)
            self.process.kill()
            self.process.wait()
            if done:
                return found
        return self.function(*self.arguments)


def serve() -> None:
    """Answers the call on standard input: (whether it returned, what it returned)."""
    answer, sys.stdout = sys.stdout.buffer, sys.stderr
    module, name, arguments = pickle.load(sys.stdin.buffer)
    try:
        found = True, getattr(importlib.import_module(module), name)(*arguments)
    except Exception:  # it is told where the call is made again
        found = False, None
    pickle.dump(found, answer)
    answer.flush()
