"""Ways to train several learners side by side, an epoch at a time, each learner in a lane.

Everything but the network is each learner's own: its batch, criterion, clipping, optimizer, average and totals.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from core.errors import out_of_memory
from trainables.fused.cuda_graphs import GraphSteps
from trainables.fused.stacked_model import StackedModel
from trainables.registry import LOSSES
from trainables.training.batch_draws import BatchDraws, EpochDraws
from trainables.training.learner import Learner

Result = TypeVar("Result")


def fusion_key(spec: Mapping[str, Any]) -> str:
    """A key of a trial (as `TrialSpec.to_dict`); trials with equal keys can be trained side by side."""
    config = spec["config"]
    model = {name: value for name, value in config["model"].items() if name != "dropout_rate"}
    training = [config["training"][name] for name in ("batch_size", "precision")]
    loss = LOSSES.find(config["loss"]["name"])
    task = loss and loss.task
    return json.dumps([spec["fingerprint"], config["dataset"], model, task, config["sampler"], training])


class LaneError(Exception):
    """`error` was raised by one lane's learner; the others are in the middle of an epoch."""

    def __init__(self, lane: int, error: Exception) -> None:
        super().__init__(f"in lane {lane}")
        self.lane, self.error = lane, error


def _each(learners: Mapping[int, Learner], call: Callable[[int, Learner], Result]) -> dict[int, Result]:
    """Calls `call` for each lane's learner; returns the results by lane. LaneError names the lane that raised."""
    found = {}
    for lane, learner in learners.items():
        try:
            found[lane] = call(lane, learner)
        except Exception as error:
            if out_of_memory(error):  # all lanes took the memory, not this one alone
                raise
            raise LaneError(lane, error) from error
    return found


class Program:
    """Trains the learners that have entered; this base class trains them one after the other.

    `stacked`: number of lanes if it affects the results (the order of sums), else 1.
    """

    stacked = 1

    def enter(self, lane: int, learner: Learner, capture: bool = False) -> None:
        """Adds a learner in a lane; with `capture` its steps may be run as CUDA graphs."""

    def leave(self, lane: int, learner: Learner) -> None:
        """Removes a learner from its lane; it keeps its trained weights, in memory of its own."""

    def kernel(self, lane: int) -> str:
        """The name of the way the lane's learner is trained, as trials record it."""
        return "turns"

    def train(self, learners: Mapping[int, Learner], most: int | None = None) -> dict[int, dict[str, float]]:
        """Trains each for an epoch (or `most` batches); returns metrics by lane. LaneError names a failed lane."""
        return _each(learners, lambda _, learner: learner.train_epoch(most))


class Graphs(Program):
    """Runs each learner's steps as a CUDA graph on its own stream, so that the GPU runs all learners concurrently."""

    def __init__(self) -> None:
        self.graphs: dict[int, GraphSteps] = {}

    def enter(self, lane: int, learner: Learner, capture: bool = False) -> None:
        if capture:
            self.graphs[lane] = GraphSteps(learner)

    def leave(self, lane: int, learner: Learner) -> None:
        self.graphs.pop(lane, None)

    def kernel(self, lane: int) -> str:
        return "graphs" if lane in self.graphs else "turns"

    def train(self, learners: Mapping[int, Learner], most: int | None = None) -> dict[int, dict[str, float]]:
        draws = _each(learners, lambda _, learner: learner.begin_epoch(most))
        running = {
            lane: self.graphs[lane].run(draws[lane]) if lane in self.graphs else _steps(learner, draws[lane])
            for lane, learner in learners.items()
        }

        def step(lane: int, learner: Learner) -> bool:
            with learner.rng:
                return next(running[lane], self) is None

        while any(_each(learners, step).values()):
            pass
        return _metrics(learners)


def _steps(learner: Learner, draws: EpochDraws) -> Iterator[None]:
    for number in range(len(draws)):
        learner.step(draws.batch(number), learner.totals)
        yield


class Grouped(Program):
    """Trains all learners by one stacked network, each in one of its lanes."""

    def __init__(self, template: nn.Module, lanes: int) -> None:
        self.model, self.stacked = StackedModel(template, lanes), lanes

    def enter(self, lane: int, learner: Learner, capture: bool = False) -> None:
        self.model.enter(lane, learner.network)

    def leave(self, lane: int, learner: Learner) -> None:
        self.model.leave(lane, learner.network)

    def kernel(self, lane: int) -> str:
        return "grouped"

    def train(self, learners: Mapping[int, Learner], most: int | None = None) -> dict[int, dict[str, float]]:
        draws = _each(learners, lambda _, learner: learner.begin_epoch(most))
        if len({tuple(each.sizes) for each in draws.values()}) > 1:
            raise ValueError("lanes step together, and their epochs are cut into batches of other sizes")
        self.model.program.train()
        self.model.draw_from(learners[lane].dropout_seed if lane in learners else None for lane in range(self.stacked))
        for number in range(len(next(iter(draws.values())))):
            self._step(learners, {lane: each.batch(number) for lane, each in draws.items()})
        return _metrics(learners)

    def _step(self, learners: Mapping[int, Learner], draws: Mapping[int, BatchDraws]) -> None:
        """`Learner.step` of each learner, with one forward and backward pass of the stacked network."""
        batches = _each(learners, lambda lane, own: own.data.for_training(draws[lane]))
        some, like = next(iter(learners.values())), next(iter(batches.values())).images
        images = [batches[lane].images if lane in batches else torch.zeros_like(like) for lane in range(self.stacked)]
        with some.autocast():
            outputs = tree_map(Tensor.float, self.model(images))
        losses = _each(learners, lambda lane, own: own.compute_loss(outputs[lane], batches[lane]))
        self.model.zero_grad()
        torch.stack([loss for _, loss in losses.values()]).sum().backward()
        _each(learners, lambda _, own: own.optimizer_step())
        _each(learners, lambda lane, own: own.task.add(own.totals, losses[lane][0], outputs[lane], batches[lane]))


def _metrics(learners: Mapping[int, Learner]) -> dict[int, dict[str, float]]:
    return {lane: learner.task.metrics(learner.totals) for lane, learner in learners.items()}
