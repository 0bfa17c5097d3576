"""Face/non-face classification together with landmark regression on the faces."""

from typing import Any

import torch
from torch import Tensor

from datasets.base import DatasetInfo
from trainables.losses import FaceLoss
from trainables.models.base import Model
from trainables.tasks.base import Batch, Term, Terms, Totals
from trainables.tasks.classification import Classification
from trainables.tasks.landmarks import PointErrors


class Faces(Classification):
    """Outputs are (logits (B, 2), points (B, 2 L))."""

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
    loss: FaceLoss

    def __init__(self, loss: FaceLoss, model: Model, info: DatasetInfo, mean_shape: Tensor) -> None:
        super().__init__(loss, model, info, mean_shape)
        self.errors = PointErrors("smooth_l1", info.input_shape[-1], mean_shape)

    def criterion(self, outputs: Any, batch: Batch) -> Terms:
        assert batch.points is not None
        logits, points = outputs
        return {
            "classes": Term(self.loss.class_weight, *self.class_terms(logits, batch.labels)),
            "points": Term(self.loss.points_weight, *self.errors.term(self.loss.points, points, batch.points)),
        }

    def totals(self) -> Totals:
        return {**super().totals(), **self.errors.totals(self.device)}

    @torch.no_grad()
    def add(self, totals: Totals, terms: Terms, outputs: Any, batch: Batch) -> None:
        super().add(totals, terms, outputs, batch)
        assert batch.points is not None
        self.errors.add(totals, outputs[1], batch.points)

    def metrics(self, totals: Totals) -> dict[str, float]:
        """`reference` is 2 · ce + points (the source's weights), whatever weights are trained with."""
        figures, points = super().metrics(totals), self.errors.metrics(totals)
        examples, hits = self.recalls(totals)
        recall = {name: float(hits[i] / examples[i]) for i, name in enumerate(("accuracy_nonface", "accuracy_face"))}
        return {**figures, "reference": 2 * figures["ce"] + points["points"], **recall, **points}

    def columns(self, outputs: Any, batch: Batch) -> dict[str, Tensor]:
        assert batch.points is not None
        return {**super().columns(outputs[0], batch), "points": outputs[1].reshape(batch.points.shape)}
