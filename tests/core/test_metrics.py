"""A metric's direction is registered, never guessed."""

import pytest

from core.metrics import METRICS, MetricError, counterpart, maximised, metric_label, metric_of, split_of
from core.splits import SPLITS
from trainables.tasks.registry import TASKS

RECORDED = sorted({name for task in TASKS.values() for name in task.METRICS})
LARGER = [
    "precision",
    "recall",
    "f1",
    "f1_macro",
    "f1_weighted",
    "iou",
    "auroc",
    "average_precision",
    "top5_accuracy",
    "kappa",
    "mcc",
    "r2",
    "accuracy",
    "balanced_accuracy",
    "accuracy_face",
    "accuracy_nonface",
    "recall_cat",
]
SMALLER = [
    "loss",
    "ce",
    "reference",
    "points",
    "error_px",
    "nme",
    "mean_shape_error_px",
    "mae",
    "rmse",
    "mse",
    "brier",
    "ece",
    "error",
]


@pytest.mark.parametrize("name", RECORDED)
def test_what_a_task_records_is_registered(name: str) -> None:
    assert {metric_of(f"{split}_{name}").of for split in SPLITS} == {"epoch"}


@pytest.mark.parametrize("name", [*LARGER, *SMALLER])
def test_directions_are_those_of_the_field_with_a_split_and_without(name: str) -> None:
    assert {maximised(column) for column in (name, *(f"{split}_{name}" for split in SPLITS))} == {name in LARGER}


@pytest.mark.parametrize("column", ["val_roughness", "val_jumps", "seconds"])
def test_what_is_measured_of_a_whole_trial_has_a_name_of_its_own(column: str) -> None:
    assert not maximised(column)
    assert metric_of(column).of != "epoch"


@pytest.mark.parametrize("column", ["test_acuracy", "accurate", "my_loss", "val_", "", "f2"])
def test_what_is_not_registered_is_refused_whatever_words_are_in_it(column: str) -> None:
    with pytest.raises(MetricError, match=f"metric {column!r} is not known; allowed: loss, "):
        maximised(column)


def test_an_unknown_metric_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"metric 'test_acuracy' is not known.*did you mean 'accuracy'"):
        maximised("test_acuracy")


def test_bounds_hold_the_values_there_can_be() -> None:
    for metric in METRICS.values():
        assert metric.low is None or metric.high is None or metric.low < metric.high
    assert (METRICS["r2"].low, METRICS["mcc"].low, METRICS["accuracy"].high) == (None, -1.0, 1.0)


def test_the_counterpart_is_the_same_metric_on_another_split() -> None:
    assert counterpart("test_balanced_accuracy", "val") == "val_balanced_accuracy"
    assert counterpart("seconds", "val") == "seconds"
    assert split_of("train_error_px") == ("train", "error_px")


def test_labels_are_words() -> None:
    assert metric_label("test_balanced_accuracy") == "balanced accuracy"
    assert metric_label("val_f1_macro") == "macro F1"
    assert metric_label("optimizer.lr") == "optimizer.lr"
