"""What a network is trained for: the criterion, and the metrics that follow from its outputs.

Totals accumulate on the device and are read once an epoch, so the step loop never waits for the device.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

if TYPE_CHECKING:
    from trainables.losses import Loss


class Classification:
    """One label a picture. `counts` are the training rows a class; logits are (N, C), targets (N,) int64."""

    METRICS = ("loss", "ce", "reference", "accuracy", "balanced_accuracy")

    def __init__(self, loss: "Loss", counts: Sequence[int], device: torch.device) -> None:
        self.loss = loss
        self.classes = len(counts)
        weights = loss.class_weights(counts)
        self.weights = None if weights is None else torch.tensor(weights, dtype=torch.float32, device=device)

    def terms(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) of the trained criterion over a batch."""
        return self.loss.terms(logits, targets, self.weights)

    def totals(self, device: torch.device) -> dict[str, Tensor]:
        """Zeros to accumulate one pass into; `confusion` is (targets × predictions), flattened."""
        sums = {name: torch.zeros((), dtype=torch.float64, device=device) for name in ("loss", "loss_count", "ce")}
        return {**sums, "confusion": torch.zeros(self.classes**2, dtype=torch.int64, device=device)}

    @torch.no_grad()
    def add(self, totals: dict[str, Tensor], terms: tuple[Tensor, Tensor], logits: Tensor, targets: Tensor) -> None:
        totals["loss"] += terms[0]
        totals["loss_count"] += terms[1]
        totals["ce"] += cross_entropy(logits, targets, reduction="sum")
        cell = targets * self.classes + logits.argmax(1)
        totals["confusion"].index_add_(0, cell, torch.ones_like(cell))

    def metrics(self, totals: dict[str, Tensor]) -> dict[str, float]:
        """Criterion, unweighted cross entropy (also the reference no setting changes), accuracy, and accuracy balanced
        over the classes that occur (sklearn's definition)."""
        confusion = totals["confusion"].reshape(self.classes, self.classes).cpu().double()
        rows, hits = confusion.sum(1), confusion.diagonal()
        ce = float(totals["ce"] / rows.sum())
        return {
            "loss": float(totals["loss"] / totals["loss_count"]),
            "ce": ce,
            "reference": ce,
            "accuracy": float(hits.sum() / rows.sum()),
            "balanced_accuracy": float((hits[rows > 0] / rows[rows > 0]).mean()),
        }
