"""Every metric by its name: what it measures, its direction, its bounds. No direction is ever guessed.

A metric of an epoch is recorded on each split, in the column `SPLIT_NAME` (`val_accuracy`); one of a whole trial has a
column of its own name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from core.component import did_you_mean
from core.errors import FaultError
from core.splits import SPLITS


@dataclass(frozen=True)
class Metric:
    """A metric's direction, bounds and display name."""

    name: str
    maximise: bool
    low: float | None = 0.0
    """lower bound; None if there is none"""
    high: float | None = None
    """upper bound; None if there is none"""
    label: str = ""
    """display name, if it differs from the name with spaces"""
    of: Literal["epoch", "curve", "trial"] = "epoch"
    """measured on each split after an epoch; computed from a trial's learning curve; or of the whole trial"""
    by_class: bool = False
    """whether columns `NAME_CLASS` hold the metric of one class"""


class MetricError(FaultError, ValueError):
    """A metric that is not registered, so its direction is unknown."""


_ALL = (
    *(Metric(name, maximise=False) for name in ("loss", "ce", "reference", "points", "error_px", "nme")),
    Metric("mean_shape_error_px", maximise=False),
    Metric("accuracy", maximise=True, high=1.0, by_class=True),
    Metric("balanced_accuracy", maximise=True, high=1.0),
    Metric("val_roughness", maximise=False, of="curve"),
    Metric("val_jumps", maximise=False, of="curve"),
    Metric("seconds", maximise=False, of="trial"),
    # of other programs' records
    Metric("precision", maximise=True, high=1.0, by_class=True),
    Metric("recall", maximise=True, high=1.0, by_class=True),
    Metric("f1", maximise=True, high=1.0, by_class=True, label="F1"),
    Metric("f1_macro", maximise=True, high=1.0, label="macro F1"),
    Metric("f1_weighted", maximise=True, high=1.0, label="weighted F1"),
    Metric("iou", maximise=True, high=1.0, by_class=True, label="IoU"),
    Metric("auroc", maximise=True, high=1.0, by_class=True, label="AUROC"),
    Metric("average_precision", maximise=True, high=1.0, by_class=True),
    Metric("top5_accuracy", maximise=True, high=1.0, label="top-5 accuracy"),
    Metric("kappa", maximise=True, low=-1.0, high=1.0),
    Metric("mcc", maximise=True, low=-1.0, high=1.0, label="MCC"),
    Metric("r2", maximise=True, low=None, high=1.0, label="R²"),
    Metric("mae", maximise=False, label="MAE"),
    Metric("mse", maximise=False, label="MSE"),
    Metric("rmse", maximise=False, label="RMSE"),
    Metric("brier", maximise=False, high=2.0, label="Brier score"),
    Metric("ece", maximise=False, high=1.0, label="expected calibration error"),
    Metric("error", maximise=False, high=1.0),
)
METRICS = {metric.name: metric for metric in _ALL}
"""by name; `declare` adds a run's own"""
BUILT_IN = frozenset(METRICS)
CURVES = tuple(metric.name for metric in METRICS.values() if metric.of == "curve")


def split_of(column: str) -> tuple[str, str]:
    """(split, name) of a column: ("val", "accuracy") of val_accuracy; the split is "" where it has none."""
    head, _, rest = column.partition("_")
    return (head, rest) if head in SPLITS and rest else ("", column)


def metric_of(column: str) -> Metric:
    """The metric of a column, with or without its split; MetricError, with the nearest name, if it is not known."""
    name = column if column in METRICS else split_of(column)[1]
    if name in METRICS:
        return METRICS[name]
    # `accuracy_CLASS`: the longest name that it begins with
    families = [metric for metric in METRICS.values() if metric.by_class and name.startswith(f"{metric.name}_")]
    if families:
        return max(families, key=lambda metric: len(metric.name))
    raise MetricError(f"metric {column!r} is not known; {did_you_mean(name, METRICS)}")


def maximised(column: str) -> bool:
    """Whether larger values are better; MetricError for a metric that is not known."""
    return metric_of(column).maximise


def declare(metrics: Iterable[Mapping[str, Any]]) -> None:
    """Makes a run's metrics known, each a {"name": …, "maximise": …} as study.json holds them.

    MetricError where a name already has the other direction, so that no run is ever read by another's.
    """
    for metric in metrics:
        name, maximise = str(metric["name"]), bool(metric["maximise"])
        known = METRICS.setdefault(name, Metric(name, maximise, low=None))
        if known.maximise != maximise:
            where = "of the metric of that name" if name in BUILT_IN else "that it has in another run read here"
            raise MetricError(
                f"metrics: {name}: maximise: {str(maximise).lower()} is not the direction {where}; "
                "name one of them otherwise by `as`"
            )


def counterpart(column: str, split: str) -> str:
    """The same metric on another split: test_accuracy and "val" give val_accuracy; without a split, unchanged."""
    own, name = split_of(column)
    return f"{split}_{name}" if own else column


def metric_label(column: str) -> str:
    """A metric in words, without its split: test_balanced_accuracy is "balanced accuracy"."""
    name = split_of(column)[1]
    return (METRICS[name].label if name in METRICS else "") or name.replace("_", " ")
