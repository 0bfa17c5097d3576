"""Every data set by the name that `--set dataset.name=…` takes. Light: what decodes is imported when it decodes."""

from datasets.base import DatasetSettings
from datasets.digits import Digits
from datasets.image_folder import ImageFolder

DATASETS: dict[str, type[DatasetSettings]] = {"digits": Digits, "image_folder": ImageFolder}
