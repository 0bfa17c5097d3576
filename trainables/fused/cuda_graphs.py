"""Runs the steps of an epoch by Python, or captures one as a CUDA graph and replays it.

Python decisions are baked into a graph, so it is captured again where any of them changes; what changes from batch to
batch, and every number, is read on the device. See "CUDA Graphs" in torch's notes on CUDA semantics.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from trainables.training.batch_draws import BatchDraws, EpochDraws

FEWEST = 8  # steps left in an epoch for which a capture pays: it stops the device, and takes as long as a few


@dataclass(frozen=True)
class Step:
    """`call` trains on one batch, given its draws by lane.

    `on_replay` is called after a replay, to count what `call` counts in Python. `capture_key` is the Python state baked
    into a graph of `call`, compared by `==`; None captures nothing. `generators` are the RNGs that `call` draws from
    besides torch's default.
    """

    call: Callable[[Mapping[int, BatchDraws]], object]
    on_replay: Callable[[], None]
    capture_key: Any = None
    generators: Iterable[torch.Generator] = ()


class CapturedGraph:
    """A call recorded on the CUDA device without being executed; each `replay` executes it."""

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
    """Runs epochs, on a stream of its own where steps are captured; the graph is kept for the next epochs.

    It holds no step: a learner that holds this would hold itself, and what it has of the device, until garbage is
    collected, which may be amid another's capture.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.number = torch.zeros(1, dtype=torch.int64, device=device)
        self.draws: dict[int, EpochDraws] = {}
        self.captured: CapturedGraph | None = None
        self.capture_key: Any = None

    def run(self, draws: Mapping[int, EpochDraws], step: Step) -> Iterator[None]:
        """An epoch, by each lane's draws; at each yield one more step is done, or queued on the device.

        The first step after the capture key changed is never a replay: optimizers make their state in it.
        """
        if len({tuple(each.sizes) for each in draws.values()}) > 1:
            raise ValueError("lanes step together, and their epochs are cut into batches of other sizes")
        if step.capture_key is None:
            for number in range(len(next(iter(draws.values())))):
                step.call({lane: each.batch(number) for lane, each in draws.items()})
                yield
            return
        self._begin(draws, step.capture_key)
        try:
            for number in range(len(next(iter(self.draws.values())))):
                with self._streamed():
                    self._next(number, step)
                yield
        finally:
            if self.stream is not None:
                torch.cuda.current_stream(self.stream.device).wait_stream(self.stream)

    def _begin(self, draws: Mapping[int, EpochDraws], capture_key: Any) -> None:
        """Copy the draws to where the graph reads them, or drop the graph."""
        same = capture_key == self.capture_key and draws.keys() == self.draws.keys()
        if not (same and all(own.copy_from(draws[lane]) for lane, own in self.draws.items())):
            self.captured, self.capture_key, self.draws = None, capture_key, dict(draws)
        self.number.zero_()
        if self.stream is not None:
            self.stream.wait_stream(torch.cuda.current_stream(self.stream.device))

    def _next(self, number: int, step: Step) -> None:
        equal = next(iter(self.draws.values())).equal

        def capturable() -> None:
            step.call({lane: each.batch_at(self.number) for lane, each in self.draws.items()})
            self.number += 1

        if number >= equal:
            step.call({lane: each.batch(number) for lane, each in self.draws.items()})
        elif self.captured is not None:
            self.captured.replay()
            step.on_replay()
        elif number == 0 or equal - number < FEWEST:
            capturable()
        else:
            self.captured = CapturedGraph(capturable, self.stream, step.generators)
            self.captured.replay()  # what Python counts was counted at the capture

    def _streamed(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext() if self.stream is None else torch.cuda.stream(self.stream)
