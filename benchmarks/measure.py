"""Times two callables in turn, A B A B, so that a drift of the machine falls on both."""

import os
import statistics
import time
from collections.abc import Callable
from typing import Any


def compare(
    name: str, ours: Callable[[], object], peer: Callable[[], object], peer_name: str, runs: int
) -> dict[str, Any]:
    """Medians, the median of the pairwise ratios (larger is better for ours) and their spread; one warm-up of each."""
    ours(), peer()
    pairs = [(_seconds(ours), _seconds(peer)) for _ in range(runs)]
    ratios = [theirs / own for own, theirs in pairs]
    return {
        "name": name,
        "ratio": statistics.median(ratios),
        "peer": peer_name,
        "runs": runs,
        "median_ours": statistics.median(own for own, _ in pairs),
        "median_peer": statistics.median(theirs for _, theirs in pairs),
        "spread": [min(ratios), max(ratios)],
        "threads": 1,
        "load": os.getloadavg()[0],
    }


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
