"""Thumbnails of test pictures (artifacts/TRIAL/images/INDEX.png), and galleries of those that a level gains and loses.

A trial keeps some of the pictures that it got wrong. One that a level gains is among the baseline's, one that it loses
among the level's; all trials of a study share their test pictures, so any trial's copy will do.
"""

import io
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.figures.gallery import Gallery, Picture, encoded
from analysis.records.columns import rows_of
from analysis.records.run_directory import RunDirectory
from analysis.records.run_records import Records
from analysis.tables.ablation import comparison_label, is_step
from analysis.tables.gained_and_lost import GAINED, LOST

MAXIMUM_COMPARISONS = 6
PICTURES = 8  # of one comparison, either way
SMALLEST, LARGEST = 96, 112  # pixels of a picture's longer side


class Thumbnails:
    """The thumbnails of a run, looked up by test example; a folder is listed when it is first asked."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._listed: dict[str, dict[int, Path]] = {}

    def of(self, trial: str) -> dict[int, Path]:
        """File by test example of one trial."""
        if trial not in self._listed:
            folder = self._run.artifacts / trial / "images"
            files = folder.glob("*.png") if self._any else ()
            self._listed[trial] = {int(file.stem): file for file in files if file.stem.isdecimal()}
        return self._listed[trial]

    def find(self, index: int, trials: Iterable[str]) -> Path | None:
        """The first trial's copy."""
        return next((found for trial in trials if (found := self.of(trial).get(index))), None)

    @cached_property
    def _any(self) -> bool:
        return self._run.artifacts.is_dir()


def read_thumbnail(file: Path) -> bytes | None:
    """The thumbnail between SMALLEST and LARGEST pixels, small ones with square pixels; None where it is unreadable."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(file.read_bytes())) as opened:
            image = opened.convert("L" if opened.mode in ("1", "L", "I;16") else "RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    side = max(image.size)
    if side < SMALLEST:
        times = -(-SMALLEST // side)
        image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    elif side > LARGEST:
        image.thumbnail((LARGEST, LARGEST))
    return encoded(image)


def changed_galleries(records: Records, changed: pd.DataFrame, thumbnails: Thumbnails) -> list[Gallery]:
    """A gallery of pictures gained and one of pictures lost for each of the first MAXIMUM_COMPARISONS comparisons that
    changed any, of a ladder or a path first those with the cell before; where none of them has a thumbnail, one gallery
    that says so."""
    made: list[Gallery] = []
    step = is_step(records)
    comparisons = sorted(enumerate(records.comparisons), key=lambda numbered: not step(numbered[1]))
    turned = {key: rows_of(rows) for key, rows in changed.groupby(["factor", "level", "baseline_level"], sort=False)}
    left = 0
    for place, comparison in comparisons:
        rows = turned.get((comparison["factor"], comparison["level"], comparison["baseline_level"]), [])
        if rows and len(made) >= 2 * MAXIMUM_COMPARISONS:
            left += 1
            continue
        for way in (GAINED, LOST):
            own = [row for row in rows if row["turned"] == way]
            gallery = _gallery(records, comparison, way, own, thumbnails, f"changed_{place + 1}_{way}")
            made += [gallery] if gallery else []
    if len(changed) and not made:
        said = "Test pictures changed sides (changed.csv), but no trial kept thumbnails of them."
        return [Gallery("changed", "why", "Test pictures gained and lost", said, ())]
    if left:
        note = f"{left} more comparisons are in changed.csv."
        made.append(Gallery("changed", "why", "Test pictures gained and lost by further levels", note, ()))
    return made


def _gallery(
    records: Records,
    comparison: Mapping[str, Any],
    way: str,
    rows: list[dict[str, Any]],
    thumbnails: Thumbnails,
    name: str,
) -> Gallery | None:
    cells = ("baseline_cell", "cell") if way == GAINED else ("cell", "baseline_cell")
    trials = [trial for cell in cells for trial in records.finished_trials(comparison[cell]).values()]
    pictures: list[Picture] = []
    for row in rows:
        file = thumbnails.find(row["index"], trials)
        png = read_thumbnail(file) if file and len(pictures) < PICTURES else None
        if png:
            pictures.append(Picture(png, _label(row), _words(row)))
    if not pictures:
        return None
    before, after = ("wrong", "right") if way == GAINED else ("right", "wrong")
    more = " Further ones are in changed.csv." if len(rows) > len(pictures) else ""
    caption = (
        f"Test pictures that are {before} with {comparison['baseline_level']} and {after} with {comparison['level']}: "
        f"what the one says → what the other says, and in how many seeds.{more}"
    )
    return Gallery(name, "why", f"{comparison_label(comparison)}: pictures {way}", caption, tuple(pictures))


def _label(row: Mapping[str, Any]) -> str:
    return f"{row['baseline_says']} → {row['level_says']}, {row['seeds']} of {row['n']}"


def _words(row: Mapping[str, Any]) -> str:
    return (
        f"test picture {row['index']} of class {row['true']}, taken for {row['baseline_says']} by the baseline and for "
        f"{row['level_says']} by the level in {row['seeds']} of {row['n']} seeds"
    )
