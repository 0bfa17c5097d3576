"""Chooses the fastest execution mode for trials of one kind in one process that leaves their results unchanged.

On a GPU it times a few steps on real data. CUDA graphs are used where their results equal those of plain steps bit for
bit or, where two runs of plain steps differ too, differ by about as much.
"""

import json
import time
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from datasets.base import Dataset
from trainables.config import TrialConfig, flatten
from trainables.fused.cuda_graphs import FEWEST
from trainables.fused.programs import Graphs, Grouped, LaneError, Program
from trainables.fused.stacked_model import distance, near
from trainables.schedules import Constant
from trainables.training.learner import Learner

MOST = 16  # lanes that `auto` tries
GAIN = 1.05  # minimum speed-up in trials per second for `auto` to double the lanes
ROUNDS, STEPS, SECONDS = 3, 9, 0.1  # timing of a mode: rounds, steps a round at most, seconds a round
WORTH = 300  # minimum steps of a bundle (trials × epochs × batches) for timing to pay off
COMPARED = 12  # steps in each of two epochs before a graph's results are compared
SLACK = 4  # a graph may differ by at most this multiple of the difference between two runs of plain steps

Kernel = Literal["eager", "graphs", "grouped"]


class ExecutionMode(NamedTuple):
    """`lanes`: trials trained at a time. `kernel`: plain steps ("eager"), one CUDA graph per trial ("graphs"), or one
    stacked network ("grouped")."""

    lanes: int = 1
    kernel: Kernel = "eager"

    def program(self, template: nn.Module) -> Program:
        """A program with empty lanes for networks of `template`'s architecture."""
        match self.kernel:
            case "graphs":
                return Graphs()
            case "grouped":
                return Grouped(template, self.lanes)
        return Program()


class TrialKind(NamedTuple):
    """What trials that can be trained side by side share; `config` is that of one of them."""

    config: TrialConfig
    dataset: Dataset
    device: torch.device


@dataclass
class Measurements:
    """Timings and graph checks of trials that share network, data, batch size and precision."""

    seconds: dict[ExecutionMode, float] = field(default_factory=dict)
    """of one trial's step in each mode"""
    sound: dict[tuple[int, str], bool] = field(default_factory=dict)
    """whether graphs of one learner, or of two at once, give its numbers, by which settings are on"""


class Probe:
    """Trains new learners (seeds 0, 1, …) in one mode, to time it or to compare its results."""

    def __init__(self, kind: TrialKind, mode: ExecutionMode) -> None:
        config, dataset, device = kind
        self.learners = {lane: Learner(config, dataset, lane, device) for lane in range(mode.lanes)}
        self.program = mode.program(self.learners[0].network)
        for lane, learner in self.learners.items():
            self.program.enter(lane, learner, capture=True)

    def __call__(self, batches: int) -> None:
        """Train on the first few batches of one more epoch."""
        self.program.train(self.learners, batches)

    def results(self) -> list[Tensor]:
        """Copies of the learners' weights, averages, totals and gradient norms."""
        found: list[Tensor] = []
        for own in self.learners.values():
            found += [*own.network.state_dict().values(), *own.evaluated.state_dict().values(), *own.totals.values()]
            found += [] if own.clip is None else [own.clip.largest]
        return [value.clone() for value in found]


def best_mode(kind: TrialKind, trials: int, wanted: int | Literal["auto"], measured: Measurements) -> ExecutionMode:
    """The mode for `trials` trials: `wanted` at a time; "auto" is the number with the most trials per second.

    Nothing is timed where there is no choice, or where the trials take too few steps for timing to pay off.
    """
    cuda, batches = kind.device.type == "cuda", whole_batches(kind)
    if isinstance(wanted, int) and wanted > 1:
        return ExecutionMode(wanted, "graphs" if cuda else "grouped")
    brief = batches <= FEWEST or trials * kind.config.training.epochs * batches < WORTH
    return ExecutionMode() if brief or not cuda else best_graphs(kind, 1 if wanted == 1 else trials, measured)


def best_graphs(kind: TrialKind, trials: int, measured: Measurements) -> ExecutionMode:
    """Plain steps, or CUDA graphs of 1, 2, 4, … trials at once: the lanes are doubled while throughput grows."""
    best, lanes = ExecutionMode(), 1
    while lanes <= min(trials, MOST) and sound(kind, lanes, measured):
        mode = ExecutionMode(lanes, "graphs")
        if _seconds(kind, best, measured) < (GAIN if lanes > 1 else 1) * _seconds(kind, mode, measured):
            break
        best, lanes = mode, 2 * lanes
    return best


def whole_batches(kind: TrialKind) -> int:
    """How many full batches an epoch has, at least one."""
    return max(1, len(kind.dataset.splits["train"].labels) // kind.config.training.batch_size)


def _seconds(kind: TrialKind, mode: ExecutionMode, measured: Measurements) -> float:
    if mode not in measured.seconds:
        measured.seconds[mode] = seconds_a_step(kind, mode)
    return measured.seconds[mode]


def seconds_a_step(kind: TrialKind, mode: ExecutionMode) -> float:
    """Seconds per training step of one trial in a mode, at a constant learning rate; inf when out of memory."""
    took: list[float] = []
    graphs = mode.kernel == "graphs"
    batches = STEPS if graphs else 1
    try:
        probe = Probe(kind._replace(config=kind.config.model_copy(update={"schedule": Constant()})), mode)
        for _ in range(2):  # the first epoch warms up: it allocates memory and captures a step
            began = time.perf_counter()
            probe(batches)
        if not graphs:  # graphs always take STEPS: an epoch's start and end are timed too, and must weigh alike
            batches = max(1, min(STEPS, int(SECONDS * mode.lanes / (time.perf_counter() - began))))
        while len(took) < ROUNDS:
            began = time.perf_counter()
            probe(batches)
            took.append((time.perf_counter() - began) / batches)
    except (torch.OutOfMemoryError, MemoryError):
        return float("inf")
    return median(took) / mode.lanes


def sound(kind: TrialKind, lanes: int, measured: Measurements) -> bool:
    """Whether CUDA graphs of `lanes` trials at once give the results of plain steps; tested with at most two lanes."""
    lanes = min(2, lanes)
    key = (lanes, json.dumps({name: _kept(value) for name, value in flatten(kind.config).items()}, default=str))
    if key not in measured.sound:
        measured.sound[key] = graphs_agree(kind, lanes)
    return measured.sound[key]


def _kept(value: Any) -> Any:
    """The part of a setting that decides which operations run: of a number only whether it is 0."""
    return bool(value) if isinstance(value, int | float) else value


def graphs_agree(kind: TrialKind, lanes: int) -> bool:
    """Whether CUDA graphs give the results of plain steps, as `_agree` compares them; False where capturing fails."""
    try:
        found = _trained(kind, ExecutionMode(lanes, "graphs"))
        first, second = (_trained(kind, ExecutionMode(lanes)) for _ in range(2))
    except (RuntimeError, AssertionError, LaneError):  # a step cannot be captured, or memory does not hold them
        return False
    return all(map(_agree, found, first, second))


def _trained(kind: TrialKind, mode: ExecutionMode) -> list[Tensor]:
    """Results of new learners after COMPARED steps in each of two epochs."""
    probe = Probe(kind, mode)
    for _ in range(2):
        probe(COMPARED)
    return probe.results()


def _agree(found: Tensor, first: Tensor, second: Tensor) -> bool:
    """Whether `found` (by graphs) equals `first` (by plain steps) bit for bit.

    If `second`, another run of plain steps, differs from `first` too, `found` need only be near it, or within SLACK
    times that difference. Integer counts are then not compared: an image near a tie may count either way.
    """
    if _same(first, second):
        return _same(found, first)
    counts = not first.is_floating_point()
    return counts or near([found], [first]) or distance(found, first) <= SLACK * distance(first, second)


def _same(mine: Tensor, other: Tensor) -> bool:
    return torch.allclose(mine, other, rtol=0, atol=0, equal_nan=True)
