"""Losses against torch's own and against the papers' formulas by hand."""

import itertools
import math
from collections.abc import Sequence
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from datasets.samplers import Weighted
from trainables.losses import (
    ClassBalanced,
    ClassificationLoss,
    CrossEntropy,
    Focal,
    effective_number,
    inverse_frequency,
)
from trainables.registry import LOSSES

COUNTS = (50, 20, 5, 1)
WITH_ABSENT = (50, 0, 5, 1)


def batch(n: int = 23, classes: int = 4, seed: int = 0, allowed: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    labels = torch.tensor(allowed or range(classes))
    return logits, labels[torch.randint(len(labels), (n,), generator=generator)]


def value(loss: ClassificationLoss, logits: Tensor, targets: Tensor, counts: Sequence[int] = COUNTS) -> Tensor:
    weights = loss.class_weights(counts)
    total, count = loss.terms(logits, targets, None if weights is None else torch.tensor(weights, dtype=logits.dtype))
    assert total.ndim == count.ndim == 0
    return total / count


def variants() -> list[ClassificationLoss]:
    """Every registered loss over logits as it is by default, and with each of its switches on."""
    made = []
    for loss in LOSSES.values():
        if issubclass(loss, ClassificationLoss):
            made.append(loss())
            if "label_smoothing" in loss.model_fields:
                made.append(loss.model_validate({"label_smoothing": 0.1}))
            if "weighting" in loss.model_fields:
                weightings = get_args(loss.model_fields["weighting"].annotation)
                made += [loss.model_validate({"weighting": name}) for name in weightings[1:]]
    return made


def test_the_registry_of_losses_is_not_empty() -> None:
    assert LOSSES
    assert all(loss().name == name for name, loss in LOSSES.items())
    assert variants()


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("weighting", ["none", "inverse"])
def test_cross_entropy_is_torch_s_mean(smoothing: float, weighting: str) -> None:
    logits, targets = batch()
    inverse = torch.tensor([1 / n for n in COUNTS], dtype=torch.float64)  # torch's mean does not mind their scale
    theirs = cross_entropy(logits, targets, inverse if weighting == "inverse" else None, label_smoothing=smoothing)
    ours = value(CrossEntropy(weighting=weighting, label_smoothing=smoothing), logits, targets)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-12)


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999])
def test_class_balanced_weights_are_the_paper_s_and_sum_to_the_number_of_classes(beta: float) -> None:
    by_hand = [(1 - beta) / (1 - beta**n) for n in COUNTS]
    scale = len(COUNTS) / sum(by_hand)
    assert effective_number(COUNTS, beta) == pytest.approx([scale * weight for weight in by_hand], rel=1e-12)
    assert sum(ClassBalanced(beta=beta).class_weights(COUNTS)) == pytest.approx(len(COUNTS))


def test_class_balanced_weights_go_from_equal_to_inverse_frequency_as_beta_grows() -> None:
    assert effective_number(COUNTS, 0.0) == pytest.approx([1.0] * 4)
    assert effective_number(COUNTS, 1 - 1e-9) == pytest.approx([4 * w for w in inverse_frequency(COUNTS)], rel=1e-5)


def test_class_balanced_is_the_weighted_sum_over_the_batch_size() -> None:
    logits, targets = batch()
    weights = effective_number(COUNTS, 0.99)
    log_p = logits.log_softmax(1)
    by_hand = sum(-weights[t] * float(log_p[i, t]) for i, t in enumerate(targets.tolist())) / len(targets)
    assert float(value(ClassBalanced(beta=0.99), logits, targets)) == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_loss_is_the_paper_s_sum(gamma: float) -> None:
    logits, targets = batch()
    by_hand = []
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        p = math.exp(row[target]) / sum(math.exp(z) for z in row)
        by_hand.append(-((1 - p) ** gamma) * math.log(p))
    ours = float(value(Focal(gamma=gamma), logits, targets))
    assert ours == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-9)


def test_focal_loss_tends_to_cross_entropy_as_gamma_vanishes() -> None:
    logits, targets = batch()
    assert float(value(Focal(gamma=1e-7), logits, targets)) == pytest.approx(
        float(cross_entropy(logits, targets)), 1e-5
    )


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_focal_loss_has_a_finite_gradient_where_the_prediction_is_sure(gamma: float, dtype: torch.dtype) -> None:
    logits = torch.tensor([[200.0, 0.0], [17.0, 0.0], [0.0, 200.0]], dtype=dtype, requires_grad=True)
    value(Focal(gamma=gamma), logits, torch.tensor([0, 0, 0])).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[0].abs().max() < 1e-6
    assert float(logits.grad[2, 0]) < -0.3


def test_of_two_classes_each_has_the_share_of_the_other() -> None:
    assert inverse_frequency((5077, 2173)) == pytest.approx([2173 / 7250, 5077 / 7250], rel=1e-12)


@pytest.mark.parametrize("loss", variants(), ids=repr)
def test_a_class_without_training_rows_leaves_the_loss_finite(loss: ClassificationLoss) -> None:
    weights = loss.class_weights(WITH_ABSENT)
    assert weights is None or (weights[1] == 0 and all(map(math.isfinite, weights)))
    logits, targets = batch(allowed=[0, 2, 3])
    assert value(loss, logits.requires_grad_(), targets, WITH_ABSENT).isfinite()


@pytest.mark.parametrize("loss", variants(), ids=repr)
def test_an_epoch_s_value_is_the_value_of_all_its_rows_at_once(loss: ClassificationLoss) -> None:
    logits, targets = batch(n=50)
    weights = loss.class_weights(COUNTS)
    tensor = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    parts = [loss.terms(x, t, tensor) for x, t in zip(logits.split(16), targets.split(16), strict=True)]
    total, count = (sum(column) for column in zip(*parts, strict=True))
    assert float(total / count) == pytest.approx(float(value(loss, logits, targets)), rel=1e-12)


@pytest.mark.parametrize("loss", variants(), ids=repr)
def test_every_loss_falls_when_the_target_s_logit_rises(loss: ClassificationLoss) -> None:
    logits, targets = batch()
    logits.requires_grad_()
    value(loss, logits, targets).backward()
    assert logits.grad is not None
    uncertain = logits.softmax(1).gather(1, targets[:, None])[:, 0] < 0.5
    assert (logits.grad.gather(1, targets[:, None])[:, 0][uncertain] < 0).all()


def test_inverse_weights_and_a_weighted_sampler_ask_for_the_same_share_of_each_class() -> None:
    labels = torch.tensor([label for label, n in enumerate(COUNTS) for _ in range(100 * n)])
    drawn = torch.bincount(labels[Weighted().order(labels, torch.Generator().manual_seed(0))])
    weighed = [weight * n for weight, n in zip(inverse_frequency(COUNTS), COUNTS, strict=True)]
    for (mine, theirs), (others, their_others) in itertools.combinations(zip(weighed, drawn.tolist(), strict=True), 2):
        assert mine / others == pytest.approx(theirs / their_others, rel=0.15)
