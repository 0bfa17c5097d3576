"""2-D projections of the last layer's input features: PCA fitted on the training split, and t-SNE of all splits.

t-SNE is the slowest part of a report, which is rewritten while a run is in progress. So the coordinates are a table of
the report, and a trial's rows are taken from the previous report's table as long as its features are the same bytes.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.records.columns import read_parquet, unless_damaged
from analysis.records.run_directory import RunDirectory
from analysis.records.run_records import Records
from analysis.statistics.projections import Features, Projection, all_projected
from analysis.tables.spec import TableSpec, register
from core.aside import Aside, cores

register(TableSpec("projections", is_data=True))
COLUMNS = (
    *("cell", "trial", "features", "split", "index", "class", "pca_1", "pca_2", "tsne_1", "tsne_2"),
    *("pca_share_1", "pca_share_2", "neighbours_accuracy", "majority_share", "left_out"),
)
METHOD = "1"  # part of the digest: change it with the method, so that older coordinates are not reused


class Projections:
    """The `table` of projections in the making: what no earlier report has is computed aside from now on."""

    def __init__(self, records: Records, run: RunDirectory, cells: Iterable[str]) -> None:
        self.class_name, self.known = records.class_name, _earlier(run.report / "projections.parquet") or {}
        self.trials: list[tuple[str, str, str]] = []
        """(cell, trial, digest of its features)"""
        self.unknown: dict[str, Features] = {}
        for cell in cells:
            trial = records.first_trial(cell, lambda name: run.artifact(name, "features.parquet").is_file())
            if trial and (digest := self._noted(run.artifact(trial, "features.parquet"))):
                self.trials.append((cell, trial, digest))
        wanted = [*self.unknown.values()]
        self.begun = Aside(all_projected, wanted, threads=cores()) if wanted else None

    def _noted(self, path: Path) -> str | None:
        """The digest of a features file, whose content is noted where it is not known; None where it is unusable."""
        try:
            digest = hashlib.sha256(METHOD.encode() + path.read_bytes()).hexdigest()[:16]
        except OSError:
            return None
        if digest not in self.known and digest not in self.unknown:
            features = read_features(path)
            if features is None:
                return None
            self.unknown[digest] = features
        return digest

    def table(self) -> pd.DataFrame:
        """One row per point, at most MAXIMUM_POINTS of each cell's first trial that left features.

        `features` is a digest of the file. Constant over a trial: the shares of the training features' variance on the
        two PCA axes; the accuracy of a k-nearest-neighbour classifier from training to test features, and the share of
        the most frequent class; how many rows were not finite. `tsne_*` is null where all features are equal.
        """
        made = self.begun.result() if self.begun else []
        found = dict(zip(self.unknown, made, strict=True))
        rows = self.known | {digest: self._rows(digest, each) for digest, each in found.items()}
        parts = [rows[digest].assign(cell=cell, trial=trial)[list(COLUMNS)] for cell, trial, digest in self.trials]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))

    def _rows(self, digest: str, found: Projection) -> pd.DataFrame:
        kept = found.kept
        table = pd.DataFrame({"split": kept.split, "index": kept.index})
        table["class"] = list(map(self.class_name, kept.label))
        for name, values in (("pca", found.pca), ("tsne", found.tsne)):
            table[f"{name}_1"], table[f"{name}_2"] = values.T
        table["pca_share_1"], table["pca_share_2"] = found.shares
        table = table.assign(neighbours_accuracy=found.accuracy, majority_share=found.majority)
        return table.assign(left_out=kept.left_out, features=digest)


@unless_damaged
def _earlier(path: Path) -> dict[str, pd.DataFrame]:
    """Rows of the previous report, by the digest of their features file."""
    table = read_parquet(path)
    if table is None or tuple(table) != COLUMNS:
        return {}
    # Trials whose features are equal have the same rows; one of them is enough.
    table = table.loc[table["trial"] == table.groupby("features")["trial"].transform("first")]
    return {str(digest): rows for digest, rows in table.groupby("features", sort=False)}


@unless_damaged
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
