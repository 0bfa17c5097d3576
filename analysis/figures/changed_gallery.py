"""Galleries of the test images that a level gains and loses.

A trial keeps thumbnails of some images that it got wrong: an image that a level gains is among the baseline's, one that
it loses among the level's. All trials of a study have the same test images, so any trial's copy serves.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.figures.gallery import Gallery, GalleryImage
from analysis.figures.thumbnails import Thumbnails, read_thumbnail
from analysis.records.columns import rows_of
from analysis.records.run_records import Records
from analysis.tables.ablation import comparison_label, is_step
from analysis.tables.gained_and_lost import GAINED, LOST

MAXIMUM_COMPARISONS = 6
MAXIMUM_IMAGES = 8  # of one gallery


def changed_galleries(records: Records, changed: pd.DataFrame, thumbnails: Thumbnails) -> list[Gallery]:
    """A gallery of images gained and one of images lost for each of the first MAXIMUM_COMPARISONS comparisons with any;
    for a ladder or a path, comparisons with the previous cell come first. If none of the images has a thumbnail, one
    gallery that says so."""
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
    images: list[GalleryImage] = []
    for row in rows:
        file = thumbnails.find(row["index"], trials)
        png = read_thumbnail(file) if file and len(images) < MAXIMUM_IMAGES else None
        if png:
            images.append(GalleryImage(png, _label(row), _words(row)))
    if not images:
        return None
    before, after = ("wrong", "right") if way == GAINED else ("right", "wrong")
    more = " Further ones are in changed.csv." if len(rows) > len(images) else ""
    caption = (
        f"Test pictures that are {before} with {comparison['baseline_level']} and {after} with {comparison['level']}: "
        f"what the one says → what the other says, and in how many seeds.{more}"
    )
    return Gallery(
        name, "why", f"{comparison_label(comparison, records.compares_cells)}: pictures {way}", caption, tuple(images)
    )


def _label(row: Mapping[str, Any]) -> str:
    return f"{row['baseline_says']} → {row['level_says']}, {row['seeds']} of {row['n']}"


def _words(row: Mapping[str, Any]) -> str:
    return (
        f"test picture {row['index']} of class {row['true']}, taken for {row['baseline_says']} by the baseline and for "
        f"{row['level_says']} by the level in {row['seeds']} of {row['n']} seeds"
    )
