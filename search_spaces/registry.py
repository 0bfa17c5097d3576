"""The studies that come with the program, by name: one YAML file each in `studies/`, in the format of a user's own."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from search_spaces.study import AnyStudy
from search_spaces.study_file import read_study

FOLDER = Path(__file__).parent / "studies"
ORDER = (
    *("digits/long-tail", "digits/search", "faces/class-weights", "faces/loss-weights", "faces/bn-dropout"),
    *("faces/search", "landmarks/optimizers", "landmarks/schedules", "landmarks/ladder", "landmarks/search"),
    *("animals/networks", "animals/googlenet-ladder", "animals/resnet-ladder", "animals/stuck", "animals/search"),
    *("expressions/learning-rate", "expressions/ladder", "expressions/leave-one-out", "expressions/regularizers"),
    *("expressions/search", "eurosat/optimizers", "eurosat/augmentation-schedule", "eurosat/long-tail"),
    *("eurosat/search", "folder/ablation", "folder/search"),
)
"""in which they are listed; files that it does not name come last"""


class Studies(Mapping[str, AnyStudy]):
    """Reads a study when it is asked for; KeyError for a name that has no file."""

    def __iter__(self) -> Iterator[str]:
        return iter(_names())

    def __len__(self) -> int:
        return len(_names())

    def __getitem__(self, name: str) -> AnyStudy:
        if name not in _names():
            raise KeyError(name)
        return _read(name)


@cache
def _names() -> dict[str, None]:
    files = [file.relative_to(FOLDER).with_suffix("").as_posix() for file in sorted(FOLDER.rglob("*.yaml"))]
    return dict.fromkeys([*(name for name in ORDER if name in files), *files])


@cache
def _read(name: str) -> AnyStudy:
    return read_study(FOLDER / f"{name}.yaml")


STUDIES = Studies()
