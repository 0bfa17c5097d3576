"""What trials leave beside their records, for small made runs: predictions, features, diagnostics, pictures."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from tests.analysis import runs

CLASSES = ["cat", "dog", "eel"]
ACCURACY = {"baseline": 0.4, "loss=a": 0.7}  # of the two cells of `compared`, before what a guess hits


def artifacts(run: Path, cell: str, seed: int) -> Path:
    folder = run / "artifacts" / runs.trial_id(cell, seed)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def compared(path: Path, seeds: int) -> Path:
    """A run of two cells, baseline and loss=a, on three classes, without predictions."""
    outcomes = {cell: [accuracy] * seeds for cell, accuracy in ACCURACY.items()}
    return runs.write_outcomes(path, runs.study(outcomes, range(seeds), data={"classes": CLASSES}), outcomes)


def predict(run: Path, seeds: int, examples: int) -> dict[tuple[str, int], dict[str, np.ndarray]]:
    """Give both cells of `compared` predictions of the same examples, in another order each; the columns by cell and
    seed in the order of the examples, with scores whose largest is the prediction's."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, 3, examples)
    made = {}
    for seed in range(seeds):
        for cell, accuracy in ACCURACY.items():
            prediction = np.where(rng.uniform(size=examples) < accuracy, target, rng.integers(0, 3, examples))
            scores = rng.uniform(0, 0.5, (examples, 3))
            scores[np.arange(examples), prediction] = rng.uniform(0.5, 1, examples)
            columns = {f"score_{i}": scores[:, i].astype("float32") for i in range(3)}
            made[cell, seed] = {"target": target, "prediction": prediction} | columns
            predictions(run, cell, seed, made[cell, seed], rng.permutation(examples))
    return made


def predictions(run: Path, cell: str, seed: int, columns: dict[str, Any], order: np.ndarray | None = None) -> None:
    folder = run / "predictions"
    folder.mkdir(exist_ok=True)
    table = pd.DataFrame({"index": range(len(next(iter(columns.values())))), **columns})
    table = table if order is None else table.iloc[order]
    table.to_parquet(folder / f"{runs.trial_id(cell, seed)}.parquet", index=False)


def features(run: Path, cell: str, seed: int, values: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> Path:
    """`values` (N, D) and `labels` (N,) by split."""
    rows = [
        {"split": split, "index": index, "label": int(label), "feature": row.astype("float32")}
        for split, part in values.items()
        for index, (row, label) in enumerate(zip(part, labels[split], strict=True))
    ]
    path = artifacts(run, cell, seed) / "features.parquet"
    pd.DataFrame(rows).to_parquet(path, index=False)
    return path


def diagnostics(run: Path, cell: str, seed: int, rows: list[dict[str, Any]]) -> None:
    own = {"mean": 0.0, "std": 1.0, "dead": 0.0, "gradient_norm": 1.0, "weight_norm": 1.0, "update_ratio": 0.01}
    table = pd.DataFrame([own | row for row in rows])
    table.to_parquet(artifacts(run, cell, seed) / "diagnostics.parquet", index=False)


def landmarks(run: Path, cell: str, seed: int, true: np.ndarray, found: np.ndarray) -> None:
    """(N, L, 2) each, in pixels."""
    columns: dict[str, Any] = {"index": np.arange(len(true))}
    for i in range(true.shape[1]):
        for place, axis in enumerate("xy"):
            columns[f"true_{axis}{i}"] = true[:, i, place].astype("float32")
            columns[f"{axis}{i}"] = found[:, i, place].astype("float32")
    pd.DataFrame(columns).to_parquet(artifacts(run, cell, seed) / "landmarks.parquet", index=False)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.astype("uint8")).save(file, "PNG")
    return file.getvalue()


def thumbnail(run: Path, cell: str, seed: int, index: int, pixels: np.ndarray) -> Path:
    path = artifacts(run, cell, seed) / "images" / f"{index}.png"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(png(pixels))
    return path
