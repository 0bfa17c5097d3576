"""The field's metrics of a whole split, as scikit-learn defines them where it has them.

`scores` (N, C) float32 are probabilities, `targets` (N,) int64 true classes; neither is copied, N is not 0. A class is
predicted where its score is the largest; of equal ones the first. scikit-learn is imported only where a trial asks.
"""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Scores = NDArray[np.float32]
    Targets = NDArray[np.int64]

BINS = 15  # of the calibration error, as in Guo et al. (2017)
TOP = 5


class UndefinedMetricError(ValueError):
    """A metric has no value for these scores; the message says why."""


def top5_accuracy(scores: "Scores", targets: "Targets") -> float:
    """Share of the examples whose class has one of the five largest scores."""
    from sklearn.metrics import top_k_accuracy_score

    classes = scores.shape[1]
    return 1.0 if classes <= TOP else float(top_k_accuracy_score(targets, scores, k=TOP, labels=range(classes)))


def f1_macro(scores: "Scores", targets: "Targets") -> float:
    """Mean F1 over the classes that occur or are predicted; F1 of a class that is only one of both is 0."""
    return _f1(scores, targets, "macro")


def f1_weighted(scores: "Scores", targets: "Targets") -> float:
    """Mean F1 over the examples, each with that of its true class."""
    return _f1(scores, targets, "weighted")


def _f1(scores: "Scores", targets: "Targets", average: str) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(targets, scores.argmax(1), average=average, zero_division=0.0))


def auroc(scores: "Scores", targets: "Targets") -> float:
    """Area under the ROC curve of the second of two classes; of more the mean of each against the others."""
    from sklearn.metrics import roc_auc_score

    areas = [roc_auc_score(own, score) for own, score in _against_others(scores, targets) if not own.all()]
    if not areas:
        raise UndefinedMetricError("one class alone occurs")
    return math.fsum(areas) / len(areas)


def average_precision(scores: "Scores", targets: "Targets") -> float:
    """Average precision of the second of two classes; of more the mean of each against the others."""
    from sklearn.metrics import average_precision_score

    found = [average_precision_score(own, score) for own, score in _against_others(scores, targets)]
    if not found:
        raise UndefinedMetricError("the second of two classes does not occur")
    return float(math.fsum(found) / len(found))


def _against_others(scores: "Scores", targets: "Targets") -> Iterator[tuple[Any, Any]]:
    """(which examples are of the class, its scores), each (N,), of each class that occurs; of two of the second."""
    classes = scores.shape[1]
    for label in [1] if classes == 2 else range(classes):
        own = targets == label
        if own.any():
            yield own, scores[:, label]


def kappa(scores: "Scores", targets: "Targets") -> float:
    """Cohen's kappa, unweighted."""
    from sklearn.metrics import cohen_kappa_score

    value = float(cohen_kappa_score(targets, scores.argmax(1)))
    if math.isnan(value):
        raise UndefinedMetricError("one class alone occurs and is predicted")
    return value


def mcc(scores: "Scores", targets: "Targets") -> float:
    """Matthews' correlation coefficient; 0 where all targets or all predictions are of one class."""
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(targets, scores.argmax(1)))


def brier(scores: "Scores", targets: "Targets") -> float:
    """Mean over the examples of the squared distance to the true class's unit vector, 0 to 2 (Brier 1950)."""
    import numpy as np

    # |s − e|² = |s|² − 2 s_target + 1, without an (N, C) array of differences
    squares = np.einsum("nc,nc->n", scores, scores, dtype=np.float64)
    return float((squares - 2.0 * _of_target(scores, targets) + 1.0).mean())


def _of_target(scores: "Scores", targets: "Targets") -> Any:
    import numpy as np

    return np.take_along_axis(scores, targets[:, None], 1)[:, 0].astype(np.float64)


def ece(scores: "Scores", targets: "Targets") -> float:
    """Expected calibration error of the largest score in 15 bins of equal width, each with its upper end (Guo et al.
    2017, equation 3)."""
    import numpy as np

    confidence = scores.max(1).astype(np.float64)
    gaps = (scores.argmax(1) == targets) - confidence
    bins = np.digitize(confidence, np.linspace(0, 1, BINS + 1)[1:-1], right=True)
    return float(np.abs(np.bincount(bins, gaps)).sum() / len(targets))


FIELD: dict[str, Callable[["Scores", "Targets"], float]] = {
    function.__name__: function
    for function in (top5_accuracy, f1_macro, f1_weighted, auroc, average_precision, kappa, mcc, brier, ece)
}
