"""Image classification: cross entropy and its variants, accuracies from a confusion matrix."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from trainables.losses import ClassificationLoss
from trainables.tasks.base import Batch, Task, Term, Terms, Totals


class Classification(Task):
    """Outputs are logits (B, C), in training possibly with a list of auxiliary logits."""

    METRICS: ClassVar[tuple[str, ...]] = ("loss", "ce", "reference", "accuracy", "balanced_accuracy")
    terms: ClassVar[tuple[str, ...]] = ("loss",)
    loss: ClassificationLoss

    def criterion(self, outputs: Any, batch: Batch) -> Terms:
        logits, auxiliary = outputs if isinstance(outputs, tuple) else (outputs, [])
        total, count = self._mixed(logits, batch)
        for head in auxiliary:
            extra, _ = self._mixed(head, batch)
            total = total + self.auxiliary_weight * extra
        return {"loss": Term(1.0, total, count)}

    def class_terms(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) of the classification loss, given one label per image."""
        return self.loss.terms(logits, labels, self.weights)

    def _mixed(self, logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """`class_terms`; for a mixup batch those of both labels, weighted by their shares (Zhang et al. 2018)."""
        total, count = self.class_terms(logits, batch.labels)
        if batch.second is None or batch.shares is None:
            return total, count
        (share, rest), (other, others) = batch.shares, self.class_terms(logits, batch.second)
        return share * total + rest * other, share * count + rest * others

    def totals(self) -> Totals:
        confusion = torch.zeros(self.classes**2, dtype=torch.int64, device=self.device)
        return {**super().totals(), "ce": self._zero(), "confusion": confusion}

    @torch.no_grad()
    def add(self, totals: Totals, terms: Terms, outputs: Any, batch: Batch) -> None:
        """In a mixup batch each image counts under the label with the larger share."""
        super().add(totals, terms, outputs, batch)
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
        labels = batch.labels
        if batch.second is not None and batch.shares is not None:
            labels = labels.where(batch.shares[0] >= 0.5, batch.second)
        totals["ce"] += cross_entropy(logits, labels, reduction="sum")
        cell = labels * self.classes + logits.argmax(1)
        totals["confusion"].index_add_(0, cell, torch.ones_like(cell))

    def recalls(self, totals: Totals) -> tuple[Tensor, Tensor]:
        """(examples, correct predictions) of each class, each (C,) float64 on the CPU."""
        confusion = totals["confusion"].reshape(self.classes, self.classes).cpu().double()
        return confusion.sum(1), confusion.diagonal()

    def metrics(self, totals: Totals) -> dict[str, float]:
        """`ce` is the unweighted cross entropy, which is also the reference; `balanced_accuracy` is sklearn's, over the
        classes that occur."""
        examples, hits = self.recalls(totals)
        ce = float(totals["ce"] / examples.sum())
        return {
            **super().metrics(totals),
            "ce": ce,
            "reference": ce,
            "accuracy": float(hits.sum() / examples.sum()),
            "balanced_accuracy": float((hits[examples > 0] / examples[examples > 0]).mean()),
        }

    def columns(self, outputs: Any, batch: Batch) -> dict[str, Tensor]:
        return {"scores": outputs.softmax(1)}
