"""Finds one example of a data set by the name of its file; only names are read, never images."""

from collections.abc import Iterator
from difflib import get_close_matches

from core.value_words import listed
from datasets.base import DataError, Dataset

ORDER = ("test", "val", "train")  # of the splits in which an image is looked for
SHOWN = 4  # names that an error lists


def find_example(dataset: Dataset, name: str) -> tuple[str, int]:
    """(split, row) of the example that `name` means: all of its path, or the end of it from a folder on.

    A crop (`PHOTO@x1,y1,x2,y2`) may be named by its photo alone if the photo has no other crop. DataError if no example
    matches (it lists the nearest names), or several do.
    """
    found = matching(dataset, name)
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise DataError(f"{name!r} stands for {len(found)} pictures; give one's whole name: {listed([*found], SHOWN)}")
    raise DataError(_nothing(dataset, name))


def matching(dataset: Dataset, name: str) -> dict[str, tuple[str, int]]:
    """(split, row) of every example that `name` may mean, by its path; one alone where it is all of a path."""
    found: dict[str, tuple[str, int]] = {}
    for path, split, row in _named(dataset):
        if path == name:
            return {path: (split, row)}
        if name in path and _means(name, path):
            found.setdefault(path, (split, row))
    return found


def _named(dataset: Dataset) -> Iterator[tuple[str, str, int]]:
    """(path, split, row) of every example."""
    for split in ORDER:
        for row, path in enumerate(dataset.splits[split].paths):
            yield path, split, row


def _means(name: str, path: str) -> bool:
    return any(whole == name or whole.endswith(f"/{name}") for whole in (path, path.partition("@")[0]))


def _nothing(dataset: Dataset, name: str) -> str:
    """The sentence for a name that no example has."""
    paths = [path for path, _, _ in _named(dataset)]
    last = {path if "/" in name else path.rpartition("/")[2]: path for path in paths}
    near = [last[match] for match in get_close_matches(name, last, n=SHOWN)]
    examples = f"nearest: {', '.join(near)}" if near else f"such as {', '.join(paths[:SHOWN])}"
    return f"{name!r} is none of the {len(paths)} pictures that {dataset.info.name} trains and judges on; {examples}"
