"""`export`: writes a trial's selected model as a .pt2 or .onnx file, kept only if its outputs equal the model's.

The file maps uint8 images to scores and landmarks, as evaluation does after decoding. It is in evaluation mode and
float32, takes batches of any size, and contains a JSON description.
"""

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.component import did_you_mean
from core.errors import PlanError
from core.files import scratch
from datasets.base import central_crop
from datasets.cache.cache import open_dataset
from engine.inference.trained_model import Evaluated, Loader, Trained
from trainables.training.learner import EVALUATION_PIXELS

SUFFIXES = (".pt2", ".onnx")
EXTRA = ("onnx", "onnxscript", "onnxruntime")  # the packages of the extra `export`
TOLERANCE = 1e-4  # greatest difference of an output, over the greatest value of that output
PICTURES = 64  # test images that are compared, at most
DESCRIPTION = "vision_ablation.json"
"""name of the description: an extra file in a .pt2, a metadata property in a .onnx"""

Arrays = tuple[npt.NDArray[np.float32], ...]


@dataclass(frozen=True)
class Check:
    """An exported file's outputs compared with the model's on test images."""

    pictures: int
    absolute: float
    """greatest difference of any output"""
    relative: float
    """greatest ratio of an output's difference to that output's greatest value"""
    other_classes: int
    """images whose predicted class differs"""

    @property
    def passed(self) -> bool:
        return self.relative <= TOLERANCE and not self.other_classes


def export(loader: Loader, trial: str, out: Path) -> tuple[Trained, Check]:
    """Write `out` if its outputs equal the model's; PlanError, and no file, if they differ or it cannot be written."""
    if faults := out_faults(out):
        raise PlanError(faults)
    trained = loader.load(trial)
    pictures = test_pictures(loader, trained)
    module = trained.module(exact=True)
    with scratch(f".{out.name}.", out.parent) as folder:
        made = folder / f"model{out.suffix}"
        with _quiet():
            write(module, trained, made)
            found = compare(module, made, pictures)
        if not found.passed:
            raise PlanError(
                f"--out {out}: not kept, as its outputs are not the model's: on {found.pictures} test pictures "
                f"they differ by up to {found.relative:.2g} of the greatest output (allowed: {TOLERANCE:g}), and "
                f"{found.other_classes} pictures are given another class"
            )
        made.replace(out)
    return trained, found


def out_faults(out: Path) -> list[str]:
    """Why a file of this name cannot be written."""
    if out.suffix not in SUFFIXES:
        return [f"--out {out}: the name must say the form by its end; {did_you_mean(out.suffix, SUFFIXES)}"]
    faults = [] if out.parent.is_dir() else [f"--out {out}: there is no folder {out.parent}"]
    missing = [name for name in EXTRA if find_spec(name) is None] if out.suffix == ".onnx" else []
    if missing:
        faults.append(
            f"--out {out}: ONNX needs {', '.join(missing)}, which the extra `export` installs: "
            "uv pip install -r setup.cfg --extra export -c constraints.txt"
        )
    return faults


def test_pictures(loader: Loader, trained: Trained) -> Tensor:
    """(N, C, H, W) uint8: first images of the test split, at most an evaluation batch or PICTURES, at least two."""
    prepared = loader.factory.data(trained.config)
    images = central_crop(open_dataset(trained.config.dataset, prepared.path).splits["test"].images, trained.info.crop)
    if images.shape[1:] != trained.info.input_shape:
        raise PlanError(
            f"{prepared.path}: the data set's pictures are now {images.shape[1:]}, those that the model was "
            f"trained on were {trained.info.input_shape}; name that data by --data-root"
        )
    n = min(PICTURES, max(2, EVALUATION_PIXELS // int(np.prod(trained.info.input_shape))), len(images))
    return torch.from_numpy(np.ascontiguousarray(images[:n]))


def description(trained: Trained, outputs: tuple[str, ...]) -> dict[str, Any]:
    """The file's inputs, outputs, classes and origin, as JSON values."""
    channels, height, width = trained.info.input_shape
    meanings = {
        "scores": "float32 (batch, classes): probabilities in the order of `classes`",
        "points": f"float32 (batch, {trained.info.n_points}, 2): x, y in pixels of the {height} × {width} picture",
    }
    return {
        "task": trained.config.loss.task,
        "input": {
            "name": "images",
            "type": "uint8",
            "shape": ["batch", channels, height, width],
            "means": f"{'grey' if channels == 1 else 'RGB'} pictures, values 0 to 255; the file normalises them itself",
        },
        "outputs": {name: meanings[name] for name in outputs},
        "classes": list(trained.info.classes) if "scores" in outputs else [],
        "trial": trained.trial,
        "cell": trained.start["cell"],
        "seed": trained.start["seed"],
        "epoch": trained.epoch,
        "data": {"name": trained.info.name, "fingerprint": trained.info.fingerprint},
    }


def write(module: Evaluated, trained: Trained, file: Path) -> None:
    """Write the module as a torch.export program or as ONNX, by the file's suffix, for batches of any size."""
    example = torch.zeros(2, *trained.info.input_shape, dtype=torch.uint8)
    dynamic = {"images": {0: torch.export.Dim("batch", min=1)}}
    text = json.dumps(description(trained, module.outputs), ensure_ascii=False)
    if file.suffix == ".pt2":
        program = torch.export.export(module, (example,), dynamic_shapes=dynamic)
        torch.export.save(program, file, extra_files={DESCRIPTION: text})
        return
    made = torch.onnx.export(
        module,
        (example,),
        dynamo=True,
        dynamic_shapes=dynamic,
        input_names=["images"],
        output_names=list(module.outputs),
        verbose=False,
    )
    assert made is not None
    made.model.metadata_props[DESCRIPTION] = text
    made.save(file, external_data=False)


def compare(module: Evaluated, file: Path, pictures: Tensor) -> Check:
    """Compare the file, loaded again, with the module: on one image alone, and on all others as one batch."""
    wanted, given = [], []
    run = loaded(file)
    for part in (pictures[:1], pictures[1:]):
        if len(part):
            with torch.no_grad():
                wanted.append(tuple(output.numpy() for output in module(part)))
            given.append(run(part))
    absolute = relative = 0.0
    other_classes = 0
    for name, ours, theirs in zip(module.outputs, _joined(wanted), _joined(given), strict=True):
        finite = np.isfinite(ours).all() and np.isfinite(theirs).all()
        difference = float(np.abs(ours - theirs).max()) if finite else float("inf")
        absolute = max(absolute, difference)
        relative = max(relative, difference / max(float(np.abs(ours).max()), 1e-12) if finite else float("inf"))
        if name == "scores":
            other_classes = int((ours.argmax(1) != theirs.argmax(1)).sum())
    return Check(len(pictures), absolute, relative, other_classes)


def _joined(batches: list[Arrays]) -> Arrays:
    return tuple(np.concatenate(parts) for parts in zip(*batches, strict=True))


def loaded(file: Path) -> Any:
    """A function from images (B, C, H, W) uint8 to the outputs of an exported file, as arrays."""
    if file.suffix == ".pt2":
        program = torch.export.load(file).module()

        def run(images: Tensor) -> Arrays:
            with torch.no_grad():
                return tuple(output.numpy() for output in program(images))

        return run
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda images: tuple(session.run(None, {"images": images.numpy()}))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the warnings and log of torch's exporters about their internals; errors are still raised."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
