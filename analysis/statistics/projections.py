"""2-D projections of a trial's features, PCA of the training rows and t-SNE of all, and the accuracy of a classifier by
nearest neighbours.

Imports no pandas, as it runs in a process of its own: t-SNE is the slowest part of a report.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.splits import SPLITS

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


@dataclass(frozen=True)
class Projection:
    """Of the `kept` rows (N,): `pca` and `tsne` (N, 2), rounded; of all rows the numbers of `projections_table`."""

    kept: Features
    pca: NDArray[np.float64]
    tsne: NDArray[np.float64]
    shares: NDArray[np.float64]
    accuracy: float
    majority: float


def projected(features: Features) -> Projection:
    """The projection of rows taken evenly from each split."""
    train = features.value[features.split == "train"]
    fitted = train if len(train) >= 2 else features.value
    kept = features.rows(evenly(features.split, MAXIMUM_POINTS))
    axes, shares = principal_axes(fitted, 2)
    pca = (kept.value - fitted.mean(axis=0)) @ axes.T
    accuracy, majority = neighbours_accuracy(features)
    return Projection(kept, _rounded(pca), _rounded(tsne(kept.value)), shares, accuracy, majority)


def all_projected(features: list[Features]) -> list[Projection]:
    return [projected(each) for each in features]


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


def _rounded(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each axis of (N, 2) rounded to DIGITS digits of its largest value, finer than a screen shows."""

    def axis(values: NDArray[np.float64]) -> NDArray[np.float64]:
        largest = np.nanmax(np.abs(values), initial=0.0)
        return values.round(max(0, DIGITS - 1 - int(np.floor(np.log10(largest))))) if largest > 0 else values

    return np.stack([axis(values) for values in points.T], axis=1)
