"""Any set of images in class folders, the user's own included."""

from pathlib import Path
from typing import Literal

from datasets.base import DataError, Source
from datasets.sources.class_folders import LAYOUT
from datasets.sources.folders import ImageFiles, Side, class_folder_source, find_folder


class ImageFolder(ImageFiles):
    """Class folders, also below train/, validation/, test/; missing splits are drawn: test 20 %, 15 % of the rest."""

    name: Literal["image_folder"] = "image_folder"
    path: str = ""
    image_size: Side = 64
    channels: Literal[1, 3] = 3
    """1 = grey, 3 = RGB"""

    def source(self, data_root: Path | None) -> Source:
        """The tree at `path`; its faults are in the result, only a missing folder raises."""
        shape = (self.channels, self.image_size, self.image_size)
        if not self.path and data_root is None:
            raise DataError(
                f"image_folder: name the folder by --set dataset.path=DIR or --data-root DIR; layout: {LAYOUT}"
            )
        return class_folder_source(find_folder(self.path, data_root, LAYOUT), shape, self)
