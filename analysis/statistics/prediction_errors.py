"""Errors of a trial's test predictions: by example, of landmarks in pixels, of calibration; McNemar's test of two."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.records.columns import read_parquet, unless_damaged
from analysis.statistics.distributions import binomial_cdf

ECE_BINS = 15


@dataclass(frozen=True)
class ClassPredictions:
    """Test predictions of a classifier, one row per example in the order of `index`; ece is None without scores."""

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


@unless_damaged
def read_predictions(path: Path) -> Predictions:
    """A trial's predictions in the order of the examples; None if the file is missing or unreadable."""
    table = read_parquet(path)
    if table is None or not has_integers(table, "index"):
        return None
    table = table.sort_values("index", kind="stable")
    if "true_x0" in table:
        return LandmarkErrors(table["index"].to_numpy("int64"), point_errors(table))
    if not has_integers(table, "target", "prediction"):
        return None
    table = table.loc[table["target"] >= 0]
    index, target, prediction = (table[name].to_numpy("int64") for name in ("index", "target", "prediction"))
    right = target == prediction
    confidence = table.filter(regex="^score_").max(axis=1, skipna=False).to_numpy("float64")
    return ClassPredictions(index, target, prediction, right, calibration_error(confidence, right))


def has_integers(table: pd.DataFrame, *columns: str) -> bool:
    return all(name in table and pd.api.types.is_integer_dtype(table[name]) for name in columns)


def point_errors(table: pd.DataFrame) -> NDArray[np.float64]:
    """Mean over landmarks of the distance between (x_i, y_i) and (true_x_i, true_y_i), by example."""
    distances = [
        np.hypot(table[f"x{i}"] - table[f"true_x{i}"], table[f"y{i}"] - table[f"true_y{i}"])
        for i in range(table.columns.str.startswith("true_x").sum())
    ]
    return np.mean(np.stack(distances).astype(np.float64), axis=0)


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float | None:
    """Expected calibration error: sum over 15 bins (i/15, (i+1)/15] of the top label's confidence of
    n_bin / n · |accuracy − mean confidence|.

    Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017, equation 3. None if there is
    no example or a confidence is no probability.
    """
    if not len(confidence) or not ((confidence >= 0) & (confidence <= 1 + 1e-6)).all():
        return None
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def mcnemar_p(gained: int, lost: int) -> float:
    """McNemar's exact two-sided p, from the numbers of examples that turned right and wrong.

    As statsmodels': twice the binomial probability of at most as many as the rarer of both; 1 where there are none.
    """
    return min(1.0, 2.0 * binomial_cdf(min(gained, lost), gained + lost)) if gained + lost else 1.0
