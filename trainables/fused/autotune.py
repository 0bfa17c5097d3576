"""Chooses the quickest mode to train trials of one kind in one process: how many side by side, and by which kernel.

It times a few steps on real data. Only `--fuse auto` lets their time decide a number that is reported: a CUDA graph is
used where its results equal those of plain steps to the bit, or as nearly as two runs of plain steps agree.
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
ROUNDS, STEPS, SECONDS = 3, 9, 0.1  # each mode is timed in rounds of so many steps, or of fewer that take as long
WORTH = 300  # steps that a bundle needs at least for timing to pay
CALLS = 0.02  # seconds of a step on a CPU above which its work outweighs its calls, and stacking gains nothing
COMPARED = 12  # steps, in each of two epochs, after which a graph's numbers are compared
SLACK = 4  # a graph may differ by so many times what two runs of plain steps differ by

Kernel = Literal["eager", "graph", "grouped", "grouped graph", "graphs"]
"""One trial by plain steps, or as a CUDA graph; several stacked into one network, by plain steps or as a graph; several
as a graph each, on CUDA streams of their own"""
PLAIN = {"graph": "eager", "graphs": "turns", "grouped graph": "grouped"}
"""the kernel that a graph's is recorded as where steps cannot be captured"""


class ExecutionMode(NamedTuple):
    """How trials are trained: `lanes` at a time, by this kernel."""

    lanes: int = 1
    kernel: Kernel = "eager"

    @property
    def uses_cuda_graphs(self) -> bool:
        """Whether steps are captured as CUDA graphs."""
        return self.kernel in PLAIN

    @property
    def stacked(self) -> bool:
        """Whether the networks are stacked into one."""
        return self.kernel.startswith("grouped")

    def program(self, template: nn.Module) -> Program | None:
        """A program of empty lanes for networks like `template`; None for one trial."""
        if self.lanes == 1:
            return None
        return Grouped(template, self.lanes) if self.stacked else Streams()


class TrialKind(NamedTuple):
    """Trials that can be trained side by side, by the configuration of one of them."""

    config: "TrialConfig"
    dataset: "Dataset"
    device: torch.device


@dataclass
class Measurements:
    """Measurements of trials that share a network, data, batch size and precision."""

    seconds: dict[ExecutionMode, float] = field(default_factory=dict)
    """of one trial's step in each mode"""
    sound: dict[tuple[ExecutionMode, str], bool] = field(default_factory=dict)
    """whether a mode may be used, by which settings are on"""


class Probe:
    """New learners of a kind, with seeds from `first` on, trained in one mode."""

    def __init__(self, kind: TrialKind, mode: ExecutionMode, first: int = 0) -> None:
        config, dataset, device = kind
        self.learners = {lane: Learner(config, dataset, first + lane, device) for lane in range(mode.lanes)}
        self.program = mode.program(self.learners[0].network)
        for lane, learner in self.learners.items():
            learner.use_cuda_graph = mode.uses_cuda_graphs
            if self.program is not None:
                self.program.enter(lane, learner.network)

    def __call__(self, batches: int) -> None:
        """Train on the first few batches of one more epoch."""
        if self.program is None:
            self.learners[0].train_epoch(batches)
        else:
            train_together(self.learners, self.program, batches)

    def results(self) -> list[Tensor]:
        """Copies of the learners' weights, averages, totals and gradient norms."""
        found: list[Tensor] = []
        for own in self.learners.values():
            found += [*own.network.state_dict().values(), *own.evaluated.state_dict().values(), *own.totals.values()]
            found += [] if own.clip is None else [own.clip.largest]
        return [value.clone() for value in found]


def best_mode(kind: TrialKind, trials: int, wanted: int | Literal["auto"], measured: Measurements) -> ExecutionMode:
    """The mode for so many trials: `wanted` at a time, or as many as train most of them a second.

    By `auto` each doubling is timed, and the search ends with the first that gains nothing. Nothing is timed for trials
    that are over before it is known.
    """
    cuda, batches = kind.device.type == "cuda", whole_batches(kind)
    brief = trials * kind.config.training.epochs * batches < WORTH
    if wanted in (1, "auto") and (brief or (not cuda and 1 in (wanted, trials))):
        return ExecutionMode()
    if isinstance(wanted, int) and wanted > 1:
        return ExecutionMode(wanted, "graphs" if cuda else "grouped")
    graphs = cuda and batches > FEWEST and sound(kind, ExecutionMode(1, "graph"), measured)
    alone = min(
        [ExecutionMode(), ExecutionMode(1, "graph")] if graphs else [ExecutionMode()],
        key=lambda mode: _seconds(kind, mode, measured),
    )
    if 1 in (wanted, trials) or (not cuda and _seconds(kind, alone, measured) > CALLS):
        return alone
    kernels: tuple[Kernel, ...] = ("graphs", "grouped graph") if graphs else ("grouped",)
    found = [_doubled(kind, alone, kernel, trials, measured) for kernel in kernels]
    return min(found, key=lambda mode: _seconds(kind, mode, measured))


def whole_batches(kind: TrialKind) -> int:
    """How many full batches an epoch has, at least one."""
    return max(1, len(kind.dataset.splits["train"].labels) // kind.config.training.batch_size)


def _doubled(
    kind: TrialKind, alone: ExecutionMode, kernel: Kernel, trials: int, measured: Measurements
) -> ExecutionMode:
    """The mode of this kernel after which doubling the lanes gains nothing; `alone` where two lanes gain nothing."""
    best, lanes = alone, 2
    while lanes <= min(trials, MOST):
        mode = ExecutionMode(lanes, kernel)
        if not sound(kind, mode, measured) or _seconds(kind, best, measured) < GAIN * _seconds(kind, mode, measured):
            break
        best, lanes = mode, 2 * lanes
    return best


def _seconds(kind: TrialKind, mode: ExecutionMode, measured: Measurements) -> float:
    if mode not in measured.seconds:
        measured.seconds[mode] = seconds_a_step(kind, mode)
    return measured.seconds[mode]


def seconds_a_step(kind: TrialKind, mode: ExecutionMode) -> float:
    """Seconds of one trial's step in a mode, at a constant learning rate; infinite where memory does not suffice."""
    took: list[float] = []
    batches = STEPS if mode.uses_cuda_graphs else 1
    try:
        probe = Probe(kind._replace(config=kind.config.model_copy(update={"schedule": Constant()})), mode)
        for _ in range(2):  # in the first epoch memory is taken, and a step captured
            began = time.perf_counter()
            probe(batches)
        if not mode.uses_cuda_graphs:  # the same for any number of lanes, as an epoch's beginning and end are timed too
            batches = max(1, min(STEPS, int(SECONDS * mode.lanes / (time.perf_counter() - began))))
        while len(took) < ROUNDS:
            began = time.perf_counter()
            probe(batches)
            took.append((time.perf_counter() - began) / batches)
    except (torch.OutOfMemoryError, MemoryError):
        return float("inf")
    return median(took) / mode.lanes


def sound(kind: TrialKind, mode: ExecutionMode, measured: Measurements) -> bool:
    """Whether trials can be trained in a mode, tried with two lanes at most; graphs are compared with plain steps."""
    mode = mode._replace(lanes=min(2, mode.lanes))
    key = (mode, json.dumps({name: _kept(value) for name, value in flatten(kind.config).items()}, default=str))
    if key not in measured.sound:
        fusable = not mode.stacked or _fusable(kind)
        measured.sound[key] = fusable and (not mode.uses_cuda_graphs or graphs_agree(kind, mode))
    return measured.sound[key]


def _kept(value: Any) -> Any:
    """The part of a setting that decides which operations run: of a number only whether it is 0."""
    return bool(value) if isinstance(value, int | float) else value


def _fusable(kind: TrialKind) -> bool:
    config, dataset, device = kind
    try:
        check(Learner(config, dataset, 0, device).network, dataset.info.input_shape)
    except UnfusableError:
        return False
    return True


def graphs_agree(kind: TrialKind, mode: ExecutionMode) -> bool:
    """Whether graphs give the results of plain steps: to the bit, where two runs of plain steps do."""
    try:
        found = _trained(kind, mode)
        first, second = (_by_plain_steps(kind, mode) for _ in range(2))
    except (RuntimeError, AssertionError, LaneError):  # a step cannot be captured, or memory does not hold them
        return False
    return all(map(_agree, found, first, second))


def _by_plain_steps(kind: TrialKind, mode: ExecutionMode) -> list[Tensor]:
    if mode.stacked:
        return _trained(kind, ExecutionMode(mode.lanes, "grouped"))
    return [value for lane in range(mode.lanes) for value in _trained(kind, ExecutionMode(), lane)]


def _trained(kind: TrialKind, mode: ExecutionMode, first: int = 0) -> list[Tensor]:
    """The results of some steps of two epochs."""
    probe = Probe(kind, mode, first)
    for _ in range(2):
        probe(COMPARED)
    return probe.results()


def _agree(found: Tensor, first: Tensor, second: Tensor) -> bool:
    """Whether `found` is `first` to the bit.

    Where the `second` run is not, `found` has to be near, or within SLACK times their difference; counts, of
    which one near a tie may fall to either side, are not looked at then.
    """
    if _same(first, second):
        return _same(found, first)
    counts = not first.is_floating_point()
    return counts or near([found], [first]) or distance(found, first) <= SLACK * distance(first, second)


def _same(mine: Tensor, other: Tensor) -> bool:
    return torch.allclose(mine, other, rtol=0, atol=0, equal_nan=True)
