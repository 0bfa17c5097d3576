"""How trials of one kind are trained quickest in one process: how many side by side, and by which kernel.

A few steps on real data tell. Only `--fuse auto` lets their time decide a number that is reported: a CUDA graph is used
where it comes to the bits of plain steps, or as near as plain steps come to themselves.
"""

import json
import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from trainables.config import flatten
from trainables.fused.cuda_graphs import FEWEST
from trainables.fused.joint_training import Grouped, LaneError, Program, Streams, train_together
from trainables.fused.stacked_model import UnfusableError, check, distance, near
from trainables.schedules import Constant
from trainables.training.learner import Learner

if TYPE_CHECKING:
    from datasets.base import Dataset
    from trainables.config import TrialConfig

MOST = 16  # lanes that `auto` tries
GAIN = 1.05  # times as many trials a second that `auto` asks of one more doubling
ROUNDS, STEPS, SECONDS = 3, 9, 0.1  # that each way is timed: rounds of so many steps, or of fewer that take as long
WORTH = 300  # steps that a bundle needs at least for timing to pay
CALLS = 0.02  # seconds of a step on a CPU above which its work outweighs its calls, and side by side gains nothing
COMPARED = 12  # steps, in each of two epochs, after which a graph's numbers are compared
SLACK = 4  # times what Python's own numbers differ by from one time to the next, that a graph's may differ

Kernel = Literal["eager", "graph", "grouped", "grouped graph", "graphs"]
"""One trial step by step, or repeated as a CUDA graph; several as one network, step by step or as a graph; or several
as a graph each, on CUDA streams of their own"""
PLAIN = {"graph": "eager", "graphs": "turns", "grouped graph": "grouped"}
"""what a graph's kernel is called where its steps cannot be captured"""


class Way(NamedTuple):
    """How trials are trained: `lanes` at a time."""

    lanes: int = 1
    kernel: Kernel = "eager"

    @property
    def captures(self) -> bool:
        """Whether steps are repeated as CUDA graphs."""
        return self.kernel in PLAIN

    @property
    def merges(self) -> bool:
        """Whether the networks are one program."""
        return self.kernel.startswith("grouped")

    def program(self, template: nn.Module) -> Program | None:
        """Of lanes that are still empty; None for one trial."""
        if self.lanes == 1:
            return None
        return Grouped(template, self.lanes) if self.merges else Streams()


class Kind(NamedTuple):
    """What trials that can be side by side have in common, one of them standing for all."""

    config: "TrialConfig"
    dataset: "Dataset"
    device: torch.device


@dataclass
class Known:
    """What was measured of trials that share a network, its data, batch size and precision."""

    seconds: dict[Way, float] = field(default_factory=dict)
    """of one trial's step"""
    sound: dict[tuple[Way, str], bool] = field(default_factory=dict)
    """also by which settings are on"""


class Probe:
    """New learners of a kind, with seeds from `first`, trained in some way."""

    def __init__(self, kind: Kind, way: Way, first: int = 0) -> None:
        config, dataset, device = kind
        self.learners = {lane: Learner(config, dataset, first + lane, device) for lane in range(way.lanes)}
        self.program = way.program(self.learners[0].network)
        for lane, learner in self.learners.items():
            learner.captures = way.captures
            if self.program is not None:
                self.program.enter(lane, learner.network)

    def __call__(self, batches: int) -> None:
        """The first few batches of one more epoch, done when this returns."""
        if self.program is None:
            self.learners[0].train_epoch(batches)
        else:
            train_together(self.learners, self.program, batches)

    def numbers(self) -> list[Tensor]:
        """All that the learners' training has come to."""
        found: list[Tensor] = []
        for own in self.learners.values():
            found += [*own.network.state_dict().values(), *own.evaluated.state_dict().values(), *own.totals.values()]
            found += [] if own.clip is None else [own.clip.largest]
        return [value.clone() for value in found]


def best_way(kind: Kind, trials: int, wanted: int | Literal["auto"], known: Known) -> Way:
    """How to train so many trials: `wanted` at a time, or as many as train most of them a second.

    By `auto` each doubling is timed, and the search ends with the first that gains nothing. Nothing is timed for trials
    that are over before it is known.
    """
    cuda, batches = kind.device.type == "cuda", whole_batches(kind)
    brief = trials * kind.config.training.epochs * batches < WORTH
    if wanted in (1, "auto") and (brief or (not cuda and 1 in (wanted, trials))):
        return Way()
    if isinstance(wanted, int) and wanted > 1:
        return Way(wanted, "graphs" if cuda else "grouped")
    graphs = cuda and batches > FEWEST and sound(kind, Way(1, "graph"), known)
    alone = min([Way(), Way(1, "graph")] if graphs else [Way()], key=lambda way: _seconds(kind, way, known))
    if 1 in (wanted, trials) or (not cuda and _seconds(kind, alone, known) > CALLS):
        return alone
    kernels: tuple[Kernel, ...] = ("graphs", "grouped graph") if graphs else ("grouped",)
    found = [_doubled(kind, alone, kernel, trials, known) for kernel in kernels]
    return min(found, key=lambda way: _seconds(kind, way, known))


def whole_batches(kind: Kind) -> int:
    """Of an epoch, those of the full size; at least one."""
    return max(1, len(kind.dataset.splits["train"].labels) // kind.config.training.batch_size)


def _doubled(kind: Kind, alone: Way, kernel: Kernel, trials: int, known: Known) -> Way:
    """The number of lanes after which one more doubling gains nothing by this kernel; `alone` where two do not."""
    best, lanes = alone, 2
    while lanes <= min(trials, MOST):
        way = Way(lanes, kernel)
        if not sound(kind, way, known) or _seconds(kind, best, known) < GAIN * _seconds(kind, way, known):
            break
        best, lanes = way, 2 * lanes
    return best


def _seconds(kind: Kind, way: Way, known: Known) -> float:
    if way not in known.seconds:
        known.seconds[way] = seconds_a_step(kind, way)
    return known.seconds[way]


def seconds_a_step(kind: Kind, way: Way) -> float:
    """Of one trial's step among so many, at a constant rate; infinite where memory does not hold them."""
    took: list[float] = []
    batches = STEPS if way.captures else 1
    try:
        probe = Probe(kind._replace(config=kind.config.model_copy(update={"schedule": Constant()})), way)
        for _ in range(2):  # in the first epoch memory is taken, and a step captured
            began = time.perf_counter()
            probe(batches)
        if not way.captures:  # the same for any number of lanes, as an epoch's beginning and end are timed too
            batches = max(1, min(STEPS, int(SECONDS * way.lanes / (time.perf_counter() - began))))
        while len(took) < ROUNDS:
            began = time.perf_counter()
            probe(batches)
            took.append((time.perf_counter() - began) / batches)
    except (torch.OutOfMemoryError, MemoryError):
        return float("inf")
    return median(took) / way.lanes


def sound(kind: Kind, way: Way, known: Known) -> bool:
    """Whether trials can be trained so, two for many; what graphs do is held against Python's steps."""
    way = way._replace(lanes=min(2, way.lanes))
    key = (way, json.dumps({name: _kept(value) for name, value in flatten(kind.config).items()}, default=str))
    if key not in known.sound:
        fusable = not way.merges or _fusable(kind)
        known.sound[key] = fusable and (not way.captures or repeats(kind, way))
    return known.sound[key]


def _kept(value: Any) -> Any:
    """Of a setting, what decides which operations there are: a number only by whether it is 0."""
    return bool(value) if isinstance(value, int | float) else value


def _fusable(kind: Kind) -> bool:
    config, dataset, device = kind
    try:
        check(Learner(config, dataset, 0, device).network, dataset.info.input_shape)
    except UnfusableError:
        return False
    return True


def repeats(kind: Kind, way: Way) -> bool:
    """Whether graphs come to the numbers that Python's steps come to: to the bit, where these do so twice."""
    try:
        found = _trained(kind, way)
        first, second = (_by_python(kind, way) for _ in range(2))
    except (RuntimeError, AssertionError, LaneError):  # a step cannot be captured, or memory does not hold them
        return False
    return all(map(_agree, found, first, second))


def _by_python(kind: Kind, way: Way) -> list[Tensor]:
    if way.merges:
        return _trained(kind, Way(way.lanes, "grouped"))
    return [value for lane in range(way.lanes) for value in _trained(kind, Way(), lane)]


def _trained(kind: Kind, way: Way, first: int = 0) -> list[Tensor]:
    """What some steps of two epochs come to."""
    probe = Probe(kind, way, first)
    for _ in range(2):
        probe(COMPARED)
    return probe.numbers()


def _agree(found: Tensor, first: Tensor, second: Tensor) -> bool:
    """Whether `found` is `first` to the bit.

    Where Python's own `second` is not, `found` has to be near, or within SLACK times their difference; counts, of
    which one near a tie may fall to either side, are not looked at then.
    """
    if _same(first, second):
        return _same(found, first)
    counts = not first.is_floating_point()
    return counts or near([found], [first]) or distance(found, first) <= SLACK * distance(first, second)


def _same(mine: Tensor, other: Tensor) -> bool:
    return torch.allclose(mine, other, rtol=0, atol=0, equal_nan=True)
