"""One decoded data set as one Arrow IPC file: one record batch per split, memory-mapped without a copy.

The mapping is private and copy-on-write: a stray in-place write stays in its process and never reaches the file.
"""

import json
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import TypeAdapter

from core.splits import SPLITS
from datasets.base import DatasetInfo, Examples, Shape

FORMAT = 2
_KEY = b"dataset"
_INFO = TypeAdapter(DatasetInfo)


class DamagedFileError(Exception):
    """The file is not a whole cache file of this format."""


class ArrowPaths(Sequence[str]):
    """The paths of one split, turned into Python strings one by one as they are asked for."""

    def __init__(self, column: pa.Array, rows: npt.NDArray[np.int64] | None = None) -> None:
        self._column = column
        self._rows = rows

    def __len__(self) -> int:
        return len(self._column) if self._rows is None else len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        place = index % len(self)
        return str(self._column[place if self._rows is None else int(self._rows[place])].as_py())

    def taken(self, rows: npt.NDArray[np.int64]) -> "ArrowPaths":
        """The paths of `rows`, still unread."""
        return ArrowPaths(self._column, rows if self._rows is None else self._rows[rows])

    def followed_by(self, other: "ArrowPaths") -> "ArrowPaths":
        """The paths of two whole splits, one after the other, still unread."""
        return ArrowPaths(pa.concat_arrays([self._column, other._column]))


@dataclass(frozen=True)
class Origins:
    """What the audit and `drop_leaks` ask about the rows of one split, so that neither reads the images again."""

    digests: npt.NDArray[np.uint64]
    """(N,) equal for equal stored images"""
    sides: npt.NDArray[np.int32]
    """(N,) the shorter side of the original, in its own pixels; 0 = unknown"""


@dataclass(frozen=True)
class Opened:
    """A cache file as it lies on disk: before long tail and limits."""

    info: DatasetInfo
    splits: Mapping[str, Examples]
    origins: Mapping[str, Origins]
    checksum: str
    remarks: Sequence[str] = ()
    """what decoding had to say of pictures, in sentences"""


def image_digest(image: npt.NDArray[np.uint8]) -> int:
    """64 bits of a stored image; two different ones among a million agree with a probability of 3e-8."""
    return int.from_bytes(blake2b(image.tobytes(), digest_size=8).digest(), "big")


def write(
    stream: BinaryIO,
    info: DatasetInfo,
    splits: Mapping[str, Examples],
    origins: Mapping[str, Origins],
    remarks: Sequence[str] = (),
) -> None:
    """Writes the file; images are handed to Arrow as they are, so a mapped array costs no memory."""
    facts = asdict(info)
    metadata = {"format": FORMAT, "info": facts, "checksum": checksum(facts, splits, origins), "remarks": remarks}
    batches = [_batch(info, name, splits[name], origins[name]) for name in SPLITS]
    schema = batches[0].schema.with_metadata({_KEY: json.dumps(metadata).encode()})
    with pa.ipc.new_file(stream, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _batch(info: DatasetInfo, split: str, rows: Examples, origins: Origins) -> pa.RecordBatch:
    n = len(rows)
    pixels = pa.py_buffer(np.ascontiguousarray(rows.images).reshape(-1).data)
    codes = pa.array(np.full(n, SPLITS.index(split), dtype=np.int8))
    columns = {
        "image": pa.Array.from_buffers(pa.binary(int(np.prod(info.image_shape))), n, [None, pixels]),
        "label": pa.array(rows.labels),
        "split": pa.DictionaryArray.from_arrays(codes, pa.array(SPLITS)),
        "path": pa.array(list(rows.paths), type=pa.string()),
        "digest": pa.array(origins.digests),
        "side": pa.array(origins.sides),
    }
    if rows.points is not None:
        columns["points"] = pa.FixedSizeListArray.from_arrays(pa.array(rows.points.reshape(-1)), 2 * info.n_points)
        columns["aspect"] = pa.array(rows.aspects, type=pa.float32())
    return pa.RecordBatch.from_pydict(columns)


def open_file(path: Path) -> Opened:
    """Maps the file. Raises FileNotFoundError, or DamagedFileError when it is torn or of another format."""
    try:
        with path.open("rb") as file:
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        whole = pa.py_buffer(mapping)
        reader = pa.ipc.open_file(pa.BufferReader(whole))
        metadata = json.loads(reader.schema.metadata[_KEY])
        if metadata["format"] != FORMAT:
            raise DamagedFileError(f"{path}: format {metadata['format']}, expected {FORMAT}")
        info = _INFO.validate_python(metadata["info"])
        found = [_split(reader.get_batch(i), info, mapping, whole.address) for i in range(len(SPLITS))]
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:  # Arrow's own errors are among these
        raise DamagedFileError(f"{path}: {error}") from error
    splits = {name: examples for name, (examples, _) in zip(SPLITS, found, strict=True)}
    origins = {name: own for name, (_, own) in zip(SPLITS, found, strict=True)}
    return Opened(info, splits, origins, metadata["checksum"], metadata.get("remarks", ()))


def _split(batch: pa.RecordBatch, info: DatasetInfo, mapping: mmap.mmap, start: int) -> tuple[Examples, Origins]:
    n = batch.num_rows

    def view(name: str, dtype: str, *shape: int) -> npt.NDArray[Any]:
        # Over the mapping and not over Arrow's buffer, which numpy would mark read-only and torch then warns about;
        # and not by `to_numpy`, for which pyarrow imports pandas: 40 MiB in every worker.
        place = batch.column(name).buffers()[-1].address - start
        return np.frombuffer(mapping, dtype, n * int(np.prod(shape)), place).reshape(n, *shape)

    examples = Examples(
        images=view("image", "u1", *info.image_shape),
        labels=view("label", "<i8"),
        points=view("points", "<f4", info.n_points, 2) if info.n_points else None,
        paths=ArrowPaths(batch.column("path")),
        aspects=view("aspect", "<f4") if info.n_points else None,
    )
    return examples, Origins(view("digest", "<u8"), view("side", "<i4"))


def fingerprint(classes: Sequence[str], image_shape: Shape, n_points: int, splits: Mapping[str, Examples]) -> str:
    """Hex digest of all that training reads; the same on every machine and under every path."""
    sizes = {name: len(splits[name]) for name in SPLITS}
    digest = blake2b(json.dumps([list(classes), image_shape, n_points, sizes]).encode(), digest_size=16)
    for name in SPLITS:
        rows = splits[name]
        for column, kind in ((rows.labels, "<i8"), (rows.images, "u1"), (rows.points, "<f4"), (rows.aspects, "<f4")):
            if column is not None:
                digest.update(np.ascontiguousarray(column, kind).data)
    return digest.hexdigest()


def checksum(facts: Mapping[str, Any], splits: Mapping[str, Examples], origins: Mapping[str, Origins]) -> str:
    """Hex digest of what the fingerprint leaves out: the metadata itself, the paths and the origins."""
    digest = blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16)
    for name in SPLITS:
        digest.update("\0".join(splits[name].paths).encode())
        digest.update(np.ascontiguousarray(origins[name].digests).data)
        digest.update(np.ascontiguousarray(origins[name].sides).data)
    return digest.hexdigest()


def verify(opened: Opened, path: Path) -> None:
    """Reads everything once and raises DamagedFileError when a byte is not what was written."""
    info = opened.info
    try:
        found = (
            checksum(asdict(info), opened.splits, opened.origins),
            fingerprint(info.classes, info.image_shape, info.n_points, opened.splits),
        )
    except (UnicodeDecodeError, ValueError) as error:
        raise DamagedFileError(f"{path}: {error}") from error
    if found != (opened.checksum, info.fingerprint):
        raise DamagedFileError(f"{path}: its content is not what was written")
