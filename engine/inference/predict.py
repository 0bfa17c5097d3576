"""`predict`: runs a trial's selected model on the user's images, decoded and normalised like its data set's.

Every image is decoded once before the first prediction, so that all unreadable ones are refused together, and again
batch by batch, so that only the predictions are kept in memory.
"""

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt
import torch

from core.aside import thread_pool
from core.errors import PlanError
from core.files import write_text
from core.user_code.guard import printed_apart
from datasets.base import DataError, central_crop
from datasets.sources.image_decoding import photo_size, remarks, sentences
from engine.inference.named_images import Asked, Prediction, Values, images_named
from engine.inference.trained_model import Loader, Trained
from trainables.training.learner import EVALUATION_PIXELS

NAMES = ("scores", "points")


def unreadable(trained: Trained, asked: Sequence[Asked]) -> tuple[list[str], list[str]]:
    """(a fault for every image that cannot be decoded or has an invalid box, remarks on others)."""

    def fault(item: Asked) -> list[str]:
        try:
            _decoded(trained, item)
        except DataError as error:
            return error.faults
        return []

    with remarks() as told, thread_pool() as pool:
        faults = [text for found in pool.map(fault, asked) for text in found]
    return faults, sentences(told)


def _decoded(trained: Trained, asked: Asked) -> npt.NDArray[np.uint8]:
    """(C, H, W) uint8, the network's input before normalisation."""
    if asked.box and not (asked.box[0] < asked.box[2] and asked.box[1] < asked.box[3]):
        raise DataError(f"{asked.name}: an empty box; x1 < x2 and y1 < y2 are wanted")
    record = trained.config.dataset.read_file(asked.file, trained.info.image_shape, asked.box)
    return central_crop(record.image, trained.info.crop)


@torch.no_grad()
def predictions(trained: Trained, asked: Sequence[Asked]) -> Iterator[Prediction]:
    """One prediction per image, in order; DataError if an image was changed since `unreadable` checked it."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module = trained.module().to(device)
    size = max(1, EVALUATION_PIXELS // int(np.prod(trained.info.input_shape)))
    with thread_pool() as pool:
        for start in range(0, len(asked), size):
            part = asked[start : start + size]
            with remarks():  # which `unreadable` has told
                images = np.stack(list(pool.map(lambda item: _decoded(trained, item), part)))
            outputs = module(torch.from_numpy(images).to(device))
            found = {name: values.cpu().numpy() for name, values in zip(module.outputs, outputs, strict=True)}
            for i, item in enumerate(part):
                scores, points = (found[name][i].astype(np.float64) if name in found else None for name in NAMES)
                yield Prediction(item, scores, None if points is None else _in_photo(points, item, images.shape))


def _in_photo(points: Values, asked: Asked, shape: tuple[int, ...]) -> Values:
    """Landmarks in pixels of the photo, from those in pixels of the network's input."""
    left, top, right, bottom = asked.box or (0.0, 0.0, *map(float, photo_size(asked.file)))
    height, width = shape[-2:]
    return points * ((right - left) / width, (bottom - top) / height) + (left, top)


def header(trained: Trained) -> list[str]:
    """file; prediction, score, score_CLASS … of a classifier; x1, y1, x2, … of landmarks."""
    module, columns = trained.module(), ["file"]
    if module.classifies:
        columns += ["prediction", "score", *(f"score_{name}" for name in trained.info.classes)]
    if module.landmarks:
        columns += [f"{axis}{i}" for i in range(1, trained.info.n_points + 1) for axis in "xy"]
    return columns


def write_csv(stream: TextIO, trained: Trained, found: Iterable[Prediction]) -> list[Prediction]:
    """Write one line per image, numbers with the nine digits that restore a float32; returns the predictions."""
    writer, written = csv.writer(stream, lineterminator="\n"), []
    writer.writerow(header(trained))
    for prediction in found:
        cells = [prediction.asked.name]
        if prediction.scores is not None:
            best = prediction.best()
            values = (prediction.scores[best], *prediction.scores)
            cells += [trained.info.classes[best], *(f"{value:.9g}" for value in values)]
        if prediction.points is not None:
            cells += [f"{value:.9g}" for value in prediction.points.reshape(-1)]
        writer.writerow(cells)
        written.append(prediction)
    return written


def predict_all(
    loader: Loader, trial: str, arguments: Sequence[str], out: Path | None, draw: Path | None
) -> Iterator[str]:
    """Run the command: writes the CSV to `out` or standard output, drawings to `draw`; yields messages for the user."""
    output = sys.stdout
    with printed_apart():
        (asked, faults, left_out), trained = images_named(arguments), loader.load(trial)
    if out is not None and not out.parent.is_dir():
        faults.append(f"--out {out}: there is no folder {out.parent}")
    unread, told = unreadable(trained, asked)
    if faults := faults + unread:
        raise PlanError(faults)
    yield from (*left_out, *told)
    yield f"trial {trained.trial}, cell {trained.start['cell']}, epoch {trained.epoch}; {len(asked)} pictures"
    found = predictions(trained, asked)
    if out is None:
        with printed_apart():
            written = write_csv(output, trained, found)
    else:
        text = io.StringIO()
        written = write_csv(text, trained, found)
        write_text(out, text.getvalue())
        yield f"written: {out.resolve()}"
    if draw is not None:
        from engine.inference.prediction_images import draw_all

        yield f"drawn: {len(draw_all(written, trained.info.classes, draw))} pictures in {draw.resolve()}"
