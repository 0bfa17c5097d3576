"""Decodes a data set once per machine into a memory-mapped file that every trial opens in a millisecond.

`prepare` is for the driver (it looks at every source file), `open_dataset` for the trials (it looks at none). The file
is named by the content of the sources and the settings that decode them, so it never goes stale: it is found or made.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from datasets import arrow_file
from datasets.base import DataError, Dataset, DatasetInfo, DatasetSettings, Examples, Record, Row, Source
from datasets.content import Contents, changed_files, n_threads, read_contents
from datasets.splits import SPLITS, class_order, first_of_each_class, long_tail_counts, shuffled

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


def prepare(settings: DatasetSettings, data_root: Path | None = None, cache_dir: Path | None = None) -> Prepared:
    """Validates the source and makes sure that its cache file exists and is whole (reading it all, about 1 s a GB).

    Raises DataError with every fault of the data at once. Safe in several processes at the same time: one decodes,
    the others wait for it. `cache_dir` defaults to $CACHE_DIR, else the user's cache folder.
    """
    source = settings.source(data_root)
    folder = cache_folder(cache_dir, [root for root in (data_root, source.root) if root is not None])
    contents = read_contents(source, folder)
    path = folder / f"{settings.name}-{_key(settings, source, contents)}.arrow"
    faulty = bool(source.faults or contents.faults)
    opened = None if faulty else _whole(path)
    decoded = opened is None
    if opened is None:
        with _writing(folder), FileLock(path.with_suffix(".lock")):
            opened = None if faulty else _whole(path)
            decoded = opened is None
            if opened is None:
                _build(settings, source, contents, path)
                opened = arrow_file.open_file(path)
    return Prepared(path, subset(opened, settings).info, opened.info, decoded)


def open_dataset(settings: DatasetSettings, arrow_path: Path) -> Dataset:
    """The data set as `settings` subset it, from a file that `prepare` made for the same reading settings.

    Maps the file and copies nothing but the rows of a long tail. Raises DataError when the file is absent or damaged.
    """
    try:
        return subset(arrow_file.open_file(arrow_path), settings)
    except FileNotFoundError as error:
        raise DataError(f"{arrow_path}: no such cache file; prepare the data set on this machine first") from error
    except arrow_file.DamagedFileError as error:
        raise DataError(f"{error}; prepare the data set again") from error


def cache_folder(cache_dir: Path | None, data_folders: Sequence[Path]) -> Path:
    """The folder for cache files, made if need be; refused inside the user's data, which is only ever read."""
    given = cache_dir or os.environ.get("CACHE_DIR") or _user_cache()
    folder = Path(given).expanduser().resolve()
    for data_folder in data_folders:
        if folder.is_relative_to(data_folder.resolve()):
            raise DataError(
                f"cache folder {folder} lies inside the data folder {data_folder}; name one elsewhere by --cache-dir"
            )
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "vision-ablation"


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
    """Decodes into a raw file, then rewrites it as Arrow; memory holds no more than the pictures in the threads."""
    rows = _in_order(source.rows, settings.split_seed)
    with tempfile.TemporaryFile(dir=path.parent) as pixels:  # nameless: nothing is left when the process is killed
        points, faults = _decode(settings, source, rows, pixels.fileno())
        faults = [*source.faults, *contents.faults, *faults, *changed_files(source, contents)]
        if faults:
            raise DataError(list(dict.fromkeys(faults)))
        images = np.memmap(pixels, np.uint8, "r", shape=(len(rows), *source.image_shape))
        splits = _by_split(rows, images, points)
        info = _describe(settings, source, splits)
        temporary = path.with_suffix(".tmp")  # one name is enough under the lock, and a killed build's is overwritten
        with temporary.open("wb") as stream:
            arrow_file.write(stream, info, splits)
        temporary.replace(path)


def _in_order(rows: Sequence[Row], seed: int) -> list[Row]:
    mixed = [rows[i] for i in shuffled([row.path for row in rows], seed)]
    return [row for split in SPLITS for row in mixed if row.split == split]


def _decode(
    settings: DatasetSettings, source: Source, rows: Sequence[Row], pixels: int
) -> tuple[npt.NDArray[np.float32] | None, list[str]]:
    """Writes image i to its place in the file `pixels`; returns all points and all faults."""
    points = np.full((len(rows), source.n_points, 2), np.nan, dtype=np.float32) if source.n_points else None
    size = int(np.prod(source.image_shape))

    def decode(i: int) -> list[str]:
        try:
            record = settings.read(source, rows[i])
        except DataError as error:
            return error.faults
        _check(record, source, rows[i])
        _write_at(pixels, record.image.tobytes(), i * size)
        if points is not None and record.points is not None:
            points[i] = record.points
        return []

    with ThreadPoolExecutor(n_threads()) as pool:
        chunks = (range(start, min(start + _CHUNK, len(rows))) for start in range(0, len(rows), _CHUNK))
        faults = [fault for chunk in chunks for found in pool.map(decode, chunk) for fault in found]
    return points, faults


def _check(record: Record, source: Source, row: Row) -> None:
    if record.image.shape != source.image_shape or record.image.dtype != np.uint8:
        raise TypeError(f"{row.path}: decoded as {record.image.dtype} {record.image.shape}, not {source.image_shape}")


def _write_at(file: int, content: bytes, offset: int) -> None:
    # Not through a mapping: a full disk would then be a SIGBUS and not an OSError.
    while content:
        written = os.pwrite(file, content, offset)
        content, offset = content[written:], offset + written


def _by_split(
    rows: Sequence[Row], images: npt.NDArray[np.uint8], points: npt.NDArray[np.float32] | None
) -> dict[str, Examples]:
    splits, start = {}, 0
    for name in SPLITS:
        own = [row for row in rows if row.split == name]
        place = slice(start, start + len(own))
        splits[name] = Examples(
            images=images[place],
            labels=np.array([row.label for row in own], dtype=np.int64),
            points=None if points is None else points[place],
            paths=[row.path for row in own],
        )
        start += len(own)
    return splits


def _describe(settings: DatasetSettings, source: Source, splits: dict[str, Examples]) -> DatasetInfo:
    mean, std = channel_statistics(splits["train"].images)
    return DatasetInfo(
        name=settings.name,
        classes=source.classes,
        image_shape=source.image_shape,
        counts={name: _counts(rows.labels, len(source.classes)) for name, rows in splits.items()},
        mean=mean,
        std=std,
        fingerprint=arrow_file.fingerprint(source.classes, source.image_shape, source.n_points, splits),
        n_points=source.n_points,
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


def _counts(labels: npt.NDArray[np.int64], n_classes: int) -> tuple[int, ...]:
    return tuple(np.bincount(labels, minlength=n_classes).tolist())


def subset(opened: arrow_file.Opened, settings: DatasetSettings) -> Dataset:
    """Long tail of the training split, then the limits."""
    info = opened.info
    splits = dict(opened.splits)
    if settings.imbalance_factor > 1:
        order = class_order(info.classes, settings.split_seed)
        kept = long_tail_counts(info.counts["train"], settings.imbalance_factor, order)
        splits["train"] = _taken(splits["train"], first_of_each_class(splits["train"].labels, kept))
    for name, limit in zip(SPLITS, (settings.limit_train, settings.limit_eval, settings.limit_eval), strict=True):
        if 0 < limit < len(splits[name]):
            splits[name] = _first(splits[name], limit)
    counts = {name: _counts(rows.labels, len(info.classes)) for name, rows in splits.items()}
    return Dataset(replace(info, counts=counts), splits)


def _taken(rows: Examples, kept: npt.NDArray[np.int64]) -> Examples:
    assert isinstance(rows.paths, arrow_file.ArrowPaths)
    points = None if rows.points is None else rows.points[kept]
    return Examples(rows.images[kept], rows.labels[kept], points, rows.paths.taken(kept))


def _first(rows: Examples, n: int) -> Examples:
    assert isinstance(rows.paths, arrow_file.ArrowPaths)
    points = None if rows.points is None else rows.points[:n]
    return Examples(rows.images[:n], rows.labels[:n], points, rows.paths.taken(np.arange(n)))
