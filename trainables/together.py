"""Training steps of several learners as one program, and how many of them gain most.

Everything but the network is each learner's own: its batch, criterion, clipping, optimizer, average and totals.
"""

import json
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch

from trainables.fusion import Fused, check
from trainables.learner import Learner
from trainables.outputs import in_float32
from trainables.registry import LOSSES

if TYPE_CHECKING:
    from datasets.base import Dataset
    from trainables.config import TrialConfig

Part = TypeVar("Part")
MOST = 16  # lanes that `auto` tries
GAIN = 1.05  # times as many trials a second that `auto` asks of one more doubling
STEPS, SECONDS = 9, 0.3  # that it times each number of lanes for: so many steps, or three that take longer
WORTH = 300  # steps that a bundle needs at least for timing to pay
CALLS = 0.02  # seconds of a step above which its work outweighs its calls, and side by side gains nothing


def fusion_key(spec: Mapping[str, Any]) -> str:
    """Equal for trials (as `TrialSpec.to_dict`) that can be lanes of one program."""
    config = spec["config"]
    model = {name: value for name, value in config["model"].items() if name != "dropout_rate"}
    training = [config["training"][name] for name in ("batch_size", "precision")]
    task = LOSSES[config["loss"]["name"]].task
    return json.dumps([spec["fingerprint"], config["dataset"], model, task, config["sampler"], training])


class LaneError(Exception):
    """`error` is what one lane's own part of a step raised; the others are in the middle of an epoch."""

    def __init__(self, lane: int, error: Exception) -> None:
        super().__init__(f"in lane {lane}")
        self.lane, self.error = lane, error


def _each(learners: Mapping[int, Learner], part: Callable[[int, Learner], Part]) -> dict[int, Part]:
    """By lane, what its learner does by itself."""
    found = {}
    for lane, learner in learners.items():
        try:
            found[lane] = part(lane, learner)
        except Exception as error:
            raise LaneError(lane, error) from error
    return found


def train_together(learners: Mapping[int, Learner], fused: Fused) -> dict[int, dict[str, float]]:
    """One epoch of each learner, whose network is in that lane; its training metrics."""
    parts = _each(learners, lambda _, learner: learner.begin_epoch())
    totals = {lane: learner.task.totals() for lane, learner in learners.items()}
    fused.program.train()
    fused.draw_from(learners[lane].dropout_seed if lane in learners else None for lane in range(fused.lanes))
    for number, rows in enumerate(zip(*parts.values(), strict=True)):
        _step(learners, fused, dict(zip(parts, rows, strict=True)), number, totals)
    return {lane: learner.task.metrics(totals[lane]) for lane, learner in learners.items()}


def _step(
    learners: Mapping[int, Learner], fused: Fused, rows: Mapping[int, torch.Tensor], number: int, totals: Any
) -> None:
    batches = _each(learners, lambda lane, learner: learner.batch(rows[lane], number))
    some, like = next(iter(learners.values())), next(iter(batches.values())).images
    images = [batches[lane].images if lane in batches else torch.zeros_like(like) for lane in range(fused.lanes)]
    with some.autocast():
        outputs = in_float32(fused(images))
    judged = _each(learners, lambda lane, learner: learner.judged(outputs[lane], batches[lane]))
    fused.zero_grad()
    torch.stack([loss for _, loss in judged.values()]).sum().backward()
    _each(learners, lambda lane, own: own.learn(judged[lane][0], outputs[lane], batches[lane], totals[lane]))


class Kind(NamedTuple):
    """What trials that can be lanes of one program have in common, one of them standing for all."""

    config: "TrialConfig"
    dataset: "Dataset"
    device: torch.device


class Steps:
    """A call is one more training step of `lanes` new learners of a kind, as one program if they are several."""

    def __init__(self, kind: Kind, lanes: int) -> None:
        config, dataset, device = kind
        self.learners = {lane: Learner(config, dataset, lane, device) for lane in range(lanes)}
        self.fused = Fused(self.learners[0].network, lanes) if lanes > 1 else None
        if self.fused is not None:
            for lane, learner in self.learners.items():
                self.fused.enter(lane, learner.network)
            self.fused.program.train()
            self.fused.draw_from([0] * lanes)
        self.parts = {lane: learner.begin_epoch() for lane, learner in self.learners.items()}
        self.done = 0

    def __call__(self) -> None:
        number = self.done % len(self.parts[0])
        rows = {lane: part[number] for lane, part in self.parts.items()}
        totals = {lane: learner.task.totals() for lane, learner in self.learners.items()}
        if self.fused is None:
            self.learners[0].step(rows[0], number, totals[0])
        else:
            _step(self.learners, self.fused, rows, number, totals)
        self.done += 1
        float(next(iter(totals[0].values())))  # waits for the device


def best_width(kind: Kind, trials: int, known: dict[int, float]) -> int:
    """The number of lanes that trains most of so many trials a second; 1 where they are over before it is known.

    Each doubling is timed on real data, and the search ends with the first that gains nothing. `known` holds the
    seconds of a trial's step by number of lanes, and takes those measured now. UnfusableError as `check` raises it.
    """
    config, dataset, device = kind
    batches = max(1, len(dataset.splits["train"].labels) // config.training.batch_size)
    if trials < 2 or trials * config.training.epochs * batches < WORTH:
        return 1
    best, lanes = 1, 2
    while lanes <= min(trials, MOST):
        if best not in known:
            known[best] = seconds_a_step(kind, best)
        if known[best] > CALLS:
            break
        if lanes == 2 and lanes not in known:
            check(Learner(config, dataset, 0, device).network, dataset.info.input_shape)
        if lanes not in known:
            known[lanes] = seconds_a_step(kind, lanes)
        if known[best] < GAIN * known[lanes]:
            break
        best, lanes = lanes, 2 * lanes
    return best


def seconds_a_step(kind: Kind, lanes: int) -> float:
    """Of one trial's step among so many; infinite where memory does not hold them."""
    took: list[float] = []
    try:
        step = Steps(kind, lanes)
        while len(took) <= STEPS and not (len(took) > 3 and sum(took) > SECONDS):
            began = time.perf_counter()
            step()
            took.append(time.perf_counter() - began)
    except (torch.OutOfMemoryError, MemoryError):
        return float("inf")
    return median(took[1:]) / lanes
