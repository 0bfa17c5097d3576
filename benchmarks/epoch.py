"""One epoch from photos on disk to metrics of training and validation, ours against the textbook's pipeline.

Both have one thread, the same files, splits, network, initial weights, optimizer, batch size and augmentation, and end
with the metrics of both splits, each in a process of its own. Ours is what a trial runs: the data set opened from the
cache, then `Learner`. The time of filling that cache, once a machine, is given as a note and not included. Small images
lie on disk in the size that the network takes, so that the textbook need not decode larger ones. Faces are cut out of
photos of 640 × 480.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from benchmarks import photos, textbook
from benchmarks.kinds import NARROW, SIZE, WIDE, opened, small_cnn, stage3
from benchmarks.measure import apart, compare, one_thread
from datasets.cache.cache import prepare
from trainables.config import TrialConfig
from trainables.models.build import build_network
from trainables.training.learner import Learner
from trainables.training.malloc import keep_freed

CPU = torch.device("cpu")
Epoch = Callable[[], float]
"""trains an epoch and returns the validation accuracy"""
Sides = tuple[Epoch, Epoch]
"""ours and the textbook's, from the same weights"""


def run(
    pictures: int = 1024, face_photos: int = 128, runs: int = 7, seeds: int = 5, epochs: int = 8, digits: int = 1797
) -> dict[str, Any]:
    """`pictures`: training images of the small networks (and a quarter as many for validation). `seeds`, `epochs` and
    `digits` (images) are those of the comparison of accuracies."""
    with one_thread(), tempfile.TemporaryDirectory() as folder:
        result = _timed(Path(folder), pictures, face_photos, runs)
        result["notes"] += _accuracies(Path(folder), seeds, epochs, digits)
        return result


def _timed(folder: Path, pictures: int, face_photos: int, runs: int) -> dict[str, Any]:
    def compared(title: str, peer: str, make: Callable[..., Sides], *given: Any) -> dict[str, Any]:
        with apart(_side, 0, make, *given) as ours, apart(_side, 1, make, *given) as theirs:
            return compare(title, ours, theirs, peer, runs)

    splits = {"train": pictures, "validation": pictures // 4, "test": 12}
    root, cache = photos.gratings(folder / "pictures", splits, SIZE), folder / "cache"
    peer = f"PIL + torchvision + DataLoader in fp32 on {pictures} JPEG files of {SIZE} × {SIZE}"
    cases: dict[str, dict[str, Any]] = {}
    notes: list[str] = []
    for name, channels, precision in (("bf16", WIDE, "bf16"), ("fp32", WIDE, "fp32"), ("narrow", NARROW, "fp32")):
        config = small_cnn(root, channels, precision, SIZE, 3)
        notes = notes or [_prepared(config, cache)]
        cases[name] = compared(_title(channels, precision), peer, _classifiers, config, cache, root)
    config = stage3(photos.faces(folder / "faces", face_photos))
    note = _prepared(config, cache)
    peer = f"PIL + torchvision + DataLoader on {face_photos} JPEG photos of {photos.PHOTO[0]} × {photos.PHOTO[1]}"
    cases["stage3"] = compared("stage 3 on crops of 112 × 112, fp32", peer, _faces, config, cache)
    result = cases["bf16"] | {"name": "epoch", "case": cases["bf16"]["name"]}
    result |= {f"ratio_{name}": case["ratio"] for name, case in cases.items() if name != "bf16"}
    result["cases"] = [cases[name] for name in ("fp32", "narrow", "stage3")]
    result["notes"] = [*notes, note]
    return result


def _title(channels: Sequence[int], precision: str) -> str:
    return f"CNN {'-'.join(map(str, channels))} at {SIZE} × {SIZE}, {precision}"


def _side(side: int, make: Callable[..., Sides], *given: Any) -> Epoch:
    """One epoch's callable, ours (0) or the textbook's (1), with that side's process settings."""
    if side == 0:
        keep_freed()
    return make(*given)[side]


def _classifiers(config: TrialConfig, cache: Path, root: Path, seed: int = 0) -> Sides:
    torch.manual_seed(seed)  # the textbook's loader and transforms draw from torch's own generator
    dataset = opened(config, cache)
    learner = Learner(config, dataset, seed, CPU)

    def ours() -> float:
        learner.train_epoch()
        return learner.evaluate("val")["accuracy"]

    info, batch, size = dataset.info, config.training.batch_size, dataset.info.image_shape[-1]
    steps = [textbook.FLIP] * config.augmentation.flip + [textbook.rotation(config.augmentation.rotation)]
    grey, stats = info.image_shape[0] == 1, (info.mean, info.std)
    train = textbook.loader(root / "train", size, stats, batch, steps, grey)
    validate = textbook.loader(root / "validation", size, stats, batch, (), grey)
    network = textbook.plain(build_network(config, info, seed))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)

    def theirs() -> float:
        textbook.epoch(network, train, optimizer)
        return textbook.epoch(network, validate)[1]

    return ours, theirs


def _prepared(config: TrialConfig, cache: Path) -> str:
    """Fills the cache as a driver does; returns a note on the time it took."""
    began = time.perf_counter()
    prepare(config.dataset, None, cache)
    took = time.perf_counter() - began
    counts = ", ".join(f"{len(part)} {name}" for name, part in opened(config, cache).splits.items())
    return f"decoding {config.dataset.name} ({counts}) into the cache: {took:.2f} s, once a machine"


def _faces(config: TrialConfig, cache: Path) -> Sides:
    """Both sides for faces, without augmentation, as in the studies of faces."""
    dataset = opened(config, cache)
    info, source = dataset.info, config.dataset.source(None)
    learner = Learner(config, dataset, 0, CPU)

    def ours() -> float:
        learner.train_epoch()
        return learner.evaluate("val")["accuracy"]

    def batches(split: str) -> DataLoader:
        rows = [row for row in source.rows if row.split == split]
        crops = textbook.Crops(rows, source.files, info.n_points, info.image_shape[-1], (info.mean, info.std))
        return DataLoader(crops, config.training.batch_size, shuffle=split == "train", num_workers=0)

    train, validate, network = batches("train"), batches("val"), textbook.plain(build_network(config, info, 0))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)

    def theirs() -> float:
        textbook.face_epoch(network, train, optimizer)
        return textbook.face_epoch(network, validate, None)["accuracy"]

    return ours, theirs


def _accuracies(folder: Path, seeds: int, epochs: int, digits: int) -> list[str]:
    """Notes that compare the validation accuracy of both sides after `epochs`, paired by seed."""
    from scipy.stats import ttest_rel

    root = photos.digits(folder / "digits", 16, digits)
    found: dict[str, list[float]] = {"fp32": [], "bf16": [], "textbook": []}
    for seed in range(seeds):
        for precision in ("fp32", "bf16"):
            config = small_cnn(root, (16, 32), precision, 16, 1, **{"augmentation.flip": False})
            ours, theirs = _classifiers(config, folder / "cache", root, seed)
            found[precision].append(_trained(ours, epochs))
        found["textbook"].append(_trained(theirs, epochs))
    notes, textbooks = [], found.pop("textbook")
    for precision, values in found.items():
        low, high = ttest_rel(values, textbooks).confidence_interval(0.95)
        ours_mean, theirs_mean = statistics.mean(values), statistics.mean(textbooks)
        notes.append(
            f"digits as JPEG files, validation accuracy after {epochs} epochs, {seeds} paired seeds: "
            f"ours in {precision} {ours_mean:.4f}, textbook in fp32 {theirs_mean:.4f}, "
            f"difference {ours_mean - theirs_mean:+.4f} [{low:+.4f}, {high:+.4f}] (95 % paired t)"
        )
    return notes


def _trained(epoch: Epoch, epochs: int) -> float:
    return [epoch() for _ in range(epochs)][-1]
