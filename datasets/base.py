"""What every data set is made of: its settings, the rows found in its source, the splits that training reads.

A data set is described without decoding (`source`), decoded once per machine (`read`, called by the cache), and opened
from the cache by every trial.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Field

from core.component import Component
from core.errors import FaultError

Shape = tuple[int, int, int]
"""(channels, height, width)"""
Box = tuple[float, float, float, float]
"""left, top, right, bottom, in pixels of the photo; may reach over its edge"""
Resize = Literal["stretch", "crop", "pad"]
"""how a picture becomes a square"""


class DataError(FaultError):
    """Everything that is wrong with the data, at once; each fault names its file."""


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression ({error})") from None
    return text


Regex = Annotated[str, AfterValidator(_regex)]


@dataclass(frozen=True)
class DatasetInfo:
    """The facts of a data set that models, losses and reports need; all that a trial's record says about its data."""

    name: str
    classes: tuple[str, ...]
    image_shape: Shape
    """(channels, height, width) as stored; what the network sees is `input_shape`"""
    counts: Mapping[str, tuple[int, ...]]
    """split → examples of each class, after all that `subset_fields` name"""
    mean: tuple[float, ...]
    """per channel in [0, 1], of what the network sees of the whole training split, before any subset"""
    std: tuple[float, ...]
    fingerprint: str
    """hex digest of pixels, labels, points, splits, order and class names; of no path, long tail or limit"""
    n_points: int = 0
    """landmarks of each example; 0 for a set without"""
    crop: int = 0
    """side of the central square that the network sees of a stored image; 0 = all of it"""
    flip_pairs: tuple[tuple[int, int], ...] = ()
    """landmarks that change places when an image is mirrored"""
    seen: tuple[str, ...] = ()
    """splits that are trained on besides "train": their scores choose nothing"""
    dropped: int = 0
    """training rows that `drop_leaks` took out"""

    @property
    def input_shape(self) -> Shape:
        """(channels, height, width) of what the network sees."""
        return (self.image_shape[0], self.crop, self.crop) if self.crop else self.image_shape


def central_crop(images: Any, crop: int) -> Any:
    """The central square of images (…, H, W), an array's or a tensor's view; all of them where `crop` is 0.

    Where the margins cannot be equal, the left and the upper one are a pixel narrower.
    """
    if not crop:
        return images
    top, left = (images.shape[-2] - crop) // 2, (images.shape[-1] - crop) // 2
    return images[..., top : top + crop, left : left + crop]


@dataclass(frozen=True)
class Examples:
    """One split, in its fixed shuffle."""

    images: npt.NDArray[np.uint8]
    """(N, C, H, W); a copy-on-write view of the cache file: nothing is in memory until it is read"""
    labels: npt.NDArray[np.int64]
    """(N,)"""
    points: npt.NDArray[np.float32] | None
    """(N, n_points, 2) as x, y in pixels of what the network sees (of the central crop, where there is one), NaN where
    an example has none; None for a set without. Continuous: pixel i spans i to i + 1"""
    paths: Sequence[str]
    """where each example came from, relative to the source, with forward slashes; read from the file on demand"""
    aspects: npt.NDArray[np.float32] | None = None
    """(N,) width of a stored pixel over its height in the photo it was cut from; None for a set without landmarks"""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """The splits "train", "val" and "test" with what is known about them."""

    info: DatasetInfo
    splits: Mapping[str, Examples]


@dataclass(frozen=True)
class Row:
    """One example before it is decoded."""

    path: str
    """its name: unique in the source, the same on every machine, with forward slashes"""
    label: int
    split: str
    file: str = ""
    """the name in `Source.files` of what it is cut from, where several rows share it: they are decoded together"""


@dataclass(frozen=True)
class Record:
    """One decoded example: image (C, H, W) uint8; points (n_points, 2) float32 where the set has landmarks."""

    image: npt.NDArray[np.uint8]
    points: npt.NDArray[np.float32] | None = None
    aspect: float = 1.0
    """width of a pixel of the image over its height, in the photo it was cut from"""
    side: int = 0
    """the shorter side of the original, in its own pixels; 0 = no image of the user's"""


@dataclass(frozen=True)
class Source:
    """What a data set found in its folder, with every fault that can be seen without decoding."""

    root: Path | None
    """the folder that it reads; None when nothing of the user's is read"""
    classes: tuple[str, ...]
    image_shape: Shape
    rows: tuple[Row, ...]
    files: Mapping[str, Path] = field(default_factory=dict)
    """name → file, for every file whose bytes decide the content"""
    content: str = ""
    """digest of what is read from elsewhere than `files`"""
    n_points: int = 0
    faults: tuple[str, ...] = ()
    crop: int = 0
    """as in DatasetInfo, and so `flip_pairs`"""
    flip_pairs: tuple[tuple[int, int], ...] = ()
    notes: tuple[str, ...] = ()
    """what is no fault, but worth a line in the audit"""
    counts: Mapping[str, int] = field(default_factory=dict)
    """the numbers in the notes, for programs"""
    facts: Mapping[str, str] = field(default_factory=dict)
    """more lines of what `prepare` tells, by name"""
    listed: bool = False
    """whether each file is named in a list, so that what else lies in the root, a run directory, does no harm"""


class DatasetSettings(Component):
    """What every data set can be asked for. A subclass adds `name` (a literal), its own settings, `source`, `read`."""

    place_fields: ClassVar[frozenset[str]] = frozenset()
    """settings that say where the data lies, not what it is: the fingerprint stands for them in a trial's identity"""
    subset_fields: ClassVar[frozenset[str]] = frozenset(
        {"imbalance_factor", "limit_train", "limit_eval", "train_on_validation", "drop_leaks"}
    )
    """settings that choose among decoded rows: changing one decodes nothing again"""

    unrecorded: ClassVar[dict[str, Any]] = {}
    """values of settings that records made before them lack; in a trial's identity the fingerprint stands for them"""

    name: str = ""
    """what `--set dataset.name=…` chooses by: a literal, with itself as the default, in every subclass"""
    imbalance_factor: float = Field(default=1.0, ge=1)
    """long tail of the training split: examples of the most frequent class over those of the rarest; 1 = off"""
    split_seed: int = Field(default=0, ge=0)
    """decides splits (where the disk does not), the fixed shuffle and which class is rare"""
    limit_train: int = Field(default=0, ge=0)
    """the first N training examples, after the long tail; 0 = all"""
    limit_eval: int = Field(default=0, ge=0)
    """the first N examples of validation and of test; 0 = all"""
    train_on_validation: bool = False
    """training rows = training and validation, in one fixed shuffle; validation stays as it is, but counts as seen"""
    drop_leaks: bool = False
    """leave out training images that are also in validation or test, or in training under another class"""

    def reading(self) -> dict[str, Any]:
        """The settings that decide what decoding yields, as JSON values: with the files' content, the cache's key.

        A setting that records may lack, at its value of the time before, is left out where that is still the default:
        files decoded before there was such a setting are found.
        """
        fields = type(self).model_fields
        before = {n for n, value in self.unrecorded.items() if getattr(self, n) == value == fields[n].default}
        return self.model_dump(mode="json", exclude=set(self.place_fields | self.subset_fields | before))

    @abstractmethod
    def source(self, data_root: Path | None) -> Source:
        """What there is to read; raises DataError when there is nothing, saying which layout is expected where."""

    @abstractmethod
    def read(self, source: Source, row: Row) -> Record:
        """Decodes one row; called from several threads. Raises DataError naming the file that cannot be decoded."""

    def read_file(self, file: Path, image_shape: Shape, box: Box | None = None) -> Record:
        """Decodes an image from outside the set as the set's own images are; raises DataError as `read` does.

        `box` (left, top, right, bottom) is the part of the photo that a set of crops cuts out; others take it whole.
        """
        if box is not None:
            raise DataError(f"{file}: {self.name} takes whole pictures, no boxes of them")
        name = str(file)
        return self.read(Source(None, (), image_shape, (), {name: file}), Row(name, 0, "test"))

    def read_together(self, source: Source, rows: Sequence[Row]) -> Iterator[Record]:
        """Decodes the rows of one file, in their order; a set with many rows a file opens it here, once."""
        return (self.read(source, row) for row in rows)
