"""The steps of an epoch, one batch after the other: by Python, or as a CUDA graph that repeats one without it.

What Python decides stands in a graph for good, so that one is captured anew where any of it changes; what changes from
batch to batch, and every number, is read on the device. See "CUDA Graphs" in torch's notes on CUDA semantics.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from trainables.training.batch_draws import Fed, Feed

FEWEST = 8  # steps left in an epoch for which a capture pays: it stops the device, and takes as long as a few


@dataclass(frozen=True)
class Step:
    """What is done for each batch, given what each lane's is made of.

    `counted` is called instead after a replay, for what a step counts in Python. `decided` is all that Python decides
    in it, to be compared; None where nothing is to be captured. `generators` are those it draws from, but for torch's.
    """

    call: Callable[[Mapping[int, Fed]], object]
    counted: Callable[[], None]
    decided: Any = None
    generators: Iterable[torch.Generator] = ()


class Captured:
    """A call, recorded on the CUDA device without being done there, and done at every `replay`."""

    def __init__(
        self, call: Callable[[], None], stream: torch.cuda.Stream | None, generators: Iterable[torch.Generator]
    ) -> None:
        self.graph = torch.cuda.CUDAGraph()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*register_generator_state.*")  # newer torch finds them by itself
            for generator in generators:
                self.graph.register_generator_state(generator)
        with torch.cuda.graph(self.graph, stream=stream):
            call()

    def replay(self) -> None:
        self.graph.replay()


class Steps:
    """Runs epochs, on a stream of its own where steps are captured; what was captured is kept for the next ones.

    It holds no step: a learner that holds this would hold itself, and what it has of the device, until garbage is
    collected, which may be amid another's capture.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.number = torch.zeros(1, dtype=torch.int64, device=device)
        self.feeds: dict[int, Feed] = {}
        self.captured: Captured | None = None
        self.decided: Any = None

    def run(self, feeds: Mapping[int, Feed], step: Step) -> Iterator[None]:
        """An epoch; at each yield one more step is done, or left to the device.

        The first step after any decision changed is never a replay: optimizers make their state in it.
        """
        if len({tuple(feed.sizes) for feed in feeds.values()}) > 1:
            raise ValueError("lanes step together, and their epochs are cut into batches of other sizes")
        if step.decided is None:
            for number in range(len(next(iter(feeds.values())))):
                step.call({lane: feed.batch(number) for lane, feed in feeds.items()})
                yield
            return
        self._settle(feeds, step.decided)
        try:
            for number in range(len(next(iter(self.feeds.values())))):
                with self._streamed():
                    self._next(number, step)
                yield
        finally:
            if self.stream is not None:
                torch.cuda.current_stream(self.stream.device).wait_stream(self.stream)

    def _settle(self, feeds: Mapping[int, Feed], decided: Any) -> None:
        """Put the epoch where the graph reads it, or forget the graph."""
        same = decided == self.decided and feeds.keys() == self.feeds.keys()
        if not (same and all(own.take(feeds[lane]) for lane, own in self.feeds.items())):
            self.captured, self.decided, self.feeds = None, decided, dict(feeds)
        self.number.zero_()
        if self.stream is not None:
            self.stream.wait_stream(torch.cuda.current_stream(self.stream.device))

    def _next(self, number: int, step: Step) -> None:
        equal = next(iter(self.feeds.values())).equal

        def repeated() -> None:
            step.call({lane: feed.at(self.number) for lane, feed in self.feeds.items()})
            self.number += 1

        if number >= equal:
            step.call({lane: feed.batch(number) for lane, feed in self.feeds.items()})
        elif self.captured is not None:
            self.captured.replay()
            step.counted()
        elif number == 0 or equal - number < FEWEST:
            repeated()
        else:
            self.captured = Captured(repeated, self.stream, step.generators)
            self.captured.replay()  # what Python counts was counted at the capture

    def _streamed(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext() if self.stream is None else torch.cuda.stream(self.stream)
