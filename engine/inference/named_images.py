"""The images that `predict` is given as files, folders, patterns and boxes, and the prediction for one."""

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from datasets.base import Box
from datasets.sources.pictures import FORMATS, Skipped, pictures_below

Values = npt.NDArray[np.float64]
NUMBER = r"-?\d+(?:\.\d+)?"
CROP = re.compile(rf"(.+)@({NUMBER}),({NUMBER}),({NUMBER}),({NUMBER})")


@dataclass(frozen=True)
class Asked:
    """An image to predict on: its name as given, its file, and the box to crop from it (None: all)."""

    name: str
    file: Path
    box: Box | None = None


@dataclass(frozen=True)
class Prediction:
    """Scores by class, sum 1; landmarks (L, 2) as x, y in pixels of the upright photo. None if the task has none."""

    asked: Asked
    scores: Values | None
    points: Values | None

    def best(self) -> int:
        """The predicted class."""
        assert self.scores is not None
        return int(self.scores.argmax())


def images_named(arguments: Sequence[str]) -> tuple[list[Asked], list[str], list[str]]:
    """(the images of files, folders with their subfolders, and patterns, each once, in this order; a fault for every
    argument without an image; what is left out). `PHOTO@x1,y1,x2,y2` is a box of a photo, as crops are named."""
    found: dict[str, Asked] = {}
    faults, skipped = list[str](), Skipped()
    for argument in arguments:
        n_faults, asked = len(faults), list(_meant(argument, faults, skipped))
        if not asked and len(faults) == n_faults:
            faults.append(_nothing(argument))
        found |= {item.name: item for item in asked}
    return list(found.values()), faults, skipped.sentences()


def _meant(argument: str, faults: list[str], skipped: Skipped) -> Iterator[Asked]:
    path, crop = Path(argument), CROP.fullmatch(argument)
    if path.is_dir():
        yield from (Asked(str(file), file) for file in sorted(pictures_below(path, faults, skipped)))
    elif path.exists():
        yield Asked(argument, path)
    elif crop and Path(crop[1]).is_file():
        left, top, right, bottom = map(float, crop.groups()[1:])
        yield Asked(argument, Path(crop[1]), (left, top, right, bottom))
    else:
        for name in sorted(glob.glob(argument, recursive=True)):  # noqa: PTH207  (Path.glob takes no absolute one)
            if Path(name).is_file():
                yield Asked(name, Path(name))


def _nothing(argument: str) -> str:
    if Path(argument).is_dir():
        return f"{argument}: no pictures in this folder or below it; looked for {FORMATS}"
    if glob.has_magic(argument):
        return f"{argument}: no file has a name of this pattern"
    return f"{argument}: no such file or folder"
