"""A data set on the device, and the batches that a network takes from it: augmented, mixed, normalised.

Every random draw of a batch comes from a seed that the caller derives for it, so nothing here keeps state.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from datasets.augmentation import augment
from datasets.augmentation_points import augment_points, rotate_fixed
from datasets.seeds import derive_seed
from trainables.tasks import Batch

if TYPE_CHECKING:
    from datasets.base import Dataset, DatasetInfo, Examples
    from trainables.config import TrialConfig


@dataclass(frozen=True)
class Rows:
    """One split on the device: images (N, C, H, W) uint8, labels (N,), points (N, L, 2) and aspects (N,) or None."""

    images: Tensor
    labels: Tensor
    points: Tensor | None
    aspects: Tensor | None

    def __len__(self) -> int:
        return len(self.labels)


class Pictures:
    """The splits of `dataset` as `config` wants them fed."""

    def __init__(self, config: "TrialConfig", dataset: "Dataset", device: torch.device) -> None:
        self.config, self.info, self.device = config, dataset.info, device
        self.splits = {name: _on_device(part, device) for name, part in dataset.splits.items()}
        self.shift, self.scale = (values.to(device) for values in normalisation(config, dataset.info))

    def mean_shape(self) -> Tensor:
        """(L, 2): the mean landmarks of the training faces; (0, 2) for a set without."""
        points = self.splits["train"].points
        return torch.zeros(0, 2, device=self.device) if points is None else points.nanmean(0)

    def for_training(self, rows: Tensor, seed: int) -> Batch:
        """Training rows with the augmentation and mixing that `seed` draws."""
        split, settings = self.splits["train"], self.config.augmentation
        images, points = self._raw(split, rows), None
        if split.points is None:
            images = augment(images, settings, seed)
        else:
            aspects = None if split.aspects is None else split.aspects[rows]
            side, pairs = self.info.input_shape[-1], self.info.flip_pairs
            images, points = augment_points(images, split.points[rows], settings, seed, side, aspects, pairs)
        return self._mixed(Batch(self._normalised(images), split.labels[rows], points), seed)

    def for_evaluation(self, name: str, rows: Tensor) -> Batch:
        """Rows of any split as they are; landmark crops turned by each example's own angle if the data set says so."""
        split = self.splits[name]
        images, points = self._raw(split, rows), None
        if split.points is not None:
            degrees = getattr(self.config.dataset, "eval_rotation", 0.0) if name != "train" else 0.0
            aspects = None if split.aspects is None else split.aspects[rows]
            side = self.info.input_shape[-1]
            images, points = rotate_fixed(images, split.points[rows], degrees, rows.tolist(), side, aspects)
        return Batch(self._normalised(images), split.labels[rows], points)

    def _raw(self, split: Rows, rows: Tensor) -> Tensor:
        return split.images[rows].float().div_(255)

    def _normalised(self, images: Tensor) -> Tensor:
        """In place: what is given to it is a batch of its own, in float32."""
        return images.sub_(self.shift).div_(self.scale)

    def _mixed(self, batch: Batch, seed: int) -> Batch:
        """mixup (Zhang et al. 2018): each picture with another of the batch, one share λ ~ Beta(α, α) for all."""
        alpha = self.config.training.mixup
        if not alpha:
            return batch
        generator = torch.Generator().manual_seed(derive_seed(seed, "mixup"))
        share = _beta(alpha, generator)
        other = torch.randperm(len(batch.labels), generator=generator).to(self.device)
        images = share * batch.images + (1 - share) * batch.images[other]
        return batch._replace(images=images, second=batch.labels[other], share=share)


def normalisation(config: "TrialConfig", info: "DatasetInfo") -> tuple[Tensor, Tensor]:
    """What is subtracted from pictures in [0, 1], and what they are divided by then; each (1, C or 1, 1, 1) float32."""
    shift, scale = (info.mean, info.std) if config.training.normalize else ((0.0,), (1.0,))
    first, second = (torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1) for values in (shift, scale))
    return first, second


def _beta(alpha: float, generator: torch.Generator) -> float:
    """One draw of Beta(α, α), as the ratio of Gamma draws."""
    first, second = torch._standard_gamma(torch.tensor([alpha, alpha], dtype=torch.float64), generator=generator)
    return float(first / (first + second))


def _on_device(part: "Examples", device: torch.device) -> Rows:
    """On the CPU everything stays a view of the memory-mapped file, which nothing here writes to."""

    def move(array: Any) -> Tensor | None:
        return None if array is None else torch.from_numpy(array).to(device)

    images, labels = torch.from_numpy(part.images).to(device), torch.from_numpy(part.labels).to(device)
    return Rows(images, labels, move(part.points), move(part.aspects))
