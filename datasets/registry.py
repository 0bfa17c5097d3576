"""Every data set by the name that `--set dataset.name=…` takes. Light: what decodes is imported when it decodes."""

from datasets.animals import Animals
from datasets.base import DatasetSettings
from datasets.digits import Digits
from datasets.eurosat import EuroSat
from datasets.expressions import Expressions
from datasets.faces import Faces
from datasets.image_folder import ImageFolder

DATASETS: dict[str, type[DatasetSettings]] = {
    "digits": Digits,
    "image_folder": ImageFolder,
    "faces": Faces,
    "animals": Animals,
    "expressions": Expressions,
    "eurosat": EuroSat,
}
