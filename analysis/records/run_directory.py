"""Paths of a run's files. None leads out of the run's folder, whatever links somebody has put there."""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from core.files import inside
from core.mirrors import mirrored


class _Inside:
    """The path of a file or folder in a run's folder; OutsideError where it is a link out of it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, run: "RunDirectory", _: type) -> Path:
        return inside(run.root, self.name)


@dataclass(frozen=True)
class RunDirectory:
    """The paths of a run's files below its folder `root`."""

    root: Path
    study, log = _Inside("study.json"), _Inside("log.jsonl")
    trials, epochs = _Inside("trials.parquet"), _Inside("epochs.parquet")
    predictions, artifacts, checkpoints = _Inside("predictions"), _Inside("artifacts"), _Inside("checkpoints")
    report, code = _Inside("report"), _Inside("code")
    lock, journal, tensorboard = _Inside(".lock"), _Inside("optuna.journal"), _Inside("tensorboard")

    def checkpoint(self, trial: str, *names: str) -> Path:
        """A trial's folder of checkpoints, or a file in it."""
        return inside(self.root, "checkpoints", trial, *names)

    def artifact(self, trial: str, *names: str) -> Path:
        """A trial's folder of artifacts, or a file in it."""
        return inside(self.root, "artifacts", trial, *names)

    def prediction(self, trial: str) -> Path:
        """The file of a trial's predictions."""
        return inside(self.root, "predictions", f"{trial}.parquet")

    def file(self, name: str) -> Path:
        """A file by its name from the run's folder, with `/` between its parts."""
        return inside(self.root, *name.split("/"))

    @property
    def remote(self) -> str | None:
        """The URL of the copy of record, if the folder is a mirror below a cache of this user's; else None.

        Anywhere else the file says nothing: who sends a folder could name a URL or folder that a report then changes.
        """
        try:
            return mirrored(self.root)
        except (OSError, ValueError):
            return None

    @property
    def address(self) -> str:
        """The run's URL or path, as text for a shell command; a URL is quoted, as it may hold an `&`."""
        return quote(self.remote) if self.remote else str(self.root)
