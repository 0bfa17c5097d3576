"""2-D projections of the last layer's input features: PCA fitted on the training split, and t-SNE of all splits.

t-SNE is the slowest part of a report, which is rewritten while a run is in progress. So the coordinates are a table of
the report, and a trial's rows are taken from the previous report's table as long as its features are the same bytes.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.records.columns import read_parquet
from analysis.records.run_directory import RunDirectory
from analysis.records.run_records import Records
from analysis.tables.spec import TableSpec, register
from core.metrics import SPLITS

register(TableSpec("projections", is_data=True))
COLUMNS = (
    *("cell", "trial", "features", "split", "index", "class", "pca_1", "pca_2", "tsne_1", "tsne_2"),
    *("pca_share_1", "pca_share_2", "neighbours_accuracy", "majority_share", "left_out"),
)
METHOD = "1"  # part of the digest: change it with the method, so that older coordinates are not reused
MAXIMUM_POINTS = 1000  # of one trial
DIMENSIONS = 50  # PCA components that t-SNE takes
PERPLEXITY = 30.0
ITERATIONS = 500
NEIGHBOURS = 5
DIGITS = 5


@dataclass(frozen=True)
class Features:
    """split and label (N,), index (N,) within the split, value (N, D) finite; `left_out` rows were not finite."""

    split: NDArray[np.str_]
    index: NDArray[np.int64]
    label: NDArray[np.int64]
    value: NDArray[np.float64]
    left_out: int

    def rows(self, kept: Any) -> "Features":
        """The rows of a boolean mask or of indices."""
        return Features(self.split[kept], self.index[kept], self.label[kept], self.value[kept], self.left_out)


def projections_table(records: Records, run: RunDirectory, cells: Iterable[str]) -> pd.DataFrame:
    """One row per point, at most MAXIMUM_POINTS of each cell's first trial that left features.

    `features` is a digest of the file. Constant over a trial: the shares of the training features' variance on the two
    PCA axes; the accuracy of a k-nearest-neighbour classifier from training to test features, and the share of the most
    frequent class; how many rows were not finite. `tsne_*` is null where all features are equal.
    """
    known = _earlier(run.report / "projections.parquet")
    parts = []
    for cell in cells:
        trial = records.first_trial(cell, lambda name: (run.artifacts / name / "features.parquet").is_file())
        part = _of_trial(run.artifacts / trial / "features.parquet", known, records.class_name) if trial else None
        if part is not None:
            parts.append(part.assign(cell=cell, trial=trial)[list(COLUMNS)])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


def _earlier(path: Path) -> dict[str, pd.DataFrame]:
    """Rows of the previous report, by the digest of their features file."""
    table = read_parquet(path)
    if table is None or tuple(table) != COLUMNS:
        return {}
    # Trials whose features are equal have the same rows; one of them is enough.
    table = table.loc[table["trial"] == table.groupby("features")["trial"].transform("first")]
    return {str(digest): rows for digest, rows in table.groupby("features", sort=False)}


def _of_trial(path: Path, known: Mapping[str, pd.DataFrame], class_name: Callable[[int], str]) -> pd.DataFrame | None:
    try:
        digest = hashlib.sha256(METHOD.encode() + path.read_bytes()).hexdigest()[:16]
    except OSError:
        return None
    if digest in known:
        return known[digest]
    features = read_features(path)
    return None if features is None else projected(features, class_name).assign(features=digest)


def read_features(path: Path) -> Features | None:
    """The finite rows of features.parquet; None where the file is unreadable or fewer than three rows are finite."""
    table = read_parquet(path, "split", "index", "label", "feature")
    if table is None:
        return None
    try:
        value = np.array(table["feature"].tolist(), dtype=np.float64)
        index, label = (table[name].to_numpy("int64") for name in ("index", "label"))
    except (ValueError, TypeError):  # vectors of several lengths, or of no numbers
        return None
    if value.ndim != 2 or value.shape[1] == 0:
        return None
    finite = np.isfinite(value).all(axis=1)
    features = Features(table["split"].to_numpy(np.str_), index, label, value, int((~finite).sum())).rows(finite)
    return features if len(features.label) >= 3 else None


def projected(features: Features, class_name: Callable[[int], str]) -> pd.DataFrame:
    """COLUMNS without cell, trial and features, for rows taken evenly from each split."""
    train = features.value[features.split == "train"]
    fitted = train if len(train) >= 2 else features.value
    kept = features.rows(evenly(features.split, MAXIMUM_POINTS))
    axes, shares = principal_axes(fitted, 2)
    pca = (kept.value - fitted.mean(axis=0)) @ axes.T
    accuracy, majority = neighbours_accuracy(features)
    table = pd.DataFrame({"split": kept.split, "index": kept.index})
    table["class"] = list(map(class_name, kept.label))
    for name, values in (("pca", pca), ("tsne", tsne(kept.value))):
        table[f"{name}_1"], table[f"{name}_2"] = map(_rounded, values.T)
    table["pca_share_1"], table["pca_share_2"] = shares
    return table.assign(neighbours_accuracy=accuracy, majority_share=majority, left_out=features.left_out)


def evenly(split: NDArray[np.str_], most: int) -> NDArray[np.int64]:
    """Indices of at most `most` rows: the same share of each split, evenly spaced."""
    if len(split) <= most:
        return np.arange(len(split))
    places = [np.flatnonzero(split == name) for name in dict.fromkeys([*SPLITS, *split.tolist()])]
    counts = [len(own) * most // len(split) for own in places]
    pairs = zip(places, counts, strict=True)
    return np.sort(np.concatenate([own[np.arange(n) * len(own) // max(n, 1)] for own, n in pairs]))


def principal_axes(value: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(count, D) orthonormal axes of the largest variance of `value` (N, D), and the share of variance on each
    (scikit-learn's PCA).

    Features are not standardised: each counts by its size, as it does for the last layer. The largest entry of an axis
    is positive. Axes beyond the rank are zero.
    """
    from sklearn.decomposition import PCA

    axes, shares = np.zeros((count, value.shape[1])), np.zeros(count)
    if value.std(axis=0).any():
        found = PCA(min(count, *value.shape), svd_solver="full").fit(value)
        kept = found.explained_variance_ratio_ > 1e-12
        axes[: len(kept)][kept] = found.components_[kept]
        shares[: len(kept)][kept] = found.explained_variance_ratio_[kept]
    return axes, shares


def tsne(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 2) by scikit-learn's t-SNE after PCA to DIMENSIONS; NaN where all rows are equal. Deterministic.

    Van der Maaten and Hinton 2008; perplexity 30, or less than a third of the rows.
    """
    from sklearn.manifold import TSNE

    axes, shares = principal_axes(value, min(DIMENSIONS, value.shape[1]))
    if not shares.any():
        return np.full((len(value), 2), np.nan)
    reduced = (value - value.mean(axis=0)) @ axes.T
    reduced = np.pad(reduced, ((0, 0), (0, max(0, 2 - reduced.shape[1]))))
    # scikit-learn divides by the spread of the first two components; of features on a line the second has none.
    start = reduced[:, :2] / reduced[:, 0].std() * 1e-4
    start[:, 1] += np.random.default_rng(0).normal(0, 1e-6, len(start))
    perplexity = min(PERPLEXITY, (len(value) - 1) / 3)
    fit = TSNE(2, perplexity=perplexity, init=start.astype(np.float32), random_state=0, n_jobs=1, max_iter=ITERATIONS)
    return np.asarray(fit.fit_transform(reduced.astype(np.float32)), dtype=np.float64)


def neighbours_accuracy(features: Features) -> tuple[float, float]:
    """(accuracy, share of the most frequent class) on the test rows, classified by the majority of their NEIGHBOURS
    nearest training rows (Euclidean; ties take the first class); NaN with a single class or an empty split."""
    from sklearn.neighbors import KNeighborsClassifier

    train, test = (features.rows(features.split == name) for name in ("train", "test"))
    if not len(train.label) or not len(test.label) or len(np.unique(features.label)) < 2:
        return float("nan"), float("nan")
    neighbours = KNeighborsClassifier(min(NEIGHBOURS, len(train.label)), algorithm="brute")
    neighbours.fit(train.value, train.label)
    majority = np.unique(test.label, return_counts=True)[1].max() / len(test.label)
    return float(neighbours.score(test.value, test.label)), float(majority)


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rounded to DIGITS digits of the largest value, finer than a screen shows."""
    largest = np.nanmax(np.abs(values), initial=0.0)
    return values.round(max(0, DIGITS - 1 - int(np.floor(np.log10(largest))))) if largest > 0 else values
