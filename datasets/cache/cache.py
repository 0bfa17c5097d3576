"""Decodes a data set once per machine into a memory-mapped file that every trial opens in a millisecond.

`prepare` is for the driver (it looks at every source file), `open_dataset` for the trials (it looks at none), and
`open_or_prepare` for trials on another machine than the driver's. The file is named by the content of the sources and
the settings that decode them, so it never goes stale: it is found or made.
"""

import json
import os
import platform
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from core.activity import doing
from core.aside import thread_pool
from core.files import remove_parts, user_cache, write_atomically
from core.splits import SPLITS
from core.text import name_fault
from datasets.base import DataError, Dataset, DatasetInfo, DatasetSettings, Examples, Record, Row, Source, central_crop
from datasets.cache import arrow_file
from datasets.cache.content import Contents, changed_files, read_contents
from datasets.cache.subset import class_counts, subset
from datasets.splits import shuffled

_CHUNK = 1024


@dataclass(frozen=True)
class Prepared:
    """A data set that is ready for trials."""

    path: Path
    """the cache file, absolute: what `open_dataset` takes"""
    info: DatasetInfo
    """what a trial will see"""
    full: DatasetInfo
    """before long tail and limits"""
    decoded: bool
    """False when the file was there already"""
    notes: tuple[str, ...] = ()
    """what the source itself has to say to an audit"""
    counts: Mapping[str, int] = field(default_factory=dict)
    """the numbers in it"""
    facts: Mapping[str, str] = field(default_factory=dict)
    """as in Source"""
    root: Path | None = None
    """the folder of the user's that was read, all of it"""


def prepare(settings: DatasetSettings, data_root: Path | None = None, cache_dir: Path | None = None) -> Prepared:
    """Validates the source and makes sure that its cache file exists and is whole (reading it all, about 1 s a GB).

    Raises DataError with every fault of the data at once. Safe in several processes at the same time: one decodes,
    the others wait for it. `cache_dir` defaults to $CACHE_DIR, else the user's cache folder.
    """
    with doing(f"reading the data of {settings.name}"):
        return _prepared(settings, data_root, cache_dir)


def _prepared(settings: DatasetSettings, data_root: Path | None, cache_dir: Path | None) -> Prepared:
    source = settings.source(data_root)
    if faults := [f"class {name!r}: {fault}" for name in source.classes if (fault := name_fault(name))]:
        raise DataError([*source.faults, *(f"{source.root or settings.name}: {fault}" for fault in faults)])
    own = None if source.listed else source.root
    folder = cache_folder(cache_dir, [root for root in (data_root, own) if root is not None])
    remove_parts(folder)
    contents = read_contents(source, folder)
    name = re.sub(r"[^\w.-]+", "_", settings.name)  # a reference has slashes
    path = folder / f"{name}-{_key(settings, source, contents)}.arrow"

    def whole() -> arrow_file.Opened | None:
        return None if source.faults or contents.faults else _whole(path)

    opened, decoded = whole(), False
    if opened is None:
        with _writing(folder), FileLock(path.with_suffix(".lock")):
            opened = whole()  # another process may have been quicker
            if opened is None:
                _build(settings, source, contents, path)
                opened, decoded = arrow_file.open_file(path), True
    info = subset(opened, settings).info
    return Prepared(path, info, opened.info, decoded, source.notes, source.counts, source.facts, own)


def open_dataset(settings: DatasetSettings, arrow_path: Path) -> Dataset:
    """The data set as `settings` subset it, from a file that `prepare` made for the same reading settings.

    Maps the file and copies nothing but the training rows, where a long tail, dropped leaks or the validation rows
    change them. Raises DataError when the file is absent or damaged.
    """
    try:
        return subset(arrow_file.open_file(arrow_path), settings)
    except FileNotFoundError as error:
        raise DataError(f"{arrow_path}: no such cache file; prepare the data set on this machine first") from error
    except arrow_file.DamagedFileError as error:
        raise DataError(f"{error}; prepare the data set again") from error


def open_or_prepare(
    settings: DatasetSettings, file: Path, data_root: Path | None = None, cache_dir: Path | None = None
) -> Dataset:
    """`open_dataset` on any node: where the driver's `file` is missing, this node makes its own, once, and keeps it.

    Raises DataError, naming the node, if neither the file nor the data are here, or the data are not the driver's.
    """
    if file.exists():
        return open_dataset(settings, file)
    try:
        own = cache_folder(cache_dir, []) / file.name
        if not own.exists():
            made = prepare(settings, data_root, cache_dir).path
            if made.name != file.name:
                place = "its data" if data_root is None else f"the data under {data_root}"
                raise DataError(f"{place} are not those that the study was planned with ({made.name}, not {file.name})")
        return open_dataset(settings, own)
    except DataError as error:
        where = f"node {platform.node()}, which has no {file}"
        raise DataError([f"{where}: {fault}" for fault in error.faults]) from error


def cache_folder(cache_dir: Path | None, data_folders: Sequence[Path]) -> Path:
    """The folder for cache files, made if need be; refused inside the user's data, which is only ever read."""
    folder = user_cache(cache_dir)
    for data_folder in data_folders:
        if folder.is_relative_to(data_folder.resolve()):
            raise DataError(
                f"cache folder {folder} lies inside the data folder {data_folder}; name one elsewhere by --cache-dir"
            )
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"cache folder {folder} cannot be written ({reason}); name another by --cache-dir") from error


def _key(settings: DatasetSettings, source: Source, contents: Contents) -> str:
    parts = [arrow_file.FORMAT, settings.reading(), source.content, sorted(contents.digests.items())]
    return blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=8).hexdigest()


def _whole(path: Path) -> arrow_file.Opened | None:
    try:
        opened = arrow_file.open_file(path)
        arrow_file.verify(opened, path)
    except (FileNotFoundError, arrow_file.DamagedFileError):
        return None
    return opened


def _build(settings: DatasetSettings, source: Source, contents: Contents, path: Path) -> None:
    """Decodes into a raw file, then rewrites it as Arrow; memory holds no more than the images in the threads."""
    rows = _in_order(source.rows, settings.split_seed)
    with tempfile.TemporaryFile(dir=path.parent) as pixels:  # nameless: nothing is left when the process is killed
        columns, remarks, faults = _decode(settings, source, rows, pixels.fileno())
        faults = [*source.faults, *contents.faults, *faults, *changed_files(source, contents)]
        if faults:
            raise DataError(list(dict.fromkeys(faults)))
        images = np.memmap(pixels, np.uint8, "r", shape=(len(rows), *source.image_shape))
        splits, origins = _by_split(rows, images, columns)
        info = _describe(settings, source, splits)

        def write(temporary: Path) -> None:
            with temporary.open("wb") as stream:
                arrow_file.write(stream, info, splits, origins, remarks)

        write_atomically(path, write)


def _in_order(rows: Sequence[Row], seed: int) -> list[Row]:
    mixed = [rows[i] for i in shuffled([row.path for row in rows], seed)]
    return [row for split in SPLITS for row in mixed if row.split == split]


@dataclass(frozen=True)
class _Columns:
    """The decoded columns other than pixels, one row per example."""

    points: npt.NDArray[np.float32] | None
    aspects: npt.NDArray[np.float32] | None
    digests: npt.NDArray[np.uint64]
    sides: npt.NDArray[np.int32]

    @staticmethod
    def empty(n: int, n_points: int) -> "_Columns":
        return _Columns(
            points=np.full((n, n_points, 2), np.nan, dtype=np.float32) if n_points else None,
            aspects=np.ones(n, dtype=np.float32) if n_points else None,
            digests=np.zeros(n, dtype=np.uint64),
            sides=np.zeros(n, dtype=np.int32),
        )

    def put(self, i: int, record: Record) -> None:
        self.digests[i], self.sides[i] = arrow_file.image_digest(record.image), record.side
        if self.points is not None and record.points is not None:
            self.points[i] = record.points
        if self.aspects is not None:
            self.aspects[i] = record.aspect


def _decode(
    settings: DatasetSettings, source: Source, rows: Sequence[Row], pixels: int
) -> tuple[_Columns, list[str], list[str]]:
    """Writes image i to its place in the file `pixels`; returns the other columns, all remarks, all faults."""
    from datasets.sources.image_decoding import remarks, sentences

    columns = _Columns.empty(len(rows), source.n_points)
    size = int(np.prod(source.image_shape))

    def decode(places: list[int]) -> list[str]:
        try:
            records = settings.read_together(source, [rows[i] for i in places])
            for i, record in zip(places, records, strict=True):
                _check(record, source, rows[i])
                _write_at(pixels, record.image.tobytes(), i * size)
                columns.put(i, record)
        except DataError as error:
            return error.faults
        return []

    together: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        together.setdefault(f"file {row.file}" if row.file else f"row {i}", []).append(i)
    groups, faults = list(together.values()), list[str]()
    with (
        doing(f"decoding the pictures of {settings.name}", total=len(rows)) as now,
        remarks() as found,
        thread_pool() as pool,
    ):
        for start in range(0, len(groups), _CHUNK):
            chunk = groups[start : start + _CHUNK]
            for places, wrong in zip(chunk, pool.map(decode, chunk), strict=True):
                faults += wrong
                now.done += len(places)
    return columns, sentences(found, source.root), faults


def _check(record: Record, source: Source, row: Row) -> None:
    if record.image.shape != source.image_shape or record.image.dtype != np.uint8:
        raise TypeError(f"{row.path}: decoded as {record.image.dtype} {record.image.shape}, not {source.image_shape}")


def _write_at(file: int, content: bytes, offset: int) -> None:
    # Not through a mapping: a full disk would then be a SIGBUS and not an OSError.
    while content:
        written = os.pwrite(file, content, offset)
        content, offset = content[written:], offset + written


def _by_split(
    rows: Sequence[Row], images: npt.NDArray[np.uint8], columns: _Columns
) -> tuple[dict[str, Examples], dict[str, arrow_file.Origins]]:
    splits, origins, start = {}, {}, 0
    for name in SPLITS:
        own = [row for row in rows if row.split == name]
        place = slice(start, start + len(own))
        splits[name] = Examples(
            images=images[place],
            labels=np.array([row.label for row in own], dtype=np.int64),
            points=None if columns.points is None else columns.points[place],
            paths=[row.path for row in own],
            aspects=None if columns.aspects is None else columns.aspects[place],
        )
        origins[name] = arrow_file.Origins(columns.digests[place], columns.sides[place])
        start += len(own)
    return splits, origins


def _describe(settings: DatasetSettings, source: Source, splits: dict[str, Examples]) -> DatasetInfo:
    mean, std = channel_statistics(central_crop(splits["train"].images, source.crop))
    return DatasetInfo(
        name=settings.name,
        classes=source.classes,
        image_shape=source.image_shape,
        counts={name: class_counts(rows.labels, len(source.classes)) for name, rows in splits.items()},
        mean=mean,
        std=std,
        fingerprint=arrow_file.fingerprint(source.classes, source.image_shape, source.n_points, splits),
        n_points=source.n_points,
        crop=source.crop,
        flip_pairs=source.flip_pairs,
    )


def channel_statistics(images: npt.NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and (population) standard deviation of each channel in [0, 1], from exact counts of the 256 values."""
    n_channels = images.shape[1]
    counts = np.zeros((n_channels, 256), dtype=np.int64)
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK]
        for channel in range(n_channels):
            counts[channel] += np.bincount(chunk[:, channel].reshape(-1), minlength=256)
    values = np.arange(256) / 255
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ values
    std = np.sqrt((share * (values - mean[:, None]) ** 2).sum(axis=1))
    return tuple(mean.tolist()), tuple(std.tolist())
