"""The studies that come with the program, by name: one YAML file each in `studies/`, in the format of a user's own."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from search_spaces.study import AnyStudy, read_study

FOLDER = Path(__file__).parent / "studies"
ORDER = ("digits", "faces", "landmarks", "animals", "expressions", "eurosat", "folder")
"""of the data sets; searches come last of each"""


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
    files = [str(file.relative_to(FOLDER).with_suffix("")) for file in sorted(FOLDER.rglob("*.yaml"))]
    places = {name: place for place, name in enumerate(ORDER)}

    def place(name: str) -> tuple[int, bool]:
        return places.get(name.partition("/")[0], len(places)), name.endswith("/search")

    return dict.fromkeys(sorted(files, key=place))


@cache
def _read(name: str) -> AnyStudy:
    return read_study(FOLDER / f"{name}.yaml")


STUDIES = Studies()
