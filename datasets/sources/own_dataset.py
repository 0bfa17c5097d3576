"""A data set of the user's own: any map-style torch.utils.data.Dataset of (image, target), decoded once into the cache.

Only its items tell whether it changed, so a plan reads all of them, in their order and in one thread.
"""

import itertools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from core.activity import doing
from core.user_code.component import OwnComponent
from core.user_code.references import FORGET, UserCodeError, defined_at, fault
from core.value_words import kind_of
from datasets.base import Box, DataError, DatasetSettings, Record, Row, Shape, Source
from datasets.sources.folders import class_faults
from datasets.splits import shares_with_one_each, stratified_split

SPLITS = ("train", "val", "test")
SHOWN = 3  # faults of items that are listed
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Item:
    """Where an item is read again, and what it was."""

    dataset: Any
    index: int
    digest: bytes
    where: str
    """in words"""


@dataclass(frozen=True)
class OwnSource(Source):
    items: Mapping[str, Item] = field(default_factory=dict)
    """by the path of its row"""
    differing: list[str] = field(default_factory=list)
    """items that were others when they were read again"""


class OwnDataset(OwnComponent, DatasetSettings):
    """A map-style Dataset class of the user's own, or a function that gives one; it is given `split` (train, val, test)
    if its signature has it, else splits are drawn here: test 20 %, 15 % of the rest."""

    offered = ("split",)
    name: str
    image_size: int = Field(0, ge=0, le=4096)
    """side of the decoded image, in pixels; 0: the pictures' own, which all must have"""
    channels: Literal[1, 3] = 3
    """1 = grey, 3 = RGB"""

    def source(self, data_root: Path | None) -> Source:
        """Every item, read once a process; DataError lists those that are no picture with a class."""
        try:
            return _source(self.model_dump_json(exclude=set(self.subset_fields)))
        except UserCodeError as error:
            raise DataError(error.faults) from None

    def read(self, source: Source, row: Row) -> Record:
        """One item again; DataError if it is another one than before."""
        assert isinstance(source, OwnSource)
        item = source.items[row.path]
        with _ONE_READER:
            pixels, target = self.item(item.dataset, item.index, item.where)
        if _digest(pixels, target) != item.digest:
            source.differing.append(item.where)
            which = item.where if len(source.differing) <= SHOWN else "another item"
            why = "a data set must give the same each time: leave random transforms to `augmentation`"
            raise DataError(f"{self.name}: {which} differs when it is read twice; {why}")
        return Record(pixels)

    def read_file(self, file: Path, image_shape: Shape, box: Box | None = None) -> Record:
        """A file is decoded as those of class folders are."""
        from datasets.sources.image_decoding import image_record

        return super().read_file(file, image_shape, box) if box else image_record(file, *image_shape[:2])

    def parts(self) -> dict[str, Any]:
        """Each split's data set; one without a name where the object knows no splits."""
        if "split" in self.signature(self.name).own:
            return {split: self._checked(self.call(split=split)) for split in SPLITS}
        return {"": self._checked(self.call())}

    def _checked(self, dataset: Any) -> Any:
        if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
            raise self.refused(f"gives a {type(dataset).__name__}, no map-style data set with len() and [index]")
        return dataset

    def item(self, dataset: Any, index: int, where: str) -> tuple[Pixels, int | str]:
        """(the image (C, H, W), its class); DataError if it is none."""
        try:
            found = dataset[index]
        except (Exception, SystemExit) as error:
            raise DataError(fault(self.name, f"{where} cannot be read", error, self.object).faults) from None
        at = f"({defined_at(self.object)})"
        if not isinstance(found, tuple | list) or len(found) != 2:
            of = f" of {len(found)}" if isinstance(found, tuple | list) else ""
            raise DataError(f"{self.name}: {where} is {kind_of(found)}{of}, where (image, class) is expected {at}")
        try:
            return self._pixels(found[0]), _class(found[1])
        except Exception as error:  # of an image, whatever it holds
            raise DataError(f"{self.name}: {where}: {error} {at}") from None

    def _pixels(self, image: Any) -> Pixels:
        """(C, H, W) of PIL's image, an array (H, W) or (H, W, C), or a tensor (C, H, W)."""
        from PIL import Image

        from datasets.sources.image_decoding import converted, resized_array

        if isinstance(image, Image.Image) and image.mode == "F":  # which pillow would cut off to whole numbers
            image = np.asarray(image)
        picture = converted(image if isinstance(image, Image.Image) else Image.fromarray(_array(image)), self.channels)
        if self.image_size:
            return resized_array(np.asarray(picture), self.channels, self.image_size)
        return np.ascontiguousarray(np.atleast_3d(np.asarray(picture)).transpose(2, 0, 1))


_ONE_READER = threading.Lock()  # a data set of the user's own may not be safe in several threads


@cache
def _source(settings: str) -> OwnSource:
    own = OwnDataset.model_validate_json(settings)
    rows: list[Row] = []
    items: dict[str, Item] = {}
    targets: list[int | str] = []
    faults: list[str] = []
    shape: Shape | None = None
    parts, digest = own.parts(), blake2b(digest_size=16)
    with doing(f"reading the items of {own.name}", total=sum(map(len, parts.values()))) as now:
        for split, dataset in parts.items():
            for index in range(len(dataset)):
                where = f"item {index}{f' of {split}' * bool(split)}"
                now.done += 1
                try:
                    pixels, target = own.item(dataset, index, where)
                except DataError as error:
                    faults += error.faults
                    continue
                shape = shape or pixels.shape  # type: ignore[assignment]
                if pixels.shape != shape:
                    sides = f"{pixels.shape[2]} × {pixels.shape[1]} pixels, others {shape[2]} × {shape[1]}"  # type: ignore[index]
                    faults.append(f"{own.name}: {where}: {sides}; give dataset.image_size, to which all are resized")
                path = f"{split}/{index:06d}" if split else f"{index:06d}"
                rows.append(Row(path, 0, split))
                items[path] = Item(dataset, index, _digest(pixels, target), where)
                targets.append(target)
                digest.update(items[path].digest)
    if faults or shape is None:
        empty = [] if faults else [f"{own.name}: holds no items"]
        left = len(faults) - SHOWN
        raise DataError([*empty, *faults[:SHOWN], *([f"{own.name}: and {left} more such items"] if left > 0 else [])])
    classes, labels = _labelled(own.name, next(iter(parts.values())), targets)
    splits = [row.split for row in rows]
    if "" in parts:
        splits = stratified_split([*items], labels, own.split_seed, 0.2, 0.15, sizes=shares_with_one_each)
    whole = tuple(Row(row.path, label, split) for row, label, split in zip(rows, labels, splits, strict=True))
    return OwnSource(
        root=None,
        classes=classes,
        image_shape=shape,
        rows=whole,
        content=digest.hexdigest(),
        faults=tuple(class_faults(Path(own.name), classes, whole, "(image, class) items of each")),
        items=items,
    )


FORGET.append(_source.cache_clear)


def _labelled(name: str, dataset: Any, targets: Sequence[int | str]) -> tuple[tuple[str, ...], list[int]]:
    """(the classes' names, the number of each target): the data set's own `classes` where it has them."""
    given = getattr(dataset, "classes", None)
    own = tuple(map(str, given)) if isinstance(given, list | tuple) else ()
    if any(isinstance(target, str) for target in targets):
        names = own if {*map(str, targets)} <= {*own} else tuple(sorted({*map(str, targets)}))
        return names, [names.index(str(target)) for target in targets]
    numbers = [int(target) for target in targets]
    used = {*numbers}
    if (least := min(numbers)) < 0:
        raise DataError(f"{name}: item {numbers.index(least)} has the class {least}; classes are numbered from 0")
    held = max(numbers) + 1
    if len(own) >= held:
        return own, numbers
    if lacking := held - len(used):  # not listed whole: an identifier taken for a class may be in the millions
        some = itertools.islice((str(each) for each in range(held) if each not in used), SHOWN)
        without = ", ".join(some) + (f" and {lacking - SHOWN} more" if lacking > SHOWN else "")
        given = f"the classes of its items are numbered from {least} to {held - 1}, without {without}"
        raise DataError(f"{name}: {given}; number them from 0 without a gap, or name all by a list `classes` of it")
    return tuple(map(str, range(held))), numbers


def _class(target: Any) -> int | str:
    value = target.item() if hasattr(target, "item") and getattr(target, "size", 1) in (1,) else target
    value = target.item() if hasattr(target, "numel") and target.numel() == 1 else value
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(
            f"its target is {kind_of(target)}, where a class is expected: a whole number from 0, or its name"
        )
    return value


def _array(image: Any) -> npt.NDArray[np.uint8]:
    """(H, W) or (H, W, 3) of an array or a tensor; ValueError for what is no picture of 0 to 255 or of 0.0 to 1.0."""
    tensor = hasattr(image, "detach")
    if tensor:
        image = image.detach().cpu()
        image = image.float() if image.is_floating_point() and image.element_size() < 4 else image  # bfloat16
    array = np.asarray(image)
    if not isinstance(image, np.ndarray) and not tensor:
        raise ValueError(f"its image is {kind_of(image)}, where PIL's image, an array or a tensor is expected")
    if array.ndim == 3 and (tensor or (array.shape[0] in (1, 3) and array.shape[2] not in (1, 3))):
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise ValueError(f"its image has the shape {tuple(image.shape)}, where 1 or 3 channels are expected")
    if not array.size:
        raise ValueError(f"its image has the shape {tuple(image.shape)}, without a pixel")
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind != "f" or not (low >= 0 and high <= 1):
        why = "leave its Normalize out, as training.normalize does that" if array.dtype.kind == "f" else "give uint8"
        raise ValueError(
            f"its image has {array.dtype} values from {low:.3g} to {high:.3g}, where 0.0 to 1.0 or uint8 "
            f"is expected; {why}"
        )
    return np.rint(array * 255).astype(np.uint8)


def _digest(pixels: Pixels, target: int | str) -> bytes:
    return blake2b(f"{pixels.shape} {target!r}".encode() + pixels.tobytes(), digest_size=16).digest()
