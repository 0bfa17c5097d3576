"""Every data set by the name that `--set dataset.name=…` takes. Decoding libraries are imported only when used."""

from core.component import Registry
from datasets.base import DatasetSettings
from datasets.faces.dataset import Faces
from datasets.sources.animals import Animals
from datasets.sources.digits import Digits
from datasets.sources.eurosat import EuroSat
from datasets.sources.expressions import Expressions
from datasets.sources.image_folder import ImageFolder
from datasets.sources.own_dataset import OwnDataset

DATASETS = Registry[DatasetSettings](
    {
        "digits": Digits,
        "image_folder": ImageFolder,
        "faces": Faces,
        "animals": Animals,
        "expressions": Expressions,
        "eurosat": EuroSat,
    },
    own=OwnDataset,
)
