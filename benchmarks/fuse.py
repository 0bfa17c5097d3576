"""K trials trained side by side (`--fuse K`) against the same trials one after the other, both ours.

A side runs the first steps of an epoch of K trials, each with its own weights, images, augmentation, criterion,
optimizer and totals, in one process with one thread; on a GPU with each kernel.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks import photos
from benchmarks.kinds import NARROW, SIZE, WIDE, opened, small_cnn, stage3
from benchmarks.measure import compare, one_thread
from trainables.config import TrialConfig, flatten, resolve
from trainables.fused.autotune import ExecutionMode, Kernel, Probe, TrialKind, seconds_a_step, whole_batches
from trainables.training.malloc import keep_freed

LANES = (2, 4, 8, 16)
JUDGED = 8  # lanes for which the ratios are reported
LONGEST = 2.0  # seconds of one side; numbers of lanes that take longer are left out
ALONE = "one after the other"
Cases = dict[int, dict[str, Any]]


def run(
    lanes: tuple[int, ...] = LANES, runs: int = 5, pictures: int = 256, nets: tuple[str, ...] = ()
) -> dict[str, Any]:
    """`pictures` is the number of training images; `nets` limits the benchmark to some names of `kinds`."""
    keep_freed()
    with one_thread(), tempfile.TemporaryDirectory() as folder:
        every = kinds(Path(folder), pictures)
        found = {name: _measured(name, kind, lanes, runs) for name, kind in every.items() if name in (nets or every)}
    judged = {name: cases[JUDGED] for name, cases in found.items() if JUDGED in cases}
    first, *others = judged
    ratios = {f"ratio_{name.replace(' ', '_')}": judged[name]["ratio"] for name in others}
    rest = [case for cases in found.values() for case in cases.values() if case is not judged[first]]
    return judged[first] | ratios | {"name": "fuse", "case": judged[first]["name"], "cases": rest}


def kinds(folder: Path, pictures: int) -> dict[str, TrialKind]:
    """The kinds of trials with their data, by name; the benchmark's main ratio is that of the first."""
    root = photos.gratings(folder / "pictures", {"train": pictures, "validation": 12, "test": 12}, SIZE)
    grey = photos.digits(folder / "digits", 8, 2 * pictures)
    narrow, face = small_cnn(root, NARROW, "bf16", SIZE, 3), stage3(photos.faces(folder / "faces", pictures // 2))
    tiny = {"training.batch_size": 32, "augmentation.flip": False}
    configs = {
        "narrow": narrow,
        "narrow fp32": _changed(narrow, {"training.precision": "fp32"}),
        "stage3": face,
        "stage3 bf16": _changed(face, {"training.precision": "bf16"}),
        "tiny": small_cnn(grey, (16, 32), "fp32", 8, 1, **tiny),
        "tiny bf16": small_cnn(grey, (16, 32), "bf16", 8, 1, **tiny),
        "small": _changed(narrow, {"model.channels": list(WIDE)}),
        "resnet18": _changed(narrow, {"model.name": "resnet18"}),
    }
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {name: TrialKind(config, opened(config, folder / "cache"), device) for name, config in configs.items()}


def _changed(config: TrialConfig, settings: dict[str, Any]) -> TrialConfig:
    return resolve(flatten(config), settings)


def _measured(name: str, kind: TrialKind, lanes: tuple[int, ...], runs: int) -> Cases:
    """The comparison for each number of lanes, with the faster kernel where there are two."""
    kernels: tuple[Kernel, ...] = ("graphs", "grouped") if kind.device.type == "cuda" else ("grouped",)
    one, step, found = Probe(kind, ExecutionMode()), seconds_a_step(kind, ExecutionMode()), Cases()
    batches = max(1, min(whole_batches(kind), int(0.2 / step)))  # at most those of an epoch, or of about 0.2 s
    for mode in (ExecutionMode(number, kernel) for kernel in kernels for number in lanes):
        if mode.lanes > lanes[0] and mode.lanes * batches * step > LONGEST:
            continue
        together = Probe(kind, mode)

        def apart(lanes: int = mode.lanes) -> None:
            for _ in range(lanes):
                one(batches)

        case = compare(f"{name}, {mode.lanes} lanes", lambda probe=together: probe(batches), apart, ALONE, runs)
        case["images_a_second"] = mode.lanes * batches * kind.config.training.batch_size / case["median_ours"]
        if mode.lanes not in found or case["ratio"] > found[mode.lanes]["ratio"]:
            found[mode.lanes] = case
    return found
