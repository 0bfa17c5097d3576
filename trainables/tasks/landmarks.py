"""Landmark regression: the loss over the faces of a batch, and distances of predicted from true landmarks."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, smooth_l1_loss

from datasets.base import DatasetInfo
from trainables.losses import PointsLoss
from trainables.models.base import Model
from trainables.tasks.base import Batch, Task, Term, Terms, Totals

TOTALS = ("error", "mean_shape", "faces", "reference.sum", "reference.count")


class PointErrors:
    """Landmark metrics over the examples that have true landmarks (no NaN).

    `reference`: kind of loss that the metric `points` reports, whatever is trained. `mean_shape` (L, 2): mean landmarks
    of the training faces, in pixels of a crop with sides of `side` pixels.
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
        return {name: torch.zeros((), dtype=torch.float64, device=device) for name in TOTALS}

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
        `mean_shape_error_px`: that of always predicting the mean shape. NaN where there is no face."""
        error, guess = (float(totals[name] / totals["faces"]) for name in ("error", "mean_shape"))
        points = float(totals["reference.sum"] / totals["reference.count"])
        return {"points": points, "error_px": error, "nme": error / self.side, "mean_shape_error_px": guess}


class Landmarks(Task):
    """Landmark regression alone; outputs are points (B, 2 L) in pixels of the crop."""

    METRICS = ("loss", "points", "reference", "error_px", "nme", "mean_shape_error_px")
    terms = ("points",)
    loss: PointsLoss

    def __init__(self, loss: PointsLoss, model: Model, info: DatasetInfo, mean_shape: Tensor) -> None:
        super().__init__(loss, model, info, mean_shape)
        self.errors = PointErrors("mse", info.input_shape[-1], mean_shape)

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
