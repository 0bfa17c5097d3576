"""Runs a learner's training steps by replaying a CUDA graph captured from one of them.

A graph fixes what Python decided during the capture, so a change of optimizer or learning rate forces recapture.
Batches are read on the device, by number. See "CUDA Graphs" in torch's notes on CUDA semantics.
"""

import contextlib
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor

from trainables.training.batch_draws import BatchDraws, EpochDraws
from trainables.training.learner import Learner

FEWEST = 8  # minimum steps left in an epoch for a capture to pay off: it stalls the device for a few steps' time


class CapturedGraph:
    """A call recorded on the CUDA device without being executed; each `replay` executes it."""

    def __init__(self, call: Callable[[], None], stream: torch.cuda.Stream | None) -> None:
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=stream):
            call()

    def replay(self) -> None:
        self.graph.replay()


class GraphSteps:
    """Runs a learner's epochs on its own CUDA stream; the graph is reused in later epochs.

    The learner holds no reference to this object: the cycle would keep its device memory until garbage collection,
    which may run during another learner's capture.
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
        """Runs the steps of an epoch, given its draws; each yield follows one more step queued on the device.

        The first step after a change of the capture key is run by Python: optimizers create their state in it.
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
        """Copies the draws into the tensors that the graph reads, else drops the graph; returns the draws to use."""
        capture_key = (self.learner.optimizer, self.learner.lr)  # baked into a graph; a change forces recapture
        if self.draws is None or capture_key != self.capture_key or not _copied(draws, self.draws):
            self.captured, self.capture_key, self.draws = None, capture_key, draws
        self.number.zero_()
        if self.stream is not None:
            self.stream.wait_stream(torch.cuda.current_stream(self.stream.device))
        return self.draws

    def _step(self, draws: EpochDraws, number: int, equal: int) -> None:
        """Trains on batch `number`; the first `equal` batches have one size, and can use the graph."""
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
            self.captured.replay()  # without `_count`: Python counted this step during the capture

    def _streamed(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext() if self.stream is None else torch.cuda.stream(self.stream)


def _count(learner: Learner) -> None:
    """Advances the learner's step counters after a replay, as `Learner.optimizer_step` does in a plain step."""
    if learner.clip is not None:
        learner.clip.steps += 1
    if learner.average is not None:
        learner.average.n_averaged += 1


def _batch_at(draws: EpochDraws, number: Tensor, equal: int) -> BatchDraws:
    """Batch `number` (a device tensor, (1,) int64) of the first `equal` ones; the host never reads the number."""
    size = draws.sizes[0]
    blocks = {name: values[: equal * size].unflatten(0, (equal, size)) for name, values in draws.values.items()}
    return {name: block.index_select(0, number)[0] for name, block in blocks.items()}


def _copied(draws: EpochDraws, own: EpochDraws) -> bool:
    """Copies `draws` into `own` in place (a CUDA graph keeps addresses); False if batch sizes or names differ."""
    if own.sizes != draws.sizes or own.values.keys() != draws.values.keys():
        return False
    for name, values in own.values.items():
        values.copy_(draws.values[name])
    return True
