"""Any set of pictures in class folders, the user's own included.

Pictures are resized to a square without keeping their aspect ratio, as the usual recipes for these sets do.
"""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from datasets.base import DataError, DatasetSettings, Record, Row, Source
from datasets.folders import LAYOUT, class_folder_source, find_folder


class ImageFolder(DatasetSettings):
    """`CLASS/*.jpg`, or the same below train/, validation/, test/; missing splits are drawn: 20 %, 15 % of the rest."""

    place_fields: ClassVar[frozenset[str]] = frozenset({"path"})

    name: Literal["image_folder"] = "image_folder"
    path: str = ""
    """below the data root, or any folder of the user's; empty = the data root itself"""
    image_size: int = Field(default=64, ge=1, le=4096)
    """height and width after resizing, pixels"""
    channels: Literal[1, 3] = 3
    """1 = grey, 3 = RGB"""

    def source(self, data_root: Path | None) -> Source:
        """The tree at `path`; its faults are in the result, only a missing folder raises."""
        shape = (self.channels, self.image_size, self.image_size)
        if not self.path and data_root is None:
            raise DataError(
                f"image_folder: name the folder by --set dataset.path=DIR or --data-root DIR; layout: {LAYOUT}"
            )
        return class_folder_source(find_folder(self.path, data_root, LAYOUT), shape, self.split_seed)

    def read(self, source: Source, row: Row) -> Record:
        """The decoded and resized picture."""
        from datasets.pictures import picture_record

        return picture_record(source.files[row.path], self.channels, self.image_size)
