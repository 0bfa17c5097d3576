"""Criteria and metrics of every task against five lines by hand."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss, smooth_l1_loss

from trainables.losses import CrossEntropy, FaceLoss, Loss, PointsLoss
from trainables.models.googlenet import GoogLeNet
from trainables.models.small_cnn import SmallCNN
from trainables.tasks.base import Batch, Task
from trainables.tasks.registry import TASKS

COUNTS = (5077, 2173)
SHAPE = torch.tensor([[30.0, 40.0], [80.0, 40.0]])


def task(loss: Loss, model: Any = None, counts: tuple[int, ...] = COUNTS) -> Task:
    info: Any = SimpleNamespace(
        classes=tuple(map(str, range(len(counts)))), counts={"train": counts}, input_shape=(1, 112, 112)
    )
    return TASKS[loss.task](loss, model or SmallCNN(), info, SHAPE)


def crops(n: int = 6, faces: int = 4) -> Batch:
    """`faces` faces first, then non-faces without landmarks."""
    generator = torch.Generator().manual_seed(n)
    points = SHAPE + 10 * torch.randn(n, 2, 2, generator=generator)
    points[faces:] = torch.nan
    return Batch(torch.zeros(n, 1, 1, 1), torch.tensor([1] * faces + [0] * (n - faces)), points)


def guesses(n: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(100 + n)
    points = (SHAPE + 5 * torch.randn(n, 2, 2, generator=generator)).reshape(n, 4)
    return torch.randn(n, 2, generator=generator), points.requires_grad_()


def value(terms: Any) -> Tensor:
    return torch.stack([term.value for term in terms.values()]).sum()


def metrics(trained: Task, *parts: tuple[Any, Batch]) -> dict[str, float]:
    totals = trained.totals()
    for outputs, batch in parts:
        trained.add(totals, trained.criterion(outputs, batch), outputs, batch)
    return trained.metrics(totals)


@pytest.mark.parametrize(("kind", "by_torch"), [("smooth_l1", smooth_l1_loss), ("mse", mse_loss)])
def test_the_face_loss_is_both_losses_of_torch_by_their_weights(kind: Any, by_torch: Any) -> None:
    batch, (logits, points) = crops(), guesses()
    assert batch.points is not None
    trained = task(FaceLoss(class_weight=4.0, points_weight=0.5, points=kind))
    by_hand = 4 * cross_entropy(logits, batch.labels) + 0.5 * by_torch(points[:4].reshape(4, 2, 2), batch.points[:4])
    assert float(value(trained.criterion((logits, points), batch))) == pytest.approx(float(by_hand), rel=1e-6)


@pytest.mark.parametrize(
    ("weighting", "weights"), [("inverse", (2173 / 7250, 5077 / 7250)), ("as_listed", (5077 / 7250, 2173 / 7250))]
)
def test_class_weights_of_faces_are_the_shares_that_the_source_gives(weighting: Any, weights: Any) -> None:
    loss = FaceLoss(weighting=weighting)
    assert loss.class_weights(COUNTS) == pytest.approx(list(weights))
    batch, (logits, points) = crops(), guesses()
    by_hand = 2 * cross_entropy(logits, batch.labels, torch.tensor(weights))
    assert float(task(loss).criterion((logits, points), batch)["classes"].value) == pytest.approx(
        float(by_hand), rel=1e-6
    )


def test_a_batch_without_faces_gives_no_landmark_loss_and_no_gradient() -> None:
    batch, (logits, points) = crops(6, faces=0), guesses()
    loss = task(FaceLoss()).criterion((logits, points), batch)["points"].value
    assert loss == 0
    loss.backward()
    assert points.grad is not None
    assert (points.grad == 0).all()


def test_nan_landmarks_of_non_faces_reach_neither_loss_nor_gradient() -> None:
    batch, (logits, points) = crops(), guesses()
    value(task(FaceLoss()).criterion((logits, points), batch)).backward()
    assert points.grad is not None
    assert points.grad.isfinite().all()
    assert (points.grad[4:] == 0).all()
    assert (points.grad[:4] != 0).all()


def test_face_metrics_by_hand_over_two_batches() -> None:
    batch, (logits, points) = crops(), guesses()
    halves = [((logits[i], points[i]), Batch(*(part[i] for part in batch[:3]))) for i in (slice(0, 2), slice(2, 6))]
    found = metrics(task(FaceLoss(points="mse", points_weight=3.0)), *halves)
    truth, guess = batch.points[:4], points[:4].detach().reshape(4, 2, 2)  # type: ignore[index]
    ce = float(cross_entropy(logits, batch.labels))
    smooth = float(smooth_l1_loss(guess, truth))
    hits = logits.argmax(1) == batch.labels
    error = float((guess - truth).norm(dim=2).mean())
    assert found == pytest.approx(
        {
            "loss": 2 * ce + 3 * float(mse_loss(guess, truth)),
            "ce": ce,
            "points": smooth,
            "reference": 2 * ce + smooth,
            "accuracy": float(hits.float().mean()),
            "balanced_accuracy": float((hits[:4].float().mean() + hits[4:].float().mean()) / 2),
            "accuracy_face": float(hits[:4].float().mean()),
            "accuracy_nonface": float(hits[4:].float().mean()),
            "error_px": error,
            "nme": error / 112,
            "mean_shape_error_px": float((SHAPE - truth).norm(dim=2).mean()),
        },
        rel=1e-5,
    )


def test_landmark_metrics_by_hand() -> None:
    batch, (_, points) = crops(6, faces=6), guesses()
    found = metrics(task(PointsLoss(points="smooth_l1")), (points, batch))
    assert batch.points is not None
    guess = points.detach().reshape(6, 2, 2)
    assert found["loss"] == pytest.approx(float(smooth_l1_loss(guess, batch.points)), rel=1e-5)
    assert found["points"] == found["reference"] == pytest.approx(float(mse_loss(guess, batch.points)), rel=1e-5)
    assert found["error_px"] == pytest.approx(float((guess - batch.points).norm(dim=2).mean()), rel=1e-5)


def test_metrics_of_a_split_without_faces_are_not_a_number_rather_than_perfect() -> None:
    found = metrics(task(FaceLoss()), (guesses(), crops(6, faces=0)))
    assert found["error_px"] != found["error_px"]
    assert found["accuracy_face"] != found["accuracy_face"]


def test_auxiliary_heads_count_three_tenths_each_in_training() -> None:
    labels = torch.tensor([0, 1, 1])
    logits = [torch.randn(3, 2, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    batch = Batch(torch.zeros(3, 1, 1, 1), labels)
    trained = task(CrossEntropy(), GoogLeNet())
    ce = [float(cross_entropy(head, labels)) for head in logits]
    assert value(trained.criterion((logits[0], logits[1:]), batch)) == pytest.approx(ce[0] + 0.3 * (ce[1] + ce[2]))
    assert value(trained.criterion(logits[0], batch)) == pytest.approx(ce[0])


@pytest.mark.parametrize("loss", [CrossEntropy(), CrossEntropy(label_smoothing=0.1)], ids=["plain", "smoothed"])
def test_a_mixed_batch_has_the_loss_of_its_soft_targets(loss: CrossEntropy) -> None:
    first, second = torch.tensor([0, 1, 2, 2]), torch.tensor([2, 1, 0, 1])
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    soft = 0.3 * torch.eye(3)[first] + 0.7 * torch.eye(3)[second]
    batch = Batch(torch.zeros(4, 1, 1, 1), first, None, second, torch.tensor([0.3, 0.7]))
    by_hand = cross_entropy(logits, soft, label_smoothing=loss.label_smoothing)
    assert value(task(loss, counts=(1, 1, 1)).criterion(logits, batch)) == pytest.approx(float(by_hand), rel=1e-6)
