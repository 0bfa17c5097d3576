"""What a finished trial leaves beside its rows, as Parquet: test predictions, landmarks, features, diagnostics.

Images, which some trials leave too, are drawn by `trainables.trial.image_artifacts`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from core.files import write_atomically
from trainables.trial.image_artifacts import draw

if TYPE_CHECKING:
    from datasets.base import Dataset
    from trainables.training.learner import Learner

FEATURE_ROWS = 500  # of each split: enough for an embedding, small beside a checkpoint


def write_outputs(
    learner: "Learner", run: Path, trial: str, diagnostics: list[dict[str, Any]], drawn: "Dataset | None" = None
) -> None:
    """Files of one trial under the run directory `run`, from the learner's present (selected) weights.

    Thumbnails and feature maps are drawn of the images of `drawn`, which is the learner's data set, if it is given.
    """
    found = learner.predictions("test")
    artifacts = run / "artifacts" / trial
    if "scores" in found:
        _write(run / "predictions" / f"{trial}.parquet", prediction_columns(found["labels"], found["scores"]))
    if "points" in found:
        _write(artifacts / "landmarks.parquet", landmark_columns(found))
        if "scores" not in found:
            _write(run / "predictions" / f"{trial}.parquet", landmark_columns(found))
    _write(artifacts / "features.parquet", feature_columns(learner))
    write_diagnostics(artifacts, diagnostics)
    if drawn is not None:
        draw(learner, drawn, found, artifacts)


def write_diagnostics(artifacts: Path, rows: list[dict[str, Any]]) -> None:
    """A row a layer and epoch, where any was recorded; of a diverged trial all that there is to see."""
    if rows:
        _write(artifacts / "diagnostics.parquet", {name: [row[name] for row in rows] for name in rows[0]})


def prediction_columns(labels: Tensor, scores: Tensor) -> dict[str, Any]:
    """index, target, prediction, score_0 … score_{C−1}: one row a test image; `scores` (N, C) probabilities."""
    return {
        "index": range(len(labels)),
        "target": labels.numpy(),
        "prediction": scores.argmax(1).numpy(),
        **{f"score_{i}": scores[:, i].numpy() for i in range(scores.shape[1])},
    }


def landmark_columns(found: dict[str, Tensor]) -> dict[str, Any]:
    """index, then true_x0, true_y0, x0, y0, …: one row a test image with true landmarks, in pixels of the crop."""
    present = found["true_points"].isfinite().all(2).all(1)
    columns: dict[str, Any] = {"index": torch.arange(len(present))[present].numpy()}
    for i in range(found["points"].shape[1]):
        for name, points in (("true_", found["true_points"]), ("", found["points"])):
            columns[f"{name}x{i}"], columns[f"{name}y{i}"] = points[present, i].numpy().T
    return columns


@torch.no_grad()
def feature_columns(learner: "Learner") -> dict[str, Any]:
    """split, index, label, feature: what enters the last layer, for the first images of each split."""
    columns: dict[str, list[Any]] = {"split": [], "index": [], "label": [], "feature": []}
    kept: list[Tensor] = []
    last = learner.evaluated.get_submodule(learner.config.model.output_layers[0])
    handle = last.register_forward_pre_hook(_keeper(kept))
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


def _keeper(kept: list[Tensor]) -> Any:
    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        value = inputs[0].detach()
        kept.append(value.mean((2, 3)) if value.ndim == 4 else value)

    return keep


def _write(path: Path, columns: dict[str, Any]) -> None:
    write_atomically(path, lambda temporary: pq.write_table(pa.table(columns), temporary))
