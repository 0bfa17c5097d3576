"""How a level's predictions differ from its baseline's: test examples gained and lost, the classes most affected, and
calibration. From the predictions of pairs of trials with equal seeds; nothing is averaged first.

A pair counts where both trials finished and left predictions of the same examples with the same targets. An example
that is gained with one seed and lost with another is noise: it counts for the direction that more seeds show.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.records.run_directory import RunDirectory
from analysis.records.run_records import Records
from analysis.statistics.prediction_errors import (
    ClassPredictions,
    LandmarkErrors,
    Predictions,
    mcnemar_p,
    read_predictions,
)
from analysis.tables.ablation import COMPARED, ROWS
from analysis.tables.spec import PAPER, Column, Row, TableSpec, register


def _share(name: str) -> Callable[[Row], str]:
    return lambda row: f"{row[name]:.0%}".replace("%", " %")


def _class(side: str) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        name, delta = row[f"class_{side}"], row[f"class_{side}_delta"]
        return "–" if pd.isna(name) else f"{name} ({delta:+.2f})".replace("-", "−")

    return text


def _calibration(row: Row) -> str:
    return "–" if pd.isna(row["ece_baseline"]) else f"{row['ece_baseline']:.3f} → {row['ece_level']:.3f}"


WHY = register(
    TableSpec(
        "why",
        (
            *COMPARED,
            Column("n_pairs", "count", "n"),
            Column("examples", "count"),
            Column("gained", css="num strong", significant=3),
            Column("lost", css="num strong", significant=3),
            Column("p_mcnemar", "p", "McNemar p"),
            Column("class_gain", "text", "most gained", css="text nowrap", text=_class("gain")),
            Column("class_gain_delta", shown=(PAPER,)),
            Column("class_loss", "text", "most lost", css="text nowrap", text=_class("loss")),
            Column("class_loss_delta", shown=(PAPER,)),
            Column("ece_baseline", head="ECE", css="text nowrap", text=_calibration),
            Column("ece_level", shown=(PAPER,)),
            Column("share_better", head="better", text=_share("share_better")),
            Column("share_worse", head="worse", text=_share("share_worse")),
            Column("delta_px", head="mean change, px", signed=True, digits=2),
            Column("delta_px_median", head="median change, px", signed=True, digits=2),
        ),
        "What changes from baseline to level on the test examples, means over pairs of equal seeds ({n}): of classes "
        "the examples that turn right and wrong, and of McNemar's exact test of each seed the median p-value, not "
        "corrected; of landmarks how the error of each example changes.",
    )
)
CHANGED = register(
    TableSpec(
        "changed",
        (
            *COMPARED,
            Column("index", "count"),
            Column("true", "text"),
            Column("turned", "text"),
            Column("seeds", "count"),
            Column("back", "count"),
            Column("n", "count"),
            Column("baseline_says", "text"),
            Column("level_says", "text"),
        ),
        "Test examples that turn right (gained) or wrong (lost) from baseline to level in more seeds than the other "
        "way round; at most 50 of each comparison, either way.",
    )
)
KEYS = tuple(column.key for column in COMPARED)
POINT_COLUMNS = ("share_better", "share_worse", "delta_px", "delta_px_median")
GAINED, LOST = "gained", "lost"
MAXIMUM_EXAMPLES = 50  # of each comparison, gained and lost each
KEPT_TRIALS = 256
MAXIMUM_COMPARISONS = 300  # the first of a study: each has two files to read per seed

Pair = tuple[ClassPredictions, ClassPredictions]
"""the predictions of a baseline's and a level's trial of the same seed"""


def why_and_changed(records: Records, run: RunDirectory) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables why.csv and changed.csv; each predictions file is read once. Both are empty for a search.

    why.csv has one row per comparison with predictions, of the study's first MAXIMUM_COMPARISONS. Classification:
    `gained` and `lost` count examples that turned right and wrong, means over pairs; `p_mcnemar` is the median over
    pairs of McNemar's exact p (within one pair, so it says nothing of other seeds); `class_gain` and `class_loss` are
    the classes whose accuracy rose and fell most, mean over pairs. Landmarks: the shares of examples whose error fell
    and rose, the mean and the median of its change in pixels, means over pairs.

    changed.csv holds the test examples that turned right or wrong (`changed_rows`), for classification only.
    """

    @lru_cache(KEPT_TRIALS)
    def read(trial: str) -> ClassPredictions | LandmarkErrors | None:
        return read_predictions(run.prediction(trial))

    rows, turned = [], []
    comparisons = records.comparisons[:MAXIMUM_COMPARISONS]
    for comparison in comparisons if run.predictions.is_dir() else []:
        pairs = list(_pairs(records, comparison["baseline_cell"], comparison["cell"], read))
        row = {name: comparison[name] for name in KEYS} | {"n_pairs": len(pairs)}
        classes = [(a, b) for a, b in pairs if isinstance(a, ClassPredictions) and isinstance(b, ClassPredictions)]
        points = [(a, b) for a, b in pairs if isinstance(a, LandmarkErrors) and isinstance(b, LandmarkErrors)]
        if classes:
            rows.append(row | _classes(classes, records.class_name))
            turned += changed_rows(comparison, classes, records.class_name)
        elif points:
            rows.append(row | _points(points))
    why = WHY.frame(rows)
    of_points = any("share_better" in row for row in rows)
    shared = [*KEYS, "n_pairs", "examples"]
    why = why[[*shared, *POINT_COLUMNS]] if of_points else why.drop(columns=list(POINT_COLUMNS))
    why.attrs[ROWS] = records.traits.rows
    return why, CHANGED.frame(turned)


def _pairs(
    records: Records, baseline: str, level: str, read: Callable[[str], Predictions]
) -> Iterator[tuple[ClassPredictions | LandmarkErrors, ClassPredictions | LandmarkErrors]]:
    """Predictions of both cells, one pair per seed, where they are of the same examples."""
    first, second = (records.finished_trials(cell) for cell in (baseline, level))
    for seed in sorted(first.keys() & second.keys()):
        a, b = read(first[seed]), read(second[seed])
        if a is not None and b is not None and len(a.index) and _of_same_examples(a, b):
            yield a, b


def _of_same_examples(a: ClassPredictions | LandmarkErrors, b: ClassPredictions | LandmarkErrors) -> bool:
    if isinstance(a, ClassPredictions) and isinstance(b, ClassPredictions):
        return np.array_equal(a.index, b.index) and np.array_equal(a.target, b.target)
    return type(a) is type(b) and np.array_equal(a.index, b.index)


def _classes(pairs: Sequence[Pair], class_name: Callable[[int], str]) -> dict[str, Any]:
    gained = [int((~a.right & b.right).sum()) for a, b in pairs]
    lost = [int((a.right & ~b.right).sum()) for a, b in pairs]
    change = pd.concat([_by_class(b) - _by_class(a) for a, b in pairs], axis=1).mean(axis=1)
    row: dict[str, Any] = {
        "examples": len(pairs[0][0].index),
        "gained": np.mean(gained),
        "lost": np.mean(lost),
        "p_mcnemar": np.median([mcnemar_p(g, x) for g, x in zip(gained, lost, strict=True)]),
    }
    for name, sign in (("gain", 1), ("loss", -1)):
        place = int((sign * change).argmax())
        if sign * change.iloc[place] > 0:
            row |= {f"class_{name}": class_name(change.index[place]), f"class_{name}_delta": change.iloc[place]}
    for name, side in (("baseline", 0), ("level", 1)):
        errors = [pair[side].ece for pair in pairs]
        row[f"ece_{name}"] = np.mean([error for error in errors if error is not None]) if None not in errors else None
    return row


def _by_class(outcome: ClassPredictions) -> pd.Series:
    """Accuracy of each class, by target."""
    return pd.Series(outcome.right).groupby(outcome.target).mean()


def _points(pairs: list[tuple[LandmarkErrors, LandmarkErrors]]) -> dict[str, Any]:
    changes = [b.error - a.error for a, b in pairs]
    return {
        "examples": len(changes[0]),
        "share_better": np.mean([(change < 0).mean() for change in changes]),
        "share_worse": np.mean([(change > 0).mean() for change in changes]),
        "delta_px": np.mean([change.mean() for change in changes]),
        "delta_px_median": np.mean([np.median(change) for change in changes]),
    }


def changed_rows(
    comparison: Mapping[str, Any], pairs: Sequence[Pair], class_name: Callable[[int], str]
) -> list[dict[str, Any]]:
    """The examples that turned right ("gained") or wrong ("lost") from baseline to level in more of the `n` pairs of
    equal seeds than the other way.

    `seeds` counts the pairs in which it turned so, `back` those in which it turned the other way; sorted by seeds, back
    and index, the first MAXIMUM_EXAMPLES are kept. `baseline_says` and `level_says` are the classes most often
    predicted in the pairs in which it turned so. Pairs whose examples differ from those of the first pair are left out.
    """
    first = pairs[0][0]
    same = [(a, b) for a, b in pairs if _of_same_examples(a, first)]
    right = np.stack([[a.right, b.right] for a, b in same])
    said = np.stack([[a.prediction, b.prediction] for a, b in same])
    turned = {GAINED: ~right[:, 0] & right[:, 1], LOST: right[:, 0] & ~right[:, 1]}
    rows = []
    for way, other in ((GAINED, LOST), (LOST, GAINED)):
        seeds, back = turned[way].sum(axis=0), turned[other].sum(axis=0)
        order = np.lexsort((first.index, back, -seeds))
        for place in order[(seeds > back)[order]][:MAXIMUM_EXAMPLES]:
            baseline, level = (_most(classes) for classes in said[turned[way][:, place], :, place].T)
            rows.append(
                {name: comparison[name] for name in KEYS}
                | {"index": int(first.index[place]), "true": class_name(int(first.target[place]))}
                | {"turned": way, "seeds": int(seeds[place]), "back": int(back[place]), "n": len(same)}
                | {"baseline_says": class_name(baseline), "level_says": class_name(level)}
            )
    return rows


def _most(classes: NDArray[np.int64]) -> int:
    """The most frequent class; ties take the first."""
    names, counts = np.unique(classes, return_counts=True)
    return int(names[counts.argmax()])
