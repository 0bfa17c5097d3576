"""EuroSAT: Sentinel-2 tiles of land use in ten classes, RGB 64 × 64 (Helber et al. 2019, the RGB archive)."""

from pathlib import Path
from typing import Literal

from datasets.base import Source
from datasets.sources.folders import ImageFiles, Side, class_folder_source, find_folder

LAYOUT = "CLASS/*.jpg, as in eurosat/AnnualCrop/AnnualCrop_1111.jpg; also below EuroSAT/2750/, as the archive unpacks"
ARCHIVE_FOLDERS = ("EuroSAT/2750", "2750", "EuroSAT_RGB")


class EuroSat(ImageFiles):
    """EuroSAT tiles in class folders, also as the archive unpacks; 70 % training, 10 % validation, 20 % test."""

    name: Literal["eurosat"] = "eurosat"
    path: str = "eurosat"
    image_size: Side = 64

    def source(self, data_root: Path | None) -> Source:
        """The class folders wherever the archive put them, named alike in every layout."""
        folder = find_folder(self.path, data_root, LAYOUT)
        root = next((folder / below for below in ARCHIVE_FOLDERS if (folder / below).is_dir()), folder)
        shape = (3, self.image_size, self.image_size)
        return class_folder_source(root, shape, self, test=0.2, validation=0.1 / 0.8)
