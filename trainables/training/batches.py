"""A data set on the device, and the batches that a network takes from it: augmented, mixed, normalised.

Every random draw of a batch comes from a seed that the caller derives for it, so nothing here keeps state. Drawing is
done on the CPU, for as many batches as the caller likes; what follows from it on the device, batch by batch.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from core.seeds import derive_seed
from datasets.augmentation.images import apply, draw, generators
from datasets.augmentation.landmarks import apply_points, mirrored_order, point_moves, rotate_fixed
from datasets.augmentation.settings import point_faults
from trainables.tasks.base import Batch
from trainables.training.batch_draws import Fed

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
    """The splits of `dataset` as `config` wants them fed; ValueError where faces are to be mirrored without pairs."""

    def __init__(self, config: "TrialConfig", dataset: "Dataset", device: torch.device) -> None:
        self.config, self.info, self.device = config, dataset.info, device
        self.splits = {name: _shared(part, name, config, dataset.info, device) for name, part in dataset.splits.items()}
        self.shift, self.scale = (values.to(device) for values in normalisation(config, dataset.info))
        if self.splits["train"].points is not None and (
            faults := point_faults(config.augmentation, dataset.info.flip_pairs)
        ):
            raise ValueError(faults[0])
        self.exchange = mirrored_order(dataset.info.n_points, dataset.info.flip_pairs).to(device)
        aspects = self.splits["train"].aspects
        self.aspects = None if aspects is None else aspects.cpu()

    def mean_shape(self) -> Tensor:
        """(L, 2): the mean landmarks of the training faces; (0, 2) for a set without."""
        points = self.splits["train"].points
        return torch.zeros(0, 2, device=self.device) if points is None else points.nanmean(0)

    def drawn(self, rows: Tensor, seed: int) -> Fed:
        """What a training batch of `rows` (B,), on the CPU, is made of: they, and what `seed` draws for them."""
        settings, n = self.config.augmentation, len(rows)
        draws = draw(settings, n, *self.info.input_shape[1:], generators(settings, seed))
        if self.splits["train"].points is None:
            moves = draws.moves(n)
        else:
            stored = self.splits["train"].images.shape[-1]
            moves = point_moves(draws, n, stored, None if self.aspects is None else self.aspects[rows])
        return {"rows": rows, **moves, **self._mixing(n, seed)}

    def for_training(self, fed: Fed) -> Batch:
        """The batch that `drawn` drew, taken to the device."""
        split, rows = self.splits["train"], fed["rows"]
        images, points = self._raw(split, rows), None
        if split.points is None:
            images = apply(images, fed)
        else:
            images, points = apply_points(images, split.points[rows], fed, self.info.input_shape[-1], self.exchange)
        return _mixed(Batch(self._normalised(images), split.labels[rows], points), fed)

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

    def _mixing(self, n: int, seed: int) -> Fed:
        """Whom each of n pictures is mixed with, and both shares: λ ~ Beta(α, α), one for all, and 1 − λ."""
        alpha = self.config.training.mixup
        if not alpha:
            return {}
        generator = torch.Generator().manual_seed(derive_seed(seed, "mixup"))
        share = _beta(alpha, generator)
        return {
            "other": torch.randperm(n, generator=generator),
            "shares": torch.tensor([share, 1 - share]).expand(n, 2),
        }


def _mixed(batch: Batch, fed: Fed) -> Batch:
    """mixup (Zhang et al. 2018): each picture with another of the batch."""
    if "other" not in fed:
        return batch
    other, shares = fed["other"], fed["shares"][0]
    images = shares[0] * batch.images + shares[1] * batch.images[other]
    return batch._replace(images=images, second=batch.labels[other], shares=shares)


def normalisation(config: "TrialConfig", info: "DatasetInfo") -> tuple[Tensor, Tensor]:
    """What is subtracted from pictures in [0, 1], and what they are divided by then; each (1, C or 1, 1, 1) float32."""
    shift, scale = (info.mean, info.std) if config.training.normalize else ((0.0,), (1.0,))
    first, second = (torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1) for values in (shift, scale))
    return first, second


def _beta(alpha: float, generator: torch.Generator) -> float:
    """One draw of Beta(α, α), as the ratio of Gamma draws."""
    first, second = torch._standard_gamma(torch.tensor([alpha, alpha], dtype=torch.float64), generator=generator)
    return float(first / (first + second))


_HELD: WeakValueDictionary[tuple[str, ...], Rows] = WeakValueDictionary()


def _shared(part: "Examples", name: str, config: "TrialConfig", info: "DatasetInfo", device: torch.device) -> Rows:
    """A split on the device; of a GPU's memory, trials in progress in one process take one copy together."""
    if device.type == "cpu":
        return _on_device(part, device)
    key = (config.dataset.model_dump_json(), info.fingerprint, name, str(device))
    rows = _HELD.get(key)
    if rows is None:
        rows = _HELD[key] = _on_device(part, device)
    return rows


def _on_device(part: "Examples", device: torch.device) -> Rows:
    """On the CPU everything stays a view of the memory-mapped file, which nothing here writes to."""

    def move(array: Any) -> Tensor | None:
        return None if array is None else torch.from_numpy(array).to(device)

    images, labels = torch.from_numpy(part.images).to(device), torch.from_numpy(part.labels).to(device)
    return Rows(images, labels, move(part.points), move(part.aspects))
