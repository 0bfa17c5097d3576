"""K trials trained as one program against the same trials one after the other, both ours.

A side is a training step of K trials, each with its own weights, pictures, augmentation, criterion, optimizer and
totals, in one process with one thread; on a GPU where there is one. `auto` is what `--fuse auto` chooses for 16 such
trials of 30 epochs. Where that is to train alone, both sides are one program: a ratio of 1 that nothing measured.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import photos
from benchmarks.kinds import NARROW, SIZE, opened, small_cnn, stage3
from benchmarks.measure import compare
from trainables.allocator import keep_freed
from trainables.config import TrialConfig, flatten, resolve
from trainables.together import Kind, Steps, best_width

LANES = (2, 4, 8, 16)
JUDGED = 8  # lanes that the figures are of
LONGEST = 2.0  # seconds of one side; more lanes than that takes are left out
TRIALS, EPOCHS = 16, 30
ALONE = "one after the other"
Cases = dict[int | str, dict[str, Any]]


def run(
    lanes: tuple[int, ...] = LANES, runs: int = 5, pictures: int = 256, nets: tuple[str, ...] = ()
) -> dict[str, Any]:
    """`pictures` are those that train; `nets` limits what is measured to some of the names in `kinds`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    keep_freed()
    try:
        with tempfile.TemporaryDirectory() as folder:
            every = kinds(Path(folder), pictures)
            found = {
                name: _measured(name, kind, lanes, runs) for name, kind in every.items() if name in (nets or every)
            }
    finally:
        torch.set_num_threads(threads)
    judged = {name: cases[JUDGED] for name, cases in found.items() if JUDGED in cases}
    first, *others = judged
    result = judged[first] | {f"ratio_{name.replace(' ', '_')}": judged[name]["ratio"] for name in others}
    autos = [cases["auto"] for cases in found.values()]
    rest = [case for cases in found.values() for case in cases.values() if case is not judged[first]]
    least = {"min_auto": min(case["ratio"] for case in autos)}
    return result | least | {"name": "fuse", "case": judged[first]["name"], "cases": rest}


def kinds(folder: Path, pictures: int) -> dict[str, Kind]:
    """By name, a kind of trial with its data; the first is the one that the benchmark's own ratio is of."""
    root = photos.gratings(folder / "pictures", {"train": pictures, "validation": 12, "test": 12}, SIZE)
    grey = photos.digits(folder / "digits", 8, 2 * pictures)
    narrow, face = small_cnn(root, NARROW, "bf16", SIZE, 3), stage3(photos.faces(folder / "faces", pictures // 2))
    tiny = {"training.batch_size": 32, "augmentation.flip": False}
    net = {"model.name": "resnet18"}
    configs = {
        "narrow": narrow,
        "narrow fp32": _changed(narrow, {"training.precision": "fp32"}),
        "stage3": face,
        "stage3 bf16": _changed(face, {"training.precision": "bf16"}),
        "tiny": small_cnn(grey, (16, 32), "fp32", 8, 1, **tiny),
        "tiny bf16": small_cnn(grey, (16, 32), "bf16", 8, 1, **tiny),
        "resnet18": _changed(narrow, net),
    }
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {name: Kind(config, opened(config, folder / "cache"), device) for name, config in configs.items()}


def _changed(config: TrialConfig, settings: dict[str, Any]) -> TrialConfig:
    return resolve(flatten(config), {"training.epochs": EPOCHS, **settings})


def _measured(name: str, kind: Kind, lanes: tuple[int, ...], runs: int) -> Cases:
    """By number of lanes, and for `auto`, how a step of all compares."""
    alone, known = Steps(kind, 1), dict[int, float]()
    chosen = best_width(kind, TRIALS, known)
    found: Cases = {}
    for number in lanes[:1] + tuple(n for n in lanes[1:] if n * known[1] < LONGEST):
        together = Steps(kind, number)
        found[number] = compare(f"{name}, {number} lanes", together, _times(alone, number), ALONE, runs)
    if chosen == 1:
        same = {"name": f"{name}, auto: alone", "ratio": 1.0, "runs": 0, "spread": [1.0, 1.0]}
        found["auto"] = {**found[lanes[0]], "median_ours": known[1], "median_peer": known[1], **same}
    else:
        picked = found.get(chosen) or compare("", Steps(kind, chosen), _times(alone, chosen), ALONE, runs)
        found["auto"] = picked | {"name": f"{name}, auto: {chosen} lanes"}
    return found


def _times(step: Steps, number: int) -> Callable[[], None]:
    def call() -> None:
        for _ in range(number):
            step()

    return call
