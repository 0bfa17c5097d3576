"""Writes a finished trial's Parquet files: test predictions, landmarks, features, diagnostics.

Some trials leave images too, which `trainables.trial.image_artifacts` draws.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from core.files import inside, known_digest, write_atomically
from datasets.base import Dataset
from trainables.training.learner import Learner
from trainables.trial.image_artifacts import draw

CLASSES = ("target", "prediction")  # columns that hold a class's number
EPOCHS_LOG = "epochs.log"  # which the driver writes
FEATURE_ROWS = 500  # of each split: enough for an embedding, small beside a checkpoint


def write_outputs(
    learner: Learner, data: Dataset, run: Path, trial: str, diagnostics: list[dict[str, Any]], pictures: bool = False
) -> None:
    """Write a trial's files under the run directory `run`, from the learner's present (selected) weights.

    `data` is the learner's data set; with `pictures`, thumbnails and feature maps are drawn too.
    """
    found = learner.predictions("test")
    artifacts, predictions = inside(run, "artifacts", trial), inside(run, "predictions", f"{trial}.parquet")
    if "scores" in found:
        columns = prediction_columns(found["labels"], found["scores"])
        _write(predictions, columns | name_columns(data, columns))
    if "points" in found:
        columns = landmark_columns(found)
        _write(artifacts / "landmarks.parquet", columns)
        if "scores" not in found:
            _write(predictions, columns | name_columns(data, columns))
    if heads := learner.config.model.heads(learner.evaluated):  # a network of the user's own may have no such layer
        _write(artifacts / "features.parquet", feature_columns(learner, heads[0]))
    write_diagnostics(artifacts, diagnostics)
    if pictures:
        draw(learner, data, found, artifacts)


def write_diagnostics(artifacts: Path, rows: list[dict[str, Any]]) -> None:
    """Writes the diagnostics, one row per layer and epoch, if any were recorded."""
    if rows:
        _write(artifacts / "diagnostics.parquet", {name: [row[name] for row in rows] for name in rows[0]})


def written(run: Path, trial: str, models: bool = True) -> dict[str, str]:
    """The digest of each file that a trial has left so far, by its name from the run's folder; with its checkpoints, if
    `models`."""
    found = [run / "predictions" / f"{trial}.parquet", *sorted((run / "artifacts" / trial).rglob("*"))]
    found += [run / "checkpoints" / trial / name for name in ("best.pt", "last.pt")] if models else []
    kept = (file for file in found if file.is_file() and not file.name.startswith(".") and file.name != EPOCHS_LOG)
    return {file.relative_to(run).as_posix(): known_digest(file) for file in kept}


def prediction_columns(labels: Tensor, scores: Tensor) -> dict[str, Any]:
    """index, target, prediction, score_0 … score_{C−1}: one row per test image; `scores` (N, C) probabilities."""
    return {
        "index": range(len(labels)),
        "target": labels.numpy(),
        "prediction": scores.argmax(1).numpy(),
        **{f"score_{i}": scores[:, i].numpy() for i in range(scores.shape[1])},
    }


def name_columns(data: Dataset, columns: dict[str, Any]) -> dict[str, Any]:
    """image (path in the data set) of each `index`; target_name, prediction_name of a classifier's classes."""
    paths = list(data.splits["test"].paths)
    names = {f"{key}_name": [data.info.classes[i] for i in columns[key]] for key in CLASSES if key in columns}
    return {"image": [paths[i] for i in columns["index"]], **names}


def landmark_columns(found: dict[str, Tensor]) -> dict[str, Any]:
    """index, then true_x0, true_y0, x0, y0, …: one row per test image with true landmarks, in pixels of the crop."""
    present = found["true_points"].isfinite().all(2).all(1)
    columns: dict[str, Any] = {"index": torch.arange(len(present))[present].numpy()}
    for i in range(found["points"].shape[1]):
        for name, points in (("true_", found["true_points"]), ("", found["points"])):
            columns[f"{name}x{i}"], columns[f"{name}y{i}"] = points[present, i].numpy().T
    return columns


@torch.no_grad()
def feature_columns(learner: Learner, head: str) -> dict[str, Any]:
    """split, index, label, feature (the input of the layer `head`): one row per image, the first of each split."""
    columns: dict[str, list[Any]] = {"split": [], "index": [], "label": [], "feature": []}
    kept: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        kept.append(inputs[0].mean((2, 3)) if inputs[0].ndim == 4 else inputs[0].flatten(1))

    network = learner.evaluated
    handle = network.get_submodule(head).register_forward_pre_hook(keep)
    for split in learner.data.splits:
        kept.clear()
        labels = torch.cat([batch.labels for _, batch in learner.outputs(split, FEATURE_ROWS)]).cpu()
        features = torch.cat(kept).float().cpu()
        columns["split"] += [split] * len(labels)
        columns["index"] += range(len(labels))
        columns["label"] += labels.tolist()
        columns["feature"] += list(features.numpy())
    handle.remove()
    return columns


def _write(path: Path, columns: dict[str, Any]) -> None:
    write_atomically(path, lambda temporary: pq.write_table(pa.table(columns), temporary))
