"""EuroSAT: Sentinel-2 tiles of land use in ten classes, RGB 64 × 64 (Helber et al. 2019, the RGB archive)."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from datasets.base import DatasetSettings, Record, Row, Source
from datasets.folders import class_folder_source, find_folder

LAYOUT = "CLASS/*.jpg, as in eurosat/AnnualCrop/AnnualCrop_1111.jpg; also below EuroSAT/2750/, as the archive unpacks"
ARCHIVE_FOLDERS = ("EuroSAT/2750", "2750", "EuroSAT_RGB")


class EuroSat(DatasetSettings):
    """EuroSAT tiles in class folders, also as the archive unpacks; 70 % training, 10 % validation, 20 % test."""

    place_fields: ClassVar[frozenset[str]] = frozenset({"path"})

    name: Literal["eurosat"] = "eurosat"
    path: str = "eurosat"
    """below the data root, or any folder of the user's"""
    image_size: int = Field(default=64, ge=1, le=4096)
    """height and width after resizing, pixels"""

    def source(self, data_root: Path | None) -> Source:
        """The class folders wherever the archive put them, named alike in every layout."""
        folder = find_folder(self.path, data_root, LAYOUT)
        root = next((folder / below for below in ARCHIVE_FOLDERS if (folder / below).is_dir()), folder)
        shape = (3, self.image_size, self.image_size)
        return class_folder_source(root, shape, self.split_seed, test=0.2, validation=0.1 / 0.8)

    def read(self, source: Source, row: Row) -> Record:
        """The decoded tile, resized where it has another size."""
        from datasets.pictures import picture_record

        return picture_record(source.files[row.path], 3, self.image_size)
