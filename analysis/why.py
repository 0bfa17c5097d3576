"""Why a level differs from its baseline: the test examples that it gains and loses, the classes they are of, and how
far its confidence can be believed. From the predictions of pairs of trials with equal seeds; nothing is averaged first.

A pair counts where both trials finished and left predictions of the same examples with the same targets.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.changed import changed_rows, changed_table
from analysis.predictions import class_name
from analysis.schema import RunDirectory
from analysis.shown import finished_trials
from analysis.store import Records

PAIR_COLUMNS = ("factor", "level", "baseline_level", "n_pairs", "examples")
CLASS_COLUMNS = (
    *PAIR_COLUMNS,
    *("gained", "lost", "p_mcnemar", "class_gain", "class_gain_delta", "class_loss", "class_loss_delta"),
    *("ece_baseline", "ece_level"),
)
POINT_COLUMNS = (*PAIR_COLUMNS, "share_better", "share_worse", "delta_px", "delta_px_median")
ECE_BINS = 15
KEPT_TRIALS = 256
MAXIMUM_COMPARISONS = 300  # the first of a study: each has two files to read a seed


@dataclass(frozen=True)
class Classes:
    """Test predictions of a classifier, a row an example in the order of `index`; ece is None without scores."""

    index: NDArray[np.int64]
    target: NDArray[np.int64]
    prediction: NDArray[np.int64]
    right: NDArray[np.bool_]
    ece: float | None


@dataclass(frozen=True)
class Points:
    """Distance of each example's landmarks from the true ones, mean over its landmarks, in pixels."""

    index: NDArray[np.int64]
    error: NDArray[np.float64]


def why_and_changed(records: Records, run: RunDirectory) -> tuple[pd.DataFrame, pd.DataFrame]:
    """why.csv and changed.csv, for which each file of predictions is read once; both are empty for a search.

    why.csv has a row a comparison whose pairs left predictions, of the study's first MAXIMUM_COMPARISONS. Classes:
    `gained` and `lost` count examples that turned right and wrong, means over pairs; `p_mcnemar` is the median over
    pairs of McNemar's exact p (within one pair, so it says nothing of other seeds); `class_gain` and `class_loss` are
    the classes whose accuracy rose and fell most, mean over pairs. Landmarks: the shares of examples whose error fell
    and rose, the mean and the median of its change in pixels, means over pairs.

    changed.csv holds, of classes, the test examples that turn, as `changed.changed_rows` finds them.
    """
    read = lru_cache(KEPT_TRIALS)(lambda trial: read_outcome(run.predictions / f"{trial}.parquet"))
    names = [str(name) for name in records.study.get("data", {}).get("classes", [])]
    rows, turned = [], []
    comparisons = records.study.get("comparisons", [])[:MAXIMUM_COMPARISONS]
    for comparison in comparisons if run.predictions.is_dir() else []:
        pairs = list(_pairs(records, comparison["baseline_cell"], comparison["cell"], read))
        row = {name: comparison[name] for name in PAIR_COLUMNS[:3]} | {"n_pairs": len(pairs)}
        classes = [(a, b) for a, b in pairs if isinstance(a, Classes) and isinstance(b, Classes)]
        points = [(a, b) for a, b in pairs if isinstance(a, Points) and isinstance(b, Points)]
        if classes:
            rows.append(row | _classes(classes, names))
            turned += changed_rows(comparison, classes, names)
        elif points:
            rows.append(row | _points(points))
    columns = POINT_COLUMNS if any("share_better" in row for row in rows) else CLASS_COLUMNS
    table = pd.DataFrame(rows, columns=list(columns))
    texts = {"factor", "level", "baseline_level", "class_gain", "class_loss"}
    counts = {"n_pairs", "examples"}
    kinds = {name: "str" if name in texts else "int64" if name in counts else "float64" for name in columns}
    return table.astype(kinds), changed_table(turned)


Outcome = Classes | Points | None


def _pairs(
    records: Records, baseline: str, level: str, read: Callable[[str], Outcome]
) -> Iterator[tuple[Classes | Points, Classes | Points]]:
    """Outcomes of both cells by seed, where they are of the same examples."""
    first, second = (finished_trials(records, cell) for cell in (baseline, level))
    for seed in sorted(first.keys() & second.keys()):
        a, b = read(first[seed]), read(second[seed])
        if a is None or b is None or type(a) is not type(b) or not np.array_equal(a.index, b.index) or not len(a.index):
            continue
        if isinstance(a, Classes) and isinstance(b, Classes) and not np.array_equal(a.target, b.target):
            continue
        yield a, b


def read_outcome(path: Path) -> Outcome:
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
        return Points(index, point_errors(columns))
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
    return Classes(index[known], target[known].astype(np.int64), prediction[known].astype(np.int64), right, ece)


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


def _classes(pairs: list[tuple[Classes, Classes]], names: list[str]) -> dict[str, Any]:
    gained = [int((~a.right & b.right).sum()) for a, b in pairs]
    lost = [int((a.right & ~b.right).sum()) for a, b in pairs]
    by_class = pd.concat([_by_class(b) - _by_class(a) for a, b in pairs], axis=1).mean(axis=1)
    classes, change = by_class.index.to_numpy(), by_class.to_numpy("float64")
    row: dict[str, Any] = {
        "examples": len(pairs[0][0].index),
        "gained": np.mean(gained),
        "lost": np.mean(lost),
        "p_mcnemar": np.median([mcnemar_p(g, x) for g, x in zip(gained, lost, strict=True)]),
    }
    for name, sign in (("gain", 1), ("loss", -1)):
        place = int(np.argmax(sign * change))
        if sign * change[place] > 0:
            row |= {f"class_{name}": class_name(names, int(classes[place])), f"class_{name}_delta": change[place]}
    for name, side in (("baseline", 0), ("level", 1)):
        errors = [pair[side].ece for pair in pairs]
        row[f"ece_{name}"] = np.mean([error for error in errors if error is not None]) if None not in errors else None
    return row


def _by_class(outcome: Classes) -> pd.Series:
    """Accuracy by class of the examples."""
    return pd.Series(outcome.right).groupby(outcome.target).mean()


def mcnemar_p(gained: int, lost: int) -> float:
    """McNemar's exact two-sided p, from the numbers of examples that turned right and wrong (statsmodels)."""
    from statsmodels.stats.contingency_tables import mcnemar

    return float(mcnemar([[0, gained], [lost, 0]], exact=True).pvalue)


def _points(pairs: list[tuple[Points, Points]]) -> dict[str, Any]:
    changes = [b.error - a.error for a, b in pairs]
    return {
        "examples": len(changes[0]),
        "share_better": np.mean([(change < 0).mean() for change in changes]),
        "share_worse": np.mean([(change > 0).mean() for change in changes]),
        "delta_px": np.mean([change.mean() for change in changes]),
        "delta_px_median": np.mean([np.median(change) for change in changes]),
    }
