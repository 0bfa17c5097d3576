"""Times two callables in turn, A B A B, so that a drift of the machine's speed affects both."""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from core import ROOT


def compare(
    name: str, ours: Callable[[], object], peer: Callable[[], object], peer_name: str, runs: int
) -> dict[str, Any]:
    """`summary` of `runs` pairs after one warm-up of each."""
    ours(), peer()
    return summary(name, [(seconds(ours), seconds(peer)) for _ in range(runs)], peer_name)


def summary(name: str, pairs: Sequence[tuple[float, float]], peer_name: str) -> dict[str, Any]:
    """Of (ours, peer) in seconds: medians, the median of the pairwise ratios (larger is better for ours), their range.

    `load` is the machine's load average over the last minute, this measurement included; `threads` those of torch in
    each process.
    """
    ratios = [theirs / own for own, theirs in pairs]
    return {
        "name": name,
        "ratio": statistics.median(ratios),
        "peer": peer_name,
        "runs": len(pairs),
        "median_ours": statistics.median(own for own, _ in pairs),
        "median_peer": statistics.median(theirs for _, theirs in pairs),
        "spread": [min(ratios), max(ratios)],
        "threads": 1,
        "load": os.getloadavg()[0],
        **processor(),
    }


@cache
def processor() -> dict[str, str | bool]:
    """`processor`: its model name; `amx`, `avx512_bf16`: whether it multiplies bf16 so, or "unknown"."""
    try:
        return described(Path("/proc/cpuinfo").read_text())
    except OSError:
        return described("")


def described(cpuinfo: str) -> dict[str, str | bool]:
    """`processor`'s fields from the text of Linux's /proc/cpuinfo."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    facts = {key.strip(): value.strip() for key, _, value in lines}
    flags = facts.get("flags", "").split()
    return {
        "processor": facts.get("model name") or platform.processor() or "unknown",
        "amx": "amx_bf16" in flags if flags else "unknown",
        "avx512_bf16": "avx512_bf16" in flags if flags else "unknown",
    }


@contextmanager
def apart(make: Callable[..., Callable[[], object]], *arguments: Any) -> Iterator[Callable[[], object]]:
    """The callable returned by `make(*arguments)`, run in a process of its own: sides share no memory allocator.

    `make` must be a module-level function; torch has one thread in that process.
    """
    with ProcessPoolExecutor(1, get_context("spawn"), _begin, (make, arguments)) as process:
        yield lambda: process.submit(_again).result()


_MADE: list[Callable[[], object]] = []


def _begin(make: Callable[..., Callable[[], object]], arguments: Sequence[Any]) -> None:
    import torch

    torch.set_num_threads(1)
    _MADE.append(make(*arguments))


def _again() -> object:
    return _MADE[0]()


@contextmanager
def one_thread() -> Iterator[None]:
    """Gives torch one thread, as a trial has it."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def python(*arguments: object, **environment: object) -> str:
    """The output of Python started in the program's folder with one thread; RuntimeError where it fails."""
    command = [sys.executable, *map(str, arguments)]
    threads = {"OMP_NUM_THREADS": "1"} | {name: str(value) for name, value in environment.items()}
    done = subprocess.run(command, cwd=ROOT, env=os.environ | threads, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])}: status {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def seconds(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
