"""The test images that trials kept as thumbnails (artifacts/TRIAL/images/INDEX.png)."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from analysis.figures.gallery import png_bytes, read_image
from analysis.records.run_directory import RunDirectory

SMALLEST, LARGEST = 96, 112  # pixels of an image's longer side


class Thumbnails:
    """The thumbnails of a run by test example; a trial's folder is listed on first use."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._listed: dict[str, dict[int, Path]] = {}

    def of(self, trial: str) -> dict[int, Path]:
        """Files of one trial by index of the test example."""
        if trial not in self._listed:
            folder = self._run.artifact(trial, "images")
            files = folder.glob("*.png") if self._any else ()
            self._listed[trial] = {int(file.stem): file for file in files if file.stem.isdecimal()}
        return self._listed[trial]

    def find(self, index: int, trials: Iterable[str]) -> Path | None:
        """The file of a test example from the first of `trials` that has one; else None."""
        return next((found for trial in trials if (found := self.of(trial).get(index))), None)

    @cached_property
    def _any(self) -> bool:
        return self._run.artifacts.is_dir()


def read_thumbnail(file: Path) -> bytes | None:
    """The thumbnail as PNG, resized to SMALLEST … LARGEST pixels, without smoothing if enlarged; None if unreadable."""
    from PIL import Image

    image = read_image(file, lambda mode: "L" if mode in ("1", "L", "I;16") else "RGB")
    if image is None:
        return None
    side = max(image.size)
    if side < SMALLEST:
        times = -(-SMALLEST // side)
        image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    elif side > LARGEST:
        image.thumbnail((LARGEST, LARGEST))
    return png_bytes(image)
