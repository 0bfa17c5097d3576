"""What a trial's test predictions got right and wrong: by example, in landmarks' pixels, and in calibration; McNemar's
test of two trials."""

from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ECE_BINS = 15


@dataclass(frozen=True)
class ClassPredictions:
    """Test predictions of a classifier, a row an example in the order of `index`; ece is None without scores."""

    index: NDArray[np.int64]
    target: NDArray[np.int64]
    prediction: NDArray[np.int64]
    right: NDArray[np.bool_]
    ece: float | None


@dataclass(frozen=True)
class LandmarkErrors:
    """Distance of each example's landmarks from the true ones, mean over its landmarks, in pixels."""

    index: NDArray[np.int64]
    error: NDArray[np.float64]


Predictions = ClassPredictions | LandmarkErrors | None


def read_predictions(path: Path) -> Predictions:
    """What a trial's predictions say, in the order of the examples; None where the file is missing or unreadable."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid):
        return None
    columns = {name: table.column(name).to_numpy() for name in table.column_names}
    index = columns.get("index")
    if index is None or not np.issubdtype(index.dtype, np.integer):
        return None
    order = np.argsort(index, kind="stable")
    columns = {name: values[order] for name, values in columns.items()}
    index = columns.pop("index").astype(np.int64)
    if "true_x0" in columns:
        return LandmarkErrors(index, point_errors(columns))
    target, prediction = columns.get("target"), columns.get("prediction")
    if target is None or prediction is None:
        return None
    if not (np.issubdtype(target.dtype, np.integer) and np.issubdtype(prediction.dtype, np.integer)):
        return None
    known = target >= 0
    scores = [values for name, values in columns.items() if name.startswith("score_")]
    right = (target == prediction)[known]
    ece = None
    if scores:
        ece = calibration_error(reduce(np.maximum, scores)[known].astype(np.float64), right)
    return ClassPredictions(
        index[known], target[known].astype(np.int64), prediction[known].astype(np.int64), right, ece
    )


def point_errors(columns: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Mean over landmarks of the distance between (x_i, y_i) and (true_x_i, true_y_i), by example."""
    count = sum(name.startswith("true_x") for name in columns)
    distances = [
        np.hypot(columns[f"x{i}"] - columns[f"true_x{i}"], columns[f"y{i}"] - columns[f"true_y{i}"])
        for i in range(count)
    ]
    return np.mean(np.stack(distances).astype(np.float64), axis=0)


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float | None:
    """Expected calibration error: sum over 15 bins (i/15, (i+1)/15] of the top label's confidence of
    n_bin / n · |accuracy − mean confidence|.

    Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017, equation 3. None where there is
    no example or a confidence is no probability.
    """
    if not len(confidence) or not ((confidence >= 0) & (confidence <= 1 + 1e-6)).all():
        return None
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def mcnemar_p(gained: int, lost: int) -> float:
    """McNemar's exact two-sided p, from the numbers of examples that turned right and wrong (statsmodels)."""
    from statsmodels.stats.contingency_tables import mcnemar

    return float(mcnemar([[0, gained], [lost, 0]], exact=True).pvalue)
