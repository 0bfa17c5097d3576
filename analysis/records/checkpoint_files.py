"""What a run's checkpoints weigh, from their names and sizes alone."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from analysis.records.run_directory import RunDirectory

LAST_STATES = ("last.pt", "previous.pt")
"""of a trial: what `--keep best` deletes at its end"""


class Weight(NamedTuple):
    """`size` and `spare` are bytes: of all files, and of the last states that no trial needs any more."""

    files: int
    size: int
    spare: int


def weight(run: RunDirectory, needed: Callable[[str], bool]) -> Weight:
    """Of the files in checkpoints/, at the run's URL if it has one; `needed`: whether a trial's last state is."""
    sizes = list(_at_url(run.remote) if run.remote else _here(run.checkpoints))
    spare = (size for trial, name, size in sizes if name in LAST_STATES and not needed(trial))
    return Weight(len(sizes), sum(size for _, _, size in sizes), sum(spare))


def _here(folder: Path) -> Iterator[tuple[str, str, int]]:
    """(trial, name, bytes) of each whole file; one that is deleted meanwhile is left out."""
    with suppress(FileNotFoundError), os.scandir(folder) as trials:
        for trial in trials:
            with suppress(FileNotFoundError, NotADirectoryError), os.scandir(trial) as files:
                for file in files:
                    if not file.name.startswith("."):
                        with suppress(FileNotFoundError):
                            yield trial.name, file.name, file.stat().st_size


def _at_url(url: str) -> Iterator[tuple[str, str, int]]:
    from core.storage import Store

    for path, size in Store(url, patient=False).sizes("checkpoints").items():
        trial, _, name = path.removeprefix("checkpoints/").rpartition("/")
        yield trial, name, size
