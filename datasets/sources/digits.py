"""scikit-learn's 1,797 handwritten digits, 8 × 8 grey: real data that needs no download and no data root."""

from functools import cache
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from datasets.base import Box, DatasetSettings, Record, Row, Shape, Source
from datasets.splits import stratified_split


class Digits(DatasetSettings):
    """The UCI test set of optical digits; exactly stratified 60 % training, 20 % validation, 20 % test."""

    name: Literal["digits"] = "digits"

    def source(self, data_root: Path | None) -> Source:
        """The rows 0000 to 1796; the data root is not used."""
        images, labels = _digits()
        paths = [f"{i:04d}" for i in range(len(labels))]
        splits = stratified_split(paths, labels.tolist(), self.split_seed, test=0.2, validation=0.2)
        return Source(
            root=None,
            classes=tuple(str(digit) for digit in range(10)),
            image_shape=(1, 8, 8),
            rows=tuple(Row(*row) for row in zip(paths, labels.tolist(), splits, strict=True)),
            content=blake2b(images.tobytes() + labels.astype("<i8").tobytes(), digest_size=16).hexdigest(),
        )

    def read(self, source: Source, row: Row) -> Record:
        """The image of one row."""
        return Record(_digits()[0][int(row.path)])

    def read_file(self, file: Path, image_shape: Shape, box: Box | None = None) -> Record:
        """A file is decoded as those of class folders are, as the digits have no files of their own."""
        from datasets.sources.image_decoding import image_record

        return super().read_file(file, image_shape, box) if box else image_record(file, *image_shape[:2])


@cache
def _digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images (1797, 1, 8, 8), the stored 0..16 spread over 0..255, and labels (1797,).

    The file that `sklearn.datasets.load_digits` reads is read without importing scikit-learn, which takes a second.
    """
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    table = np.loadtxt(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    images = np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    return images, table[:, -1].astype(np.int64)
