"""Trains several learners side by side, an epoch at a time.

Either their networks are stacked into one (`Grouped`), or each takes its own steps and a GPU runs those of all at once
(`Streams`). Everything but the network is each learner's own: its batch, criterion, clipping, optimizer, average and
totals.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from core.errors import out_of_memory
from trainables.fused.cuda_graphs import Step, Steps
from trainables.fused.stacked_model import StackedModel
from trainables.registry import LOSSES
from trainables.training.batch_draws import BatchDraws
from trainables.training.learner import Learner

Result = TypeVar("Result")


def fusion_key(spec: Mapping[str, Any]) -> str:
    """Equal for trials (as `TrialSpec.to_dict`) that can be trained side by side."""
    config = spec["config"]
    model = {name: value for name, value in config["model"].items() if name != "dropout_rate"}
    training = [config["training"][name] for name in ("batch_size", "precision")]
    task = LOSSES[config["loss"]["name"]].task
    return json.dumps([spec["fingerprint"], config["dataset"], model, task, config["sampler"], training])


class LaneError(Exception):
    """`error` was raised by one lane's learner; the others are in the middle of an epoch."""

    def __init__(self, lane: int, error: Exception) -> None:
        super().__init__(f"in lane {lane}")
        self.lane, self.error = lane, error


def _each(learners: Mapping[int, Learner], call: Callable[[int, Learner], Result]) -> dict[int, Result]:
    """`call`'s result for each lane's learner; LaneError says whose raised."""
    found = {}
    for lane, learner in learners.items():
        try:
            found[lane] = call(lane, learner)
        except Exception as error:
            if out_of_memory(error):  # which all of them took
                raise
            raise LaneError(lane, error) from error
    return found


class Streams:
    """Trains each learner by itself: a GPU runs the steps of all at once, a CPU in turns."""

    def enter(self, lane: int, network: nn.Module) -> None:
        """No-op: streams need no attachment."""

    def leave(self, lane: int, network: nn.Module) -> None:
        """No-op, as `enter`."""

    def run(self, learners: Mapping[int, Learner], most: int | None = None) -> Iterator[None]:
        """One epoch of each; at each yield all have done one more step, or queued it on the device."""
        draws = _each(learners, lambda _, learner: learner.begin_epoch(most))
        running = {lane: learner.run(draws[lane]) for lane, learner in learners.items()}

        def step(lane: int, learner: Learner) -> bool:
            with learner.rng:
                return next(running[lane], self) is None

        while any(_each(learners, step).values()):
            yield


class Grouped:
    """Trains the learners' networks stacked into one, each in a lane of it."""

    def __init__(self, template: nn.Module, lanes: int) -> None:
        self.stacked, self.lanes = StackedModel(template, lanes), lanes
        self.enter, self.leave = self.stacked.enter, self.stacked.leave
        self.steps = Steps(next(template.parameters()).device)

    def run(self, learners: Mapping[int, Learner], most: int | None = None) -> Iterator[None]:
        """One epoch of each learner, whose network is in that lane; at each yield one more step is done."""
        draws = _each(learners, lambda _, learner: learner.begin_epoch(most))
        self.stacked.program.train()
        self.stacked.draw_from(learners[lane].dropout_seed if lane in learners else None for lane in range(self.lanes))
        capture = all(learner.use_cuda_graph for learner in learners.values())
        capture_key = {lane: learner.capture_key for lane, learner in learners.items()} if capture else None

        def on_replay() -> None:
            for learner in learners.values():
                learner.on_replay()

        step = Step(lambda each: self._step(learners, each), on_replay, capture_key, self.stacked.generators)
        return self.steps.run(draws, step)

    def _step(self, learners: Mapping[int, Learner], draws: Mapping[int, BatchDraws]) -> None:
        batches = _each(learners, lambda lane, learner: learner.batch(draws[lane]))
        some, like = next(iter(learners.values())), next(iter(batches.values())).images
        images = [batches[lane].images if lane in batches else torch.zeros_like(like) for lane in range(self.lanes)]
        with some.autocast():
            outputs = tree_map(Tensor.float, self.stacked(images))
        losses = _each(learners, lambda lane, learner: learner.compute_loss(outputs[lane], batches[lane]))
        self.stacked.zero_grad()
        torch.stack([loss for _, loss in losses.values()]).sum().backward()
        _each(learners, lambda lane, own: own.optimizer_step(losses[lane][0], outputs[lane], batches[lane], own.totals))


Program = Streams | Grouped


def train_together(
    learners: Mapping[int, Learner], program: Program, most: int | None = None
) -> dict[int, dict[str, float]]:
    """Train each lane's learner for one epoch; their training metrics."""
    for _ in program.run(learners, most):
        pass
    return {lane: learner.task.metrics(learner.totals) for lane, learner in learners.items()}
