"""Model, optimizer, schedule and data of one training run. It knows no Ray and writes no file.

No random state is carried from epoch to epoch: whatever an epoch draws comes from seeds named by the trial's seed, the
purpose and the epoch, so a run resumed at an epoch's end continues as if nothing had happened, and a factor that draws
(dropout, a sampler, an augmentation) changes the draws of no other.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from datasets.augmentation import augment
from datasets.seeds import derive_seed
from trainables.initializers import initialize
from trainables.placement import place
from trainables.tasks import Classification

if TYPE_CHECKING:
    from datasets.base import Dataset
    from trainables.config import TrialConfig

EVALUATION_PIXELS = 2**22  # of one evaluation batch: large enough to amortise calls, small enough for any cache


class Learner:
    """Trains `config` with `seed` on `dataset`; epochs count from 1."""

    def __init__(self, config: "TrialConfig", dataset: "Dataset", seed: int, device: torch.device) -> None:
        self.config, self.seed, self.device = config, seed, device
        self.info = dataset.info
        self.images = {name: _tensor(part.images, device) for name, part in dataset.splits.items()}
        self.labels = {name: _tensor(part.labels, device) for name, part in dataset.splits.items()}
        self.network = build_network(config, self.info.image_shape, len(self.info.classes), seed).to(device)
        self.task = Classification(config.loss, self.info.counts["train"], device)
        self.optimizer = config.optimizer.build(self.network.parameters())
        shift, scale = (self.info.mean, self.info.std) if config.training.normalize else ((0.0,), (1.0,))
        self.shift = torch.tensor(shift, dtype=torch.float32, device=device).view(1, -1, 1, 1)
        self.scale = torch.tensor(scale, dtype=torch.float32, device=device).view(1, -1, 1, 1)
        self.epoch = 0
        self.first_loss: float | None = None
        self.drawn = torch.zeros(len(self.info.classes), dtype=torch.int64)  # training rows seen of each class

    def train_epoch(self) -> dict[str, float]:
        """One pass over the training rows: metrics of the pictures as trained on (augmented, weights moving)."""
        self.epoch += 1
        training = self.config.training
        self._set_lr(self.config.schedule.lr(self.epoch, training.epochs, self.config.optimizer.lr))
        order = self.config.sampler.order(self.labels["train"].cpu(), self._generator("order"))
        self.drawn += torch.bincount(self.labels["train"].cpu()[order], minlength=len(self.drawn))
        totals = self.task.totals(self.device)
        self.network.train()
        with self._dropout_seeded():
            for number, rows in enumerate(batches(order.to(self.device), training.batch_size)):
                loss = self.step(rows, number, totals)
                if self.first_loss is None:
                    self.first_loss = float(loss)
        return self.task.metrics(totals)

    def step(self, rows: Tensor, number: int, totals: dict[str, Tensor]) -> Tensor:
        images, targets = self.inputs("train", rows, number), self.labels["train"][rows]
        with self._autocast():
            logits = self.network(images)
        logits = logits.float()
        terms = self.task.terms(logits, targets)
        loss = terms[0] / terms[1]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.task.add(totals, (terms[0].detach(), terms[1]), logits.detach(), targets)
        return loss.detach()

    def inputs(self, split: str, rows: Tensor, batch: int | None = None) -> Tensor:
        """Pictures as the network sees them, (B, C, H, W) float32; augmented with batch `batch`'s draws if given."""
        images = self.images[split][rows].float().div_(255)
        if batch is not None:
            images = augment(images, self.config.augmentation, self._seed("augmentation", batch))
        return (images - self.shift) / self.scale

    @torch.no_grad()
    def evaluate(self, split: str) -> dict[str, float]:
        totals = self.task.totals(self.device)
        for rows, logits in self._outputs(split):
            targets = self.labels[split][rows]
            self.task.add(totals, self.task.terms(logits, targets), logits, targets)
        return self.task.metrics(totals)

    @torch.no_grad()
    def scores(self, split: str) -> Tensor:
        """Softmax probabilities, (N, C) float32 on the CPU, in the split's own order."""
        return torch.cat([logits.softmax(1).cpu() for _, logits in self._outputs(split)])

    def _outputs(self, split: str) -> Iterator[tuple[Tensor, Tensor]]:
        self.network.eval()
        images = self.images[split]
        size = max(1, EVALUATION_PIXELS // images[0].numel())
        for rows in torch.arange(len(images), device=self.device).split(size):
            with self._autocast():
                logits = self.network(self.inputs(split, rows))
            yield rows, logits.float()

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        enabled = self.config.training.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    @contextlib.contextmanager
    def _dropout_seeded(self) -> Iterator[None]:
        """Dropout draws from torch's global generators: seed them for this epoch, and put them back after."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self._seed("dropout"))
            yield

    def _seed(self, *purpose: str | int) -> int:
        return derive_seed(self.seed, *purpose, self.epoch)

    def _generator(self, *purpose: str | int) -> torch.Generator:
        return torch.Generator().manual_seed(self._seed(*purpose))

    def _set_lr(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    @property
    def lr(self) -> float:
        """The rate the optimizer used last."""
        return self.optimizer.param_groups[0]["lr"]

    def time_step(self, steps: int) -> tuple[float, int]:
        """(seconds, rows) of a training step: the mean of `steps` real ones after one that warms up."""
        self.network.train()
        rows = torch.arange(min(self.config.training.batch_size, len(self.labels["train"])), device=self.device)
        totals = self.task.totals(self.device)
        self.step(rows, 0, totals)
        began = time.perf_counter()
        for number in range(steps):
            self.step(rows, number, totals)
        float(totals["loss"])  # waits for the device
        return (time.perf_counter() - began) / steps, len(rows)

    @torch.no_grad()
    def time_evaluation(self) -> tuple[float, int]:
        """(seconds, rows) of one evaluation batch of the test split, after one that warms up."""
        next(self._outputs("test"))
        began = time.perf_counter()
        rows, logits = next(self._outputs("test"))
        float(logits.sum())
        return time.perf_counter() - began, len(rows)

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "first_loss": self.first_loss,
            "drawn": self.drawn,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.first_loss, self.drawn = state["epoch"], state["first_loss"], state["drawn"]


def build_network(config: "TrialConfig", image_shape: tuple[int, int, int], outputs: int, seed: int) -> torch.nn.Module:
    """The network of `config`: built bare, weights drawn from named seeds, then batch norm and dropout placed."""
    network = config.model.build(image_shape, outputs)
    initialize(network, config.model, seed)
    place(network, config.model, image_shape)
    return network


def batches(order: Tensor, size: int) -> list[Tensor]:
    """`order` cut into batches; a lone last row joins the batch before it, as batch norm cannot train on one."""
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def _tensor(array: Any, device: torch.device) -> Tensor:
    """`array` on the device; on the CPU it stays the memory-mapped file, which nothing here writes to."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array).to(device)
