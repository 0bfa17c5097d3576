"""What a network is trained for: the criterion, and the metrics that follow from its outputs.

Totals accumulate on the device and are read once an epoch, so the step loop never waits for the device.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss, smooth_l1_loss

if TYPE_CHECKING:
    from datasets.base import DatasetInfo
    from trainables.losses import ClassificationLoss, FaceLoss, Loss, PointsLoss
    from trainables.models.base import Model


class Batch(NamedTuple):
    """Pictures (B, C, H, W) float32 as the network takes them, labels (B,) int64, points (B, L, 2) in pixels or None.

    A mixed batch (mixup) also has each picture's second label, and the `shares` (2,) of the first and of the second.
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

    def __init__(self, loss: "Loss", model: "Model", info: "DatasetInfo", mean_shape: Tensor) -> None:
        self.device = mean_shape.device
        self.auxiliary_weight, self.classes = model.auxiliary_weight, len(info.classes)
        weights = loss.class_weights(info.counts["train"])
        self.weights = None if weights is None else torch.tensor(weights, dtype=torch.float32, device=self.device)

    @abstractmethod
    def criterion(self, outputs: Any, batch: Batch) -> Terms:
        """The trained criterion's parts over a batch."""

    def totals(self) -> Totals:
        """Zeros to accumulate one pass into."""
        return {f"{name}.{part}": self._zero() for name in self.terms for part in ("sum", "count")}

    def _zero(self) -> Tensor:
        return torch.zeros((), dtype=torch.float64, device=self.device)

    @torch.no_grad()
    def add(self, totals: Totals, terms: Terms, outputs: Any, batch: Batch) -> None:
        """Account for a batch."""
        for name, term in terms.items():
            totals[f"{name}.sum"] += term.weight * term.total.detach()
            totals[f"{name}.count"] += term.count

    def metrics(self, totals: Totals) -> dict[str, float]:
        """The figures of a pass; `loss` is the trained criterion, `reference` one that no setting changes."""
        return {"loss": sum(_ratio(totals, name) for name in self.terms)}

    @abstractmethod
    def columns(self, outputs: Any, batch: Batch) -> dict[str, Tensor]:
        """What the record says of each example, (B, …) tensors: `scores` (B, C), `points` (B, L, 2)."""


def _ratio(totals: Totals, name: str) -> float:
    count = float(totals[f"{name}.count"])
    return float(totals[f"{name}.sum"]) / count if count else 0.0


class Confusion:
    """Counts of (target, prediction), and the accuracies that follow."""

    def __init__(self, classes: int, device: torch.device) -> None:
        self.classes, self.device = classes, device

    def zeros(self) -> Tensor:
        return torch.zeros(self.classes**2, dtype=torch.int64, device=self.device)

    def add(self, counts: Tensor, logits: Tensor, labels: Tensor) -> None:
        cell = labels * self.classes + logits.argmax(1)
        counts.index_add_(0, cell, torch.ones_like(cell))

    def metrics(self, counts: Tensor) -> dict[str, float]:
        """Accuracy, and accuracy balanced over the classes that occur (sklearn's definition)."""
        rows, hits = self.recalls(counts)
        balanced = (hits[rows > 0] / rows[rows > 0]).mean()
        return {"accuracy": float(hits.sum() / rows.sum()), "balanced_accuracy": float(balanced)}

    def recalls(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Examples and hits of each class, float64 on the CPU."""
        confusion = counts.reshape(self.classes, self.classes).cpu().double()
        return confusion.sum(1), confusion.diagonal()


class Classification(Task):
    """One label a picture; outputs are logits (B, C), in training possibly with a list of auxiliary logits."""

    METRICS = ("loss", "ce", "reference", "accuracy", "balanced_accuracy")
    terms = ("loss",)

    def __init__(self, loss: "ClassificationLoss", model: "Model", info: "DatasetInfo", mean_shape: Tensor) -> None:
        super().__init__(loss, model, info, mean_shape)
        self.loss, self.confusion = loss, Confusion(self.classes, self.device)

    def criterion(self, outputs: Any, batch: Batch) -> Terms:
        logits, auxiliary = outputs if isinstance(outputs, tuple) else (outputs, [])
        total, count = self._mixed(logits, batch)
        for head in auxiliary:
            extra, _ = self._mixed(head, batch)
            total = total + self.auxiliary_weight * extra
        return {"loss": Term(1.0, total, count)}

    def class_terms(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) of the loss over the labels alone."""
        return self.loss.terms(logits, labels, self.weights)

    def _mixed(self, logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """`class_terms`; of a mixed batch, both labels' by their shares (Zhang et al. 2018)."""
        total, count = self.class_terms(logits, batch.labels)
        if batch.second is None or batch.shares is None:
            return total, count
        (share, rest), (other, others) = batch.shares, self.class_terms(logits, batch.second)
        return share * total + rest * other, share * count + rest * others

    def totals(self) -> Totals:
        return {**super().totals(), "ce": self._zero(), "confusion": self.confusion.zeros()}

    @torch.no_grad()
    def add(self, totals: Totals, terms: Terms, outputs: Any, batch: Batch) -> None:
        """A mixed batch counts under its larger share's labels."""
        super().add(totals, terms, outputs, batch)
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
        labels = batch.labels
        if batch.second is not None and batch.shares is not None:
            labels = labels.where(batch.shares[0] >= 0.5, batch.second)
        totals["ce"] += cross_entropy(logits, labels, reduction="sum")
        self.confusion.add(totals["confusion"], logits, labels)

    def metrics(self, totals: Totals) -> dict[str, float]:
        """`ce` is the unweighted cross entropy, which is also the reference."""
        ce = float(totals["ce"] / totals["confusion"].sum())
        return {**super().metrics(totals), "ce": ce, "reference": ce, **self.confusion.metrics(totals["confusion"])}

    def columns(self, outputs: Any, batch: Batch) -> dict[str, Tensor]:
        return {"scores": outputs.softmax(1)}


class PointErrors:
    """Figures of predicted landmarks over the examples that have true ones (no NaN).

    `reference` is the loss kind that the figure `points` has whatever is trained; `mean_shape` (L, 2) is that of the
    training faces, in pixels of a crop of `side`.
    """

    def __init__(self, reference: str, side: int, mean_shape: Tensor) -> None:
        self.reference, self.side, self.mean_shape = reference, side, mean_shape

    def term(self, kind: str, points: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) over coordinates: torch's mean over the batch's faces, 0 in a batch without."""
        present = targets.isfinite().all(2).all(1)[:, None, None]
        wanted = targets.where(present, 0)
        given = points.reshape(targets.shape).where(present, 0)
        loss = smooth_l1_loss if kind == "smooth_l1" else mse_loss
        return loss(given, wanted, reduction="sum"), present.sum() * targets[0].numel()

    def totals(self, device: torch.device) -> Totals:
        return {name: torch.zeros((), dtype=torch.float64, device=device) for name in POINT_TOTALS}

    def add(self, totals: Totals, points: Tensor, targets: Tensor) -> None:
        total, count = self.term(self.reference, points, targets)
        totals["reference.sum"] += total
        totals["reference.count"] += count
        present = targets.isfinite().all(2).all(1)
        shape = self.mean_shape.expand_as(targets)
        for name, guess in (("error", points.reshape(targets.shape)), ("mean_shape", shape)):
            distances = (guess - targets).norm(dim=2).mean(1)
            totals[name] += distances.where(present, 0).sum()
        totals["faces"] += present.sum()

    def metrics(self, totals: Totals) -> dict[str, float]:
        """`error_px`: mean distance to the true landmark; `nme`: that over the crop's side (box-normalised mean error);
        `mean_shape_error_px`: that of always guessing the mean shape. NaN where there is no face."""
        error, guess = (float(totals[name] / totals["faces"]) for name in ("error", "mean_shape"))
        points = float(totals["reference.sum"] / totals["reference.count"])
        return {"points": points, "error_px": error, "nme": error / self.side, "mean_shape_error_px": guess}


POINT_TOTALS = ("error", "mean_shape", "faces", "reference.sum", "reference.count")


class Landmarks(Task):
    """Landmarks of faces alone; outputs are points (B, 2 L) in pixels of the crop."""

    METRICS = ("loss", "points", "reference", "error_px", "nme", "mean_shape_error_px")
    terms = ("points",)

    def __init__(self, loss: "PointsLoss", model: "Model", info: "DatasetInfo", mean_shape: Tensor) -> None:
        super().__init__(loss, model, info, mean_shape)
        self.loss, self.errors = loss, PointErrors("mse", info.input_shape[-1], mean_shape)

    def criterion(self, outputs: Any, batch: Batch) -> Terms:
        assert batch.points is not None
        return {"points": Term(1.0, *self.errors.term(self.loss.points, outputs, batch.points))}

    def totals(self) -> Totals:
        return {**super().totals(), **self.errors.totals(self.device)}

    @torch.no_grad()
    def add(self, totals: Totals, terms: Terms, outputs: Any, batch: Batch) -> None:
        super().add(totals, terms, outputs, batch)
        assert batch.points is not None
        self.errors.add(totals, outputs, batch.points)

    def metrics(self, totals: Totals) -> dict[str, float]:
        """`points`, mean squared error in pixels, is the reference."""
        figures = self.errors.metrics(totals)
        return {**super().metrics(totals), **figures, "reference": figures["points"]}

    def columns(self, outputs: Any, batch: Batch) -> dict[str, Tensor]:
        assert batch.points is not None
        return {"points": outputs.reshape(batch.points.shape)}


class Faces(Task):
    """Face or not, and the landmarks of the faces; outputs are (logits (B, 2), points (B, 2 L))."""

    METRICS = (
        "loss",
        "ce",
        "points",
        "reference",
        "accuracy",
        "balanced_accuracy",
        "accuracy_face",
        "accuracy_nonface",
        "error_px",
        "nme",
        "mean_shape_error_px",
    )
    terms = ("classes", "points")

    def __init__(self, loss: "FaceLoss", model: "Model", info: "DatasetInfo", mean_shape: Tensor) -> None:
        super().__init__(loss, model, info, mean_shape)
        self.loss, self.confusion = loss, Confusion(self.classes, self.device)
        self.errors = PointErrors("smooth_l1", info.input_shape[-1], mean_shape)

    def criterion(self, outputs: Any, batch: Batch) -> Terms:
        assert batch.points is not None
        logits, points = outputs
        return {
            "classes": Term(self.loss.class_weight, *self.class_terms(logits, batch.labels)),
            "points": Term(self.loss.points_weight, *self.errors.term(self.loss.points, points, batch.points)),
        }

    def class_terms(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """(sum, count) of the classes' part."""
        return self.loss.terms(logits, labels, self.weights)

    def totals(self) -> Totals:
        points = self.errors.totals(self.device)
        return {**super().totals(), **points, "ce": self._zero(), "confusion": self.confusion.zeros()}

    @torch.no_grad()
    def add(self, totals: Totals, terms: Terms, outputs: Any, batch: Batch) -> None:
        super().add(totals, terms, outputs, batch)
        assert batch.points is not None
        logits, points = outputs
        totals["ce"] += cross_entropy(logits, batch.labels, reduction="sum")
        self.confusion.add(totals["confusion"], logits, batch.labels)
        self.errors.add(totals, points, batch.points)

    def metrics(self, totals: Totals) -> dict[str, float]:
        """The reference is 2 · ce + points, the source's own weights, whatever weights are trained with."""
        examples, hits = self.confusion.recalls(totals["confusion"])
        ce = float(totals["ce"] / examples.sum())
        figures = self.errors.metrics(totals)
        recall = {name: float(hits[i] / examples[i]) for i, name in enumerate(("accuracy_nonface", "accuracy_face"))}
        return {
            **super().metrics(totals),
            "ce": ce,
            "reference": 2 * ce + figures["points"],
            **self.confusion.metrics(totals["confusion"]),
            **recall,
            **figures,
        }

    def columns(self, outputs: Any, batch: Batch) -> dict[str, Tensor]:
        assert batch.points is not None
        return {"scores": outputs[0].softmax(1), "points": outputs[1].reshape(batch.points.shape)}


TASKS: dict[str, type[Task]] = {"classification": Classification, "faces": Faces, "landmarks": Landmarks}
