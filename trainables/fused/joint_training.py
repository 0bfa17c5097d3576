"""Training of several learners side by side, an epoch at a time.

Either their networks are one program (`Grouped`), or each is trained as alone and a GPU has all their steps at once
(`Streams`). Everything but the network is each learner's own: its batch, criterion, clipping, optimizer, average and
totals.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import nn

from core.errors import out_of_memory
from trainables.fused.cuda_graphs import Step, Steps
from trainables.fused.stacked_model import Fused
from trainables.registry import LOSSES
from trainables.training.batch_draws import Fed
from trainables.training.learner import Learner
from trainables.training.network_outputs import in_float32

Part = TypeVar("Part")


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
            if out_of_memory(error):  # which all of them took
                raise
            raise LaneError(lane, error) from error
    return found


class Streams:
    """Trains each learner as alone, the steps of all on a GPU at once; on a CPU in turns."""

    def enter(self, lane: int, network: nn.Module) -> None:
        """A network stays what it is."""

    def leave(self, lane: int, network: nn.Module) -> None:
        """So does it after."""

    def run(self, learners: Mapping[int, Learner], most: int | None = None) -> Iterator[None]:
        """One epoch of each; at each yield all have done one more step, or left it to the device."""
        feeds = _each(learners, lambda _, learner: learner.begin_epoch(most))
        running = {lane: learner.run(feeds[lane]) for lane, learner in learners.items()}

        def step(lane: int, learner: Learner) -> bool:
            with learner.turns.taken():
                return next(running[lane], self) is None

        while any(_each(learners, step).values()):
            yield


class Grouped:
    """Trains the learners' networks as the lanes of one program."""

    def __init__(self, template: nn.Module, lanes: int) -> None:
        self.fused, self.lanes = Fused(template, lanes), lanes
        self.enter, self.leave = self.fused.enter, self.fused.leave
        self.steps = Steps(next(template.parameters()).device)

    def run(self, learners: Mapping[int, Learner], most: int | None = None) -> Iterator[None]:
        """One epoch of each learner, whose network is in that lane; at each yield one more step is done."""
        feeds = _each(learners, lambda _, learner: learner.begin_epoch(most))
        self.fused.program.train()
        self.fused.draw_from(learners[lane].dropout_seed if lane in learners else None for lane in range(self.lanes))
        captures = all(learner.captures for learner in learners.values())
        decided = {lane: learner.decided for lane, learner in learners.items()} if captures else None

        def counted() -> None:
            for learner in learners.values():
                learner.counted()

        step = Step(lambda fed: self._step(learners, fed), counted, decided, self.fused.generators)
        return self.steps.run(feeds, step)

    def _step(self, learners: Mapping[int, Learner], fed: Mapping[int, Fed]) -> None:
        batches = _each(learners, lambda lane, learner: learner.batch(fed[lane]))
        some, like = next(iter(learners.values())), next(iter(batches.values())).images
        images = [batches[lane].images if lane in batches else torch.zeros_like(like) for lane in range(self.lanes)]
        with some.autocast():
            outputs = in_float32(self.fused(images))
        judged = _each(learners, lambda lane, learner: learner.judged(outputs[lane], batches[lane]))
        self.fused.zero_grad()
        torch.stack([loss for _, loss in judged.values()]).sum().backward()
        _each(learners, lambda lane, own: own.learn(judged[lane][0], outputs[lane], batches[lane], own.totals))


Program = Streams | Grouped


def train_together(
    learners: Mapping[int, Learner], program: Program, most: int | None = None
) -> dict[int, dict[str, float]]:
    """One epoch of each learner, in its lane of the program; its training metrics."""
    for _ in program.run(learners, most):
        pass
    return {lane: learner.task.metrics(learner.totals) for lane, learner in learners.items()}
