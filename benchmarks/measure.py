"""Times two callables in turn, A B A B, so that a drift of the machine falls on both."""

import multiprocessing
import os
import statistics
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, Self


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
    }


class Apart:
    """A callable that `make(*arguments)` returns in a process of its own, so that sides share no memory allocator.

    Use as a context; `make` is a function of a module, and torch has one thread there.
    """

    def __init__(self, make: Callable[..., Callable[[], object]], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        self._process.start()
        theirs.close()

    def __call__(self) -> None:
        self._pipe.send("once more")
        if fault := self._pipe.recv():
            raise RuntimeError(fault)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pipe.close()
        self._process.join()


def _serve(pipe: Connection, make: Callable[..., Callable[[], object]], arguments: Sequence[Any]) -> None:
    import torch

    torch.set_num_threads(1)
    call = None
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        try:
            call = call or make(*arguments)
            call()
            pipe.send(None)
        except Exception:
            pipe.send(traceback.format_exc())


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
