"""Model, optimizer, schedule and data of one training run. It needs no Ray and writes no file.

No random state is carried from epoch to epoch: whatever an epoch draws comes from seeds named by the trial's seed, the
purpose and the epoch, so a run resumed at an epoch's end continues as if nothing had happened, and a factor that draws
(dropout, a sampler, an augmentation) changes the draws of no other.
"""

import contextlib
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from core.seeds import derive_seed
from datasets.base import Dataset
from trainables.config import TrialConfig
from trainables.models.build import build_network
from trainables.models.freezing import within
from trainables.tasks.base import Batch, Terms, Totals
from trainables.tasks.registry import TASKS
from trainables.training.averaging import Averaged
from trainables.training.batch_draws import BatchDraws, EpochDraws
from trainables.training.batches import DeviceData
from trainables.training.clipping import GradientClip
from trainables.training.rng import RngContext

EVALUATION_PIXELS = 2**22  # of one evaluation batch: large enough to amortise calls, small enough for any cache


class Learner:
    """Trains `config` with `seed` on `dataset`; epochs count from 1."""

    def __init__(self, config: TrialConfig, dataset: Dataset, seed: int, device: torch.device) -> None:
        self.config, self.seed, self.device = config, seed, device
        self.info = dataset.info
        self.data = DeviceData(config, dataset, device)
        # Convolutions of small images take 1.4 to 1.7 times as long in torch's default layout, which a network of the
        # user's own gets, as it may call `view` on what a convolution gives.
        self.layout = torch.contiguous_format if config.model.own_references else torch.channels_last
        self.network = build_network(config, self.info, seed).to(device).to(memory_format=self.layout)
        self.task = TASKS[config.loss.task](config.loss, config.model, self.info, self.data.mean_shape())
        self.phase = config.optimizer.at(1, config.training.epochs)
        self.optimizer = self._optimizer()
        clip_norm, ema = config.training.clip_norm, config.training.ema
        self.clip = GradientClip(clip_norm, device) if clip_norm else None
        self.average = Averaged(self.network, ema) if ema else None
        self.totals = self.task.totals()  # of the epoch in progress
        own = bool(config.own_references)
        self.rng = RngContext(device, libraries=own)
        self.evaluation_rng = RngContext(device, libraries=True) if own else None
        self.epoch = 0
        self.first_loss: float | None = None
        self.undefined: dict[str, str] = {}  # by column of `metrics`, why it had no value when it first had none
        self.sampled = torch.zeros(len(self.info.classes), dtype=torch.int64)  # training rows drawn of each class

    @property
    def labels(self) -> dict[str, Tensor]:
        """Labels of each split, (N,) int64 on the device."""
        return {name: rows.labels for name, rows in self.data.splits.items()}

    @property
    def evaluated(self) -> nn.Module:
        """The network that is evaluated and saved: the averaged one, or the trained one where none is averaged."""
        return self.network if self.average is None else self.average.module

    def train_epoch(self, most: int | None = None) -> dict[str, float]:
        """Trains one epoch (or its first `most` batches); metrics of the augmented images while the weights change."""
        draws = self.begin_epoch(most)
        with self.rng:
            for number in range(len(draws)):
                self.step(draws.batch(number), self.totals)
        return self.task.metrics(self.totals)

    def begin_epoch(self, most: int | None = None) -> EpochDraws:
        """Starts the next epoch, and draws its batches, or the first `most` of them."""
        self.epoch += 1
        self._enter_phase()
        labels = self.labels["train"].cpu()
        order = self.config.sampler.order(labels, torch.Generator().manual_seed(self._seed("order")))
        self.sampled += torch.bincount(labels[order], minlength=len(self.sampled))
        self.network.train()
        self.rng.seed(self.dropout_seed)
        for total in self.totals.values():
            total.zero_()
        parts = batches(order, self.config.training.batch_size)[:most]
        return EpochDraws([self._draw(rows, number) for number, rows in enumerate(parts)], self.device)

    def step(self, draws: BatchDraws, totals: Totals) -> Tensor:
        """Trains on a batch; returns the loss before the step."""
        batch = self.data.for_training(draws)
        outputs = self.forward(self.network, batch.images)
        terms, loss = self.compute_loss(outputs, batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer_step()
        self.task.add(totals, terms, outputs, batch)
        return loss.detach()

    def compute_loss(self, outputs: Any, batch: Batch) -> tuple[Terms, Tensor]:
        """(terms of the criterion, their sum, which is minimised)."""
        terms = self.task.criterion(outputs, batch)
        loss = torch.stack([term.value for term in terms.values()]).sum()
        if self.first_loss is None:
            self.first_loss = float(loss.detach())
        return terms, loss

    def optimizer_step(self) -> None:
        """Clips the gradients, steps the optimizer and updates the averaged weights."""
        if self.clip is not None:
            self.clip(self.network.parameters())
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)

    def draw_batch(self, rows: Tensor, number: int) -> BatchDraws:
        """The draws of `rows` (B,) as batch `number` of this epoch, on the device."""
        return EpochDraws([self._draw(rows.cpu(), number)], self.device).batch(0)

    def _draw(self, rows: Tensor, number: int) -> BatchDraws:
        return self.data.draw(rows, self._seed("augmentation", number))

    @property
    def dropout_seed(self) -> int:
        """Seed of this epoch's dropout."""
        return self._seed("dropout")

    def forward(self, network: nn.Module, images: Tensor) -> Any:
        """The network's outputs in float32, computed in the trial's precision."""
        with self.autocast():
            outputs = network(images.contiguous(memory_format=self.layout))
        return tree_map(Tensor.float, outputs)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The autocast context of the trial's precision."""
        enabled = self.config.training.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def inputs(self, split: str, rows: Tensor, batch: int | None = None) -> Tensor:
        """Images as the network sees them, (B, C, H, W) float32; augmented with batch `batch`'s draws if given."""
        if batch is None:
            return self.data.for_evaluation(split, rows).images
        return self.data.for_training(self.draw_batch(rows, batch)).images

    @contextlib.contextmanager
    def holding(self, model: dict[str, Tensor], epoch: int) -> Iterator[None]:
        """In the block the evaluated network holds these weights, and draws as it did after that epoch."""
        own = {name: value.clone() for name, value in self.evaluated.state_dict().items()}, self.epoch
        self.evaluated.load_state_dict(model)
        self.epoch = epoch
        try:
            yield
        finally:
            self.evaluated.load_state_dict(own[0])
            self.epoch = own[1]

    @torch.no_grad()
    def evaluate(self, split: str, limit: int | None = None) -> dict[str, float]:
        """Metrics of the split, or of its first `limit` rows; they are read back, so this waits for the device."""
        totals, scores, labels = self.task.totals(), list[Tensor](), list[Tensor]()
        for outputs, batch in self.outputs(split, limit):
            self.task.add(totals, self.task.criterion(outputs, batch), outputs, batch)
            if self.config.metrics:
                scores.append(self.task.columns(outputs, batch)["scores"])
                labels.append(batch.labels)
        return self.task.metrics(totals) | (self._of_whole_split(split, scores, labels) if scores else {})

    def _of_whole_split(self, split: str, scores: list[Tensor], labels: list[Tensor]) -> dict[str, float]:
        """The values of `config.metrics`, of the scores (B, C) and labels (B,) of each batch; NaN where undefined."""
        whole, targets, found = torch.cat(scores).cpu().numpy(), torch.cat(labels).cpu().numpy(), dict[str, float]()
        for metric in self.config.metrics:
            seed = self._seed("metric", metric.column, split)
            found[metric.column], reason = metric.measure(whole, targets, seed)
            if reason:
                self.undefined.setdefault(f"{split}_{metric.column}", reason)
        return found

    @torch.no_grad()
    def predictions(self, split: str) -> dict[str, Tensor]:
        """The task's columns of each example, with the true values; on the CPU, in the split's own order."""
        found: dict[str, list[Tensor]] = {}
        for outputs, batch in self.outputs(split):
            truth = {"labels": batch.labels, **({} if batch.points is None else {"true_points": batch.points})}
            for name, values in {**self.task.columns(outputs, batch), **truth}.items():
                found.setdefault(name, []).append(values.cpu())
        return {name: torch.cat(parts) for name, parts in found.items()}

    def outputs(self, split: str, limit: int | None = None) -> Iterator[tuple[Any, Batch]]:
        """Evaluation-mode outputs of the split (or its first `limit` rows), batch by batch."""
        network = self.evaluated.eval()
        if self.evaluation_rng:
            self.evaluation_rng.seed(self._seed("evaluation"))
        images = self.data.splits[split].images[:limit]
        size = self._affordable(EVALUATION_PIXELS)
        for rows in torch.arange(len(images), device=self.device).split(size):
            batch = self.data.for_evaluation(split, rows)
            with self.evaluation_rng or contextlib.nullcontext():
                outputs = self.forward(network, batch.images)
            yield outputs, batch

    def _seed(self, *purpose: str | int) -> int:
        return derive_seed(self.seed, *purpose, self.epoch)

    def _enter_phase(self) -> None:
        """The optimizer and rate of this epoch; a new optimizer starts without the old one's moments."""
        epochs, settings = self.config.training.epochs, self.config.optimizer
        if (phase := settings.at(self.epoch, epochs)) != self.phase:
            self.phase = phase
            self.optimizer = self._optimizer()
        for group in self.optimizer.param_groups:
            rate = settings.lr_backbone_at if group.get("backbone") else settings.lr_at
            group["lr"] = rate(self.epoch, epochs, self.config.schedule)

    def _optimizer(self) -> torch.optim.Optimizer:
        """The phase's optimizer: of one group of parameters, or where the backbone has a rate of its own of several,
        which together keep the network's order, so that a state fits either."""
        if self.config.optimizer.lr_backbone is None:
            return self.phase.build(self.network.parameters())
        heads = self.config.model.heads(self.network)
        groups = groupby(self.network.named_parameters(), lambda named: not within(named[0], heads))
        return self.phase.build(
            {"params": [parameter for _, parameter in part], "backbone": backbone} for backbone, part in groups
        )

    @property
    def lr(self) -> float:
        """The rate the optimizer used last, of the output layers where the others have another."""
        return next(group["lr"] for group in self.optimizer.param_groups if not group.get("backbone"))

    def _affordable(self, pixels: int) -> int:
        """How many images hold about `pixels` values in all, at least two."""
        return max(2, pixels // self.data.splits["train"].images[0].numel())

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "clip": None if self.clip is None else self.clip.state_dict(),
            "epoch": self.epoch,
            "first_loss": self.first_loss,
            "drawn": self.sampled,
            "undefined": self.undefined,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.first_loss, self.sampled = state["epoch"], state["first_loss"], state["drawn"]
        self.undefined = dict(state.get("undefined", {}))  # which older checkpoints lack
        self.network.load_state_dict(state["model"])
        self._enter_phase()
        # State from the checkpoint, settings from the configuration: those of a fork, or of another device, differ.
        settings = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({**state["optimizer"], "param_groups": settings})
        if self.clip is not None and state["clip"] is not None:
            self.clip.load_state_dict(state["clip"])
        if self.average is not None:
            # A fork's parent may have averaged nothing: then the average starts from the weights it hands on.
            self.average = Averaged(self.network, self.config.training.ema)
            if state["average"] is not None:
                self.average.load_state_dict(state["average"])


def batches(order: Tensor, size: int) -> list[Tensor]:
    """`order` cut into batches; a lone last row joins the batch before it, as batch norm cannot train on one."""
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts
