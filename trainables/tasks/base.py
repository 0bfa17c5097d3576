"""The base class of tasks: the training criterion, and the metrics computed from a network's outputs.

Totals accumulate on the device and are read once an epoch, so the step loop never waits for the device.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from datasets.base import DatasetInfo
from trainables.losses import Loss
from trainables.models.base import Model


class Batch(NamedTuple):
    """Images (B, C, H, W) float32 as the network takes them, labels (B,) int64, points (B, L, 2) in pixels or None.

    A mixed batch (mixup) also has each image's second label, and the `shares` (2,) of the first and of the second.
    """

    images: Tensor
    labels: Tensor
    points: Tensor | None = None
    second: Tensor | None = None
    shares: Tensor | None = None


@dataclass(frozen=True)
class Term:
    """One part of a criterion over a batch: weight × total / count, 0 where the count is 0; 0-dimensional tensors."""

    weight: float
    total: Tensor
    count: Tensor

    @property
    def value(self) -> Tensor:
        return self.weight * self.total / self.count.clamp(min=torch.finfo(torch.float32).tiny)


Terms = Mapping[str, Term]
Totals = dict[str, Tensor]


class Task(ABC):
    """A criterion and its metrics. `outputs` is whatever the network returned, in float32.

    `mean_shape` (L, 2) is the mean of the training landmarks, on the device; (0, 2) where there are none.
    """

    METRICS: ClassVar[tuple[str, ...]]
    terms: ClassVar[tuple[str, ...]]
    """names of the criterion's parts"""

    def __init__(self, loss: Loss, model: Model, info: DatasetInfo, mean_shape: Tensor) -> None:
        self.loss, self.device = loss, mean_shape.device
        self.auxiliary_weight, self.classes = model.auxiliary_weight, len(info.classes)
        weights = loss.class_weights(info.counts["train"])
        self.weights = None if weights is None else torch.tensor(weights, dtype=torch.float32, device=self.device)

    @abstractmethod
    def criterion(self, outputs: Any, batch: Batch) -> Terms:
        """The terms of the training criterion over a batch, by name."""

    def totals(self) -> Totals:
        """Accumulators for one pass over a split, all zero."""
        return {f"{name}.{part}": self._zero() for name in self.terms for part in ("sum", "count")}

    def _zero(self) -> Tensor:
        return torch.zeros((), dtype=torch.float64, device=self.device)

    @torch.no_grad()
    def add(self, totals: Totals, terms: Terms, outputs: Any, batch: Batch) -> None:
        """Adds a batch to the totals, in place."""
        for name, term in terms.items():
            totals[f"{name}.sum"] += term.weight * term.total.detach()
            totals[f"{name}.count"] += term.count

    def metrics(self, totals: Totals) -> dict[str, float]:
        """Metrics of a pass: `loss` is the training criterion, `reference` a loss that no setting changes."""
        return {"loss": sum(_ratio(totals, name) for name in self.terms)}

    @abstractmethod
    def columns(self, outputs: Any, batch: Batch) -> dict[str, Tensor]:
        """The predictions to record for each example: `scores` (B, C), `points` (B, L, 2)."""


def _ratio(totals: Totals, name: str) -> float:
    count = float(totals[f"{name}.count"])
    return float(totals[f"{name}.sum"]) / count if count else 0.0
