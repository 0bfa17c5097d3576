"""A data set on the device, and the batches that a network takes from it: augmented, mixed, normalised.

Every random draw of a batch comes from a seed that the caller derives for it, so nothing here keeps state. `draw` runs
on the CPU, `for_training` turns its draws into a batch on the device.
"""

from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from core.seeds import derive_seed
from datasets.augmentation.images import apply, draw, generators
from datasets.augmentation.landmarks import apply_points, mirrored_order, point_moves, rotate_fixed
from datasets.augmentation.settings import point_faults
from datasets.base import Dataset, DatasetInfo, Examples
from trainables.config import TrialConfig
from trainables.tasks.base import Batch
from trainables.training.batch_draws import BatchDraws
from trainables.training.extra_augmentation import augmented


@dataclass(frozen=True)
class DeviceSplit:
    """One split on the device: images (N, C, H, W) uint8, labels (N,), points (N, L, 2) and aspects (N,) or None."""

    images: Tensor
    labels: Tensor
    points: Tensor | None
    aspects: Tensor | None

    def __len__(self) -> int:
        return len(self.labels)


class DeviceData:
    """A data set's splits on the device, and their batches; ValueError where faces are mirrored without flip pairs."""

    def __init__(self, config: TrialConfig, dataset: Dataset, device: torch.device) -> None:
        self.config, self.info, self.device = config, dataset.info, device
        self.splits = {name: _shared(part, name, config, dataset.info, device) for name, part in dataset.splits.items()}
        self.shift, self.scale = (values.to(device) for values in normalisation(config, dataset.info))
        if self.splits["train"].points is not None and (
            faults := point_faults(config.augmentation, dataset.info.flip_pairs)
        ):
            raise ValueError(faults[0])
        self.mirrored_order = mirrored_order(dataset.info.n_points, dataset.info.flip_pairs).to(device)
        aspects = self.splits["train"].aspects
        self.aspects = None if aspects is None else aspects.cpu()

    def mean_shape(self) -> Tensor:
        """(L, 2): the mean landmarks of the training faces; (0, 2) for a set without."""
        points = self.splits["train"].points
        return torch.zeros(0, 2, device=self.device) if points is None else points.nanmean(0)

    def draw(self, rows: Tensor, seed: int) -> BatchDraws:
        """The draws of the training batch of `rows` (B,), on the CPU: augmentation and mixup parameters from `seed`."""
        settings, n = self.config.augmentation, len(rows)
        draws = draw(settings, n, *self.info.input_shape[1:], generators(settings, seed))
        if self.splits["train"].points is None:
            moves = draws.moves(n)
        else:
            stored = self.splits["train"].images.shape[-1]
            moves = point_moves(draws, n, stored, None if self.aspects is None else self.aspects[rows])
        extra = {"extra": torch.full((n,), derive_seed(seed, "extra"))} if settings.extra else {}
        return {"rows": rows, **extra, **moves, **self._mixing(n, seed)}

    def for_training(self, draws: BatchDraws) -> Batch:
        """The training batch of `draws` (on the device): augmented, normalised, mixed."""
        split, rows = self.splits["train"], draws["rows"]
        stored = split.images[rows]
        if "extra" in draws:
            stored = augmented(self.config.augmentation.extra, stored, int(draws["extra"][0]))
        images, points = self._scaled(stored), None
        if split.points is None:
            images = apply(images, draws)
        else:
            images, points = apply_points(
                images, split.points[rows], draws, self.info.input_shape[-1], self.mirrored_order
            )
        return _mixed(Batch(self._normalised(images), split.labels[rows], points), draws)

    def for_evaluation(self, name: str, rows: Tensor) -> Batch:
        """A batch of `rows` of any split, not augmented; `dataset.eval_rotation` turns each crop by a fixed angle."""
        split = self.splits[name]
        images, points = self._scaled(split.images[rows]), None
        if split.points is not None:
            degrees = getattr(self.config.dataset, "eval_rotation", 0.0) if name != "train" else 0.0
            aspects = None if split.aspects is None else split.aspects[rows]
            side = self.info.input_shape[-1]
            images, points = rotate_fixed(images, split.points[rows], degrees, rows.tolist(), side, aspects)
        return Batch(self._normalised(images), split.labels[rows], points)

    def _scaled(self, images: Tensor) -> Tensor:
        return images.float().div_(255)

    def _normalised(self, images: Tensor) -> Tensor:
        """In place, as `_scaled` made a new tensor."""
        return images.sub_(self.shift).div_(self.scale)

    def _mixing(self, n: int, seed: int) -> BatchDraws:
        """`other` (n,), the row mixed with each image, and `shares` (n, 2): λ ~ Beta(α, α), 1 − λ, one for all."""
        alpha = self.config.training.mixup
        if not alpha:
            return {}
        generator = torch.Generator().manual_seed(derive_seed(seed, "mixup"))
        share = _beta(alpha, generator)
        return {
            "other": torch.randperm(n, generator=generator),
            "shares": torch.tensor([share, 1 - share]).expand(n, 2),
        }


def _mixed(batch: Batch, draws: BatchDraws) -> Batch:
    """mixup (Zhang et al. 2018): each image with another of the batch."""
    if "other" not in draws:
        return batch
    other, shares = draws["other"], draws["shares"][0]
    images = shares[0] * batch.images + shares[1] * batch.images[other]
    return batch._replace(images=images, second=batch.labels[other], shares=shares)


def normalisation(config: TrialConfig, info: DatasetInfo) -> tuple[Tensor, Tensor]:
    """(shift, scale): images in [0, 1] become (image − shift) / scale; each (1, C or 1, 1, 1) float32.

    A channel that is the same in all training images is only shifted.
    """
    shift, scale = (info.mean, [std or 1.0 for std in info.std]) if config.training.normalize else ((0.0,), (1.0,))
    first, second = (torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1) for values in (shift, scale))
    return first, second


def _beta(alpha: float, generator: torch.Generator) -> float:
    """One draw of Beta(α, α), as the ratio of Gamma draws."""
    first, second = torch._standard_gamma(torch.tensor([alpha, alpha], dtype=torch.float64), generator=generator)
    return float(first / (first + second))


_HELD: WeakValueDictionary[tuple[str, ...], DeviceSplit] = WeakValueDictionary()


def _shared(part: Examples, name: str, config: TrialConfig, info: DatasetInfo, device: torch.device) -> DeviceSplit:
    """A split on the device; trials in progress in one process share one copy in a GPU's memory."""
    if device.type == "cpu":
        return _on_device(part, device)
    key = (config.dataset.model_dump_json(), info.fingerprint, name, str(device))
    split = _HELD.get(key)
    if split is None:
        split = _HELD[key] = _on_device(part, device)
    return split


def _on_device(part: Examples, device: torch.device) -> DeviceSplit:
    """On the CPU everything stays a view of the memory-mapped file, which nothing here writes to."""

    def move(array: Any) -> Any:
        return None if array is None else torch.from_numpy(array).to(device)

    return DeviceSplit(*map(move, (part.images, part.labels, part.points, part.aspects)))
