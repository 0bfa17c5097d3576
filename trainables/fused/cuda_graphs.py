"""Runs a learner's steps as replays of a CUDA graph, captured from one of them.

Python decisions are baked into a graph, so it is captured again where any of them changes; what changes from batch to
batch, and every number, is read on the device. See "CUDA Graphs" in torch's notes on CUDA semantics.
"""

import contextlib
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor

from trainables.training.batch_draws import BatchDraws, EpochDraws
from trainables.training.learner import Learner

FEWEST = 8  # steps left in an epoch for which a capture pays: it stops the device, and takes as long as a few


class CapturedGraph:
    """A call recorded on the CUDA device without being executed; each `replay` executes it."""

    def __init__(self, call: Callable[[], None], stream: torch.cuda.Stream | None) -> None:
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=stream):
            call()

    def replay(self) -> None:
        self.graph.replay()


class GraphSteps:
    """Runs a learner's epochs on a stream of its own; the graph is kept for the next epochs.

    A learner does not know it: one that held its graph would hold itself, and what it has of the device, until garbage
    is collected, which may be amid another's capture.
    """

    def __init__(self, learner: Learner) -> None:
        device = learner.device
        self.learner = learner
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.number = torch.zeros(1, dtype=torch.int64, device=device)
        self.draws: EpochDraws | None = None
        self.captured: CapturedGraph | None = None
        self.capture_key: Any = None

    def run(self, draws: EpochDraws) -> Iterator[None]:
        """The steps of an epoch begun; at each yield one more is queued on the device.

        The first step after the capture key changed is never a replay: optimizers make their state in it.
        """
        own = self._begin(draws)
        equal = len(list(takewhile(lambda size: size == own.sizes[0], own.sizes)))
        try:
            for number in range(len(own)):
                with self._streamed():
                    self._step(own, number, equal)
                yield
        finally:
            if self.stream is not None:
                torch.cuda.current_stream(self.stream.device).wait_stream(self.stream)

    def _begin(self, draws: EpochDraws) -> EpochDraws:
        """Copy the draws to where the graph reads them, or drop the graph; where they are."""
        capture_key = (self.learner.optimizer, self.learner.lr)  # Python state that a graph of a step is made of
        if self.draws is None or capture_key != self.capture_key or not _copied(draws, self.draws):
            self.captured, self.capture_key, self.draws = None, capture_key, draws
        self.number.zero_()
        if self.stream is not None:
            self.stream.wait_stream(torch.cuda.current_stream(self.stream.device))
        return self.draws

    def _step(self, draws: EpochDraws, number: int, equal: int) -> None:
        """Take the step of batch `number`, of which the first `equal` are of one size."""
        learner = self.learner

        def capturable() -> None:
            learner.step(_batch_at(draws, self.number, equal), learner.totals)
            self.number += 1

        if number >= equal:
            learner.step(draws.batch(number), learner.totals)
        elif self.captured is not None:
            self.captured.replay()
            _count(learner)
        elif number == 0 or equal - number < FEWEST:
            capturable()
        else:
            self.captured = CapturedGraph(capturable, self.stream)
            self.captured.replay()  # what Python counts was counted at the capture

    def _streamed(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext() if self.stream is None else torch.cuda.stream(self.stream)


def _count(learner: Learner) -> None:
    """Count a replayed step, as `Learner.optimizer_step` counts one that Python did."""
    if learner.clip is not None:
        learner.clip.steps += 1
    if learner.average is not None:
        learner.average.n_averaged += 1


def _batch_at(draws: EpochDraws, number: Tensor, equal: int) -> BatchDraws:
    """One of the first `equal` batches, by its `number` (1,) int64, which is read on the device alone."""
    size = draws.sizes[0]
    blocks = {name: values[: equal * size].unflatten(0, (equal, size)) for name, values in draws.values.items()}
    return {name: block.index_select(0, number)[0] for name, block in blocks.items()}


def _copied(draws: EpochDraws, own: EpochDraws) -> bool:
    """Whether the draws could be copied in place, as a graph keeps addresses: where sizes and names agree."""
    if own.sizes != draws.sizes or own.values.keys() != draws.values.keys():
        return False
    for name, values in own.values.items():
        values.copy_(draws.values[name])
    return True
