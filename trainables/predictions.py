"""A trial's test predictions at its selected epoch: one row a picture, as Parquet."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainables.checkpoint import write_whole


def write_predictions(path: Path, targets: np.ndarray, scores: np.ndarray) -> None:
    """`targets` (N,) int, `scores` (N, C) probabilities → columns index, target, prediction, score_0 … score_{C−1}."""
    columns = {
        "index": np.arange(len(targets)),
        "target": np.asarray(targets),
        "prediction": scores.argmax(1),
        **{f"score_{i}": scores[:, i] for i in range(scores.shape[1])},
    }
    write_whole(path, lambda temporary: pq.write_table(pa.table(columns), temporary))
