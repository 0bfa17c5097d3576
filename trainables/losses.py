"""The losses. Each returns a sum and a count, so that batches and epochs average alike: sum / count.

A loss says which task it trains: classification, landmarks, or both at once.

Class weights come from the counts of the training rows at hand, never from what a sampler draws.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from core.component import Component, Range

if TYPE_CHECKING:
    from torch import Tensor

Smoothing = Annotated[float, Field(ge=0, lt=1), Range(0.0, 0.2)]


def inverse_frequency(counts: Sequence[int]) -> list[float]:
    """Weights ∝ 1 / n_c that sum to 1; of two classes each gets the share of the other. Absent classes get 0."""
    inverse = [1 / n if n else 0.0 for n in counts]
    return [w / sum(inverse) for w in inverse]


def effective_number(counts: Sequence[int], beta: float) -> list[float]:
    """Weights ∝ (1 − β) / (1 − β^n_c) (Cui et al. 2019, eq. 5) that sum to the number of classes; 0 for absent ones."""
    weights = [(1 - beta) / (1 - beta**n) if n else 0.0 for n in counts]
    return [w * len(counts) / sum(weights) for w in weights]


class Loss(Component):
    """Settings of a criterion; `task` names the one of `trainables.tasks` that computes it."""

    task: ClassVar[str]
    name: str

    def class_weights(self, counts: Sequence[int]) -> list[float] | None:
        """One weight a class, or None where the loss has none."""
        return None


class ClassificationLoss(Loss):
    """A criterion over logits (N, C) and integer targets (N,)."""

    task = "classification"

    @abstractmethod
    def terms(self, logits: "Tensor", targets: "Tensor", weights: "Tensor | None") -> "tuple[Tensor, Tensor]":
        """(sum, count), both 0-dimensional; their quotient is the batch's loss."""


class CrossEntropy(ClassificationLoss):
    """torch's cross entropy; with class weights torch's weighted mean (the count is the weights' sum)."""

    name: Literal["ce"] = "ce"
    weighting: Literal["none", "inverse"] = "none"
    """`inverse`: a class weighs 1 / its training examples"""
    label_smoothing: Smoothing = 0.0
    """share of each target that is spread evenly over all classes"""

    def class_weights(self, counts: Sequence[int]) -> list[float] | None:
        return None if self.weighting == "none" else inverse_frequency(counts)

    def terms(self, logits: "Tensor", targets: "Tensor", weights: "Tensor | None") -> "tuple[Tensor, Tensor]":
        from torch.nn.functional import cross_entropy

        total = cross_entropy(logits, targets, weights, reduction="sum", label_smoothing=self.label_smoothing)
        return total, total.new_full((), len(targets)) if weights is None else weights[targets].sum()


class ClassBalanced(ClassificationLoss):
    """Class-balanced cross entropy (Cui et al. 2019): effective-number weights, weighted sum over batch size."""

    name: Literal["class_balanced"] = "class_balanced"
    beta: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """β of the effective number (1 − β^n) / (1 − β) of n examples; 0 weighs all classes alike"""
    label_smoothing: Smoothing = 0.0
    """share of each target that is spread evenly over all classes"""

    def class_weights(self, counts: Sequence[int]) -> list[float] | None:
        return effective_number(counts, self.beta)

    def terms(self, logits: "Tensor", targets: "Tensor", weights: "Tensor | None") -> "tuple[Tensor, Tensor]":
        from torch.nn.functional import cross_entropy

        total = cross_entropy(logits, targets, weights, reduction="sum", label_smoothing=self.label_smoothing)
        return total, total.new_full((), len(targets))


class Focal(ClassificationLoss):
    """Focal loss −(1 − p_t)^γ log p_t over the softmax (Lin et al. 2017), averaged over the batch."""

    name: Literal["focal"] = "focal"
    gamma: Annotated[float, Field(gt=0), Range(0.5, 5.0)] = 2.0
    """γ: how much less an example counts the surer the network is of it"""

    def terms(self, logits: "Tensor", targets: "Tensor", weights: "Tensor | None") -> "tuple[Tensor, Tensor]":
        import torch

        log_p = logits.log_softmax(1).gather(1, targets[:, None])[:, 0]
        # kept above 0, where for γ < 1 the power's gradient is infinite and a certain prediction would give NaN
        rest = (-log_p.expm1()).clamp(min=torch.finfo(log_p.dtype).tiny)
        total = -(rest**self.gamma * log_p).sum()
        return total, total.new_full((), len(targets))


TaskWeight = Annotated[float, Field(gt=0), Range(0.25, 8.0, log=True)]
PointsKind = Literal["smooth_l1", "mse"]


class FaceLoss(CrossEntropy):
    """class_weight · CE + points_weight · landmark loss, the latter over the faces of the batch, in pixels of the crop.

    `weighting: as_listed` gives each class the share of itself, as the source's listing has it; `inverse` that of the
    other, as its text intends.
    """

    task = "faces"
    name: Literal["face"] = "face"  # type: ignore[assignment]
    weighting: Literal["none", "inverse", "as_listed"] = "none"  # type: ignore[assignment]
    """`inverse`: each class gets the share of the other; `as_listed`: the share of itself"""
    class_weight: TaskWeight = 2.0
    """weight of the cross entropy"""
    points_weight: TaskWeight = 1.0
    """weight of the landmark loss"""
    points: PointsKind = "smooth_l1"
    """landmark loss: torch's SmoothL1Loss or MSELoss"""

    def class_weights(self, counts: Sequence[int]) -> list[float] | None:
        if self.weighting == "as_listed":
            return [n / sum(counts) for n in counts]
        return super().class_weights(counts)


class PointsLoss(Loss):
    """Landmark loss alone: torch's mean over coordinates, in pixels of the crop."""

    task = "landmarks"
    name: Literal["points"] = "points"
    points: PointsKind = "mse"
    """landmark loss: torch's SmoothL1Loss or MSELoss"""
