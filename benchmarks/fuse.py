"""K trials trained side by side against the same trials one after the other, both ours.

A side is the first steps of an epoch of K trials, each with its own weights, pictures, augmentation, criterion,
optimizer and totals, in one process with one thread; on a GPU where there is one, by each kernel that it has. `auto` is
what `--fuse auto` chooses for 16 such trials of 30 epochs. Where that is to train alone, both sides are one program: a
ratio of 1 that nothing measured. The notes say how many pictures a second that is, and which share of the rate at which
the same device multiplies large matrices of the same precision.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import photos
from benchmarks.kinds import NARROW, SIZE, WIDE, opened, small_cnn, stage3
from benchmarks.measure import compare, one_thread, seconds
from trainables.config import TrialConfig, flatten, resolve
from trainables.fused.autotune import (
    ExecutionMode,
    Kernel,
    Measurements,
    Probe,
    TrialKind,
    best_mode,
    seconds_a_step,
    whole_batches,
)
from trainables.training.malloc import keep_freed

LANES = (2, 4, 8, 16)
JUDGED = 8  # lanes that the figures are of
LONGEST = 2.0  # seconds of one side; more lanes than that takes are left out
TRIALS, EPOCHS = 16, 30
ALONE = "one after the other"
SQUARE = 2048  # rows and columns of the matrices whose product is the device's rate
Cases = dict[int | str, dict[str, Any]]


def run(
    lanes: tuple[int, ...] = LANES, runs: int = 5, pictures: int = 256, nets: tuple[str, ...] = ()
) -> dict[str, Any]:
    """`pictures` are those that train; `nets` limits what is measured to some of the names in `kinds`."""
    keep_freed()
    with one_thread(), tempfile.TemporaryDirectory() as folder:
        every = kinds(Path(folder), pictures)
        found = {name: _measured(name, kind, lanes, runs) for name, kind in every.items() if name in (nets or every)}
    judged = {name: cases[JUDGED] for name, cases in found.items() if JUDGED in cases}
    first, *others = judged
    result = judged[first] | {f"ratio_{name.replace(' ', '_')}": judged[name]["ratio"] for name in others}
    autos = {name: cases["auto"] for name, cases in found.items()}
    rest = [case for cases in found.values() for case in cases.values() if case is not judged[first]]
    least = {"min_auto": min(case["ratio"] for case in autos.values())}
    speeds = {"pictures_a_second": {name: case["pictures_a_second"] for name, case in autos.items()}}
    notes = [f"{name}: {case['speed']}" for name, case in autos.items()]
    return result | least | speeds | {"name": "fuse", "case": judged[first]["name"], "cases": rest, "notes": notes}


def kinds(folder: Path, pictures: int) -> dict[str, TrialKind]:
    """By name, a kind of trial with its data; the first is the one that the benchmark's own ratio is of."""
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
    return resolve(flatten(config), {"training.epochs": EPOCHS, **settings})


def _measured(name: str, kind: TrialKind, lanes: tuple[int, ...], runs: int) -> Cases:
    """By number of lanes, of the quicker kernel where there are several, and for `auto`, how it compares."""
    measured = Measurements()
    chosen, alone = best_mode(kind, TRIALS, "auto", measured), best_mode(kind, TRIALS, 1, measured)
    graphs = alone.kernel == "graphs"
    kernels: tuple[Kernel, ...] = ("graphs", "grouped") if kind.device.type == "cuda" else ("grouped",)
    one, found = Probe(kind, alone), Cases()
    step = measured.seconds.get(alone) or seconds_a_step(kind, alone)
    batches = _batches(kind, step)
    for mode in (ExecutionMode(number, kernel) for kernel in kernels for number in lanes):
        if mode.lanes > lanes[0] and mode.lanes * batches * step > LONGEST:
            continue
        case = compare(f"{name}, {mode.lanes} lanes", *_sides(kind, mode, one, batches), ALONE, runs)
        case["name"] += f", {mode.kernel}" if len(kernels) > 1 else ""
        if mode == chosen:
            found["auto"] = case | {"name": f"{name}, auto: {mode.lanes} lanes, {mode.kernel}"}
        if mode.lanes not in found or case["ratio"] > found[mode.lanes]["ratio"]:
            found[mode.lanes] = case
    if graphs:
        case = compare(
            f"{name}, alone, as a graph", *_sides(kind, alone, Probe(kind, ExecutionMode()), batches), "eager", runs
        )
        found["eager"] = case
    if chosen == alone:
        same = {"name": f"{name}, auto: alone", "ratio": 1.0, "runs": 0, "spread": [1.0, 1.0]}
        took = seconds(lambda: one(batches))
        found["auto"] = {**found[lanes[0]], "median_ours": took, "median_peer": took, **same}
    elif "auto" not in found:
        case = compare(f"{name}, auto: {chosen.lanes} lanes", *_sides(kind, chosen, one, batches), ALONE, runs)
        found["auto"] = case
    return found | {"auto": found["auto"] | _speed(kind, chosen.lanes * batches, found["auto"]["median_ours"])}


def _batches(kind: TrialKind, step: float) -> int:
    """Steps of a side: those of an epoch, fewer where one takes long."""
    return max(1, min(whole_batches(kind), int(0.2 / step)))


def _sides(
    kind: TrialKind, mode: ExecutionMode, one: Probe, batches: int
) -> tuple[Callable[[], object], Callable[[], object]]:
    together = Probe(kind, mode)
    return lambda: together(batches), lambda: [one(batches) for _ in range(mode.lanes)]


def _speed(kind: TrialKind, batches: int, took: float) -> dict[str, Any]:
    """Pictures a second, and floating-point operations a second over the device's matrix product."""
    pictures = batches * kind.config.training.batch_size / took
    with FlopCounterMode(display=False) as counter:
        Probe(kind, ExecutionMode())(1)
    operations = counter.get_total_flops() / kind.config.training.batch_size * pictures
    precision = torch.bfloat16 if kind.config.training.precision == "bf16" else torch.float32
    matrix = torch.randn(SQUARE, SQUARE, device=kind.device).to(precision)

    def product() -> float:
        return float((matrix @ matrix)[0, 0])

    product()
    rate = 2 * SQUARE**3 / min(seconds(product) for _ in range(5))
    said = f"{pictures:,.0f} pictures a second, {operations / rate:.0%} of {rate / 1e9:,.0f} GFLOP/s"
    return {"pictures_a_second": pictures, "matmul_share": operations / rate, "speed": said}
