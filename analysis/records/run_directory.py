"""Paths of a run's files. None leads out of the run's folder, whatever links somebody has put there."""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from core.files import OutsideError, inside
from core.mirrors import mirrored


class _Inside:
    """The path of a file or folder in a run's folder; OutsideError for a link out of it, or the other kind."""

    def __init__(self, name: str, folder: bool = False) -> None:
        self.name, self.folder = name, folder

    def __get__(self, run: "RunDirectory", _: type) -> Path:
        path = inside(run.root, self.name)
        if path.is_file() if self.folder else path.is_dir():
            found, allowed = ("file", "folder") if self.folder else ("folder", "file")
            raise OutsideError(f"{path}: is a {found}; a run has a {allowed} of that name, or none")
        return path


@dataclass(frozen=True)
class RunDirectory:
    """The paths of a run's files below its folder `root`."""

    root: Path
    study, log = _Inside("study.json"), _Inside("log.jsonl")
    trials, epochs = _Inside("trials.parquet"), _Inside("epochs.parquet")
    predictions, artifacts = _Inside("predictions", folder=True), _Inside("artifacts", folder=True)
    checkpoints, report = _Inside("checkpoints", folder=True), _Inside("report", folder=True)
    code, tensorboard = _Inside("code", folder=True), _Inside("tensorboard", folder=True)
    lock, journal = _Inside(".lock"), _Inside("optuna.journal")

    def checkpoint(self, trial: str, *names: str) -> Path:
        """A trial's folder of checkpoints, or a file in it."""
        return inside(self.root, "checkpoints", trial, *names)

    def artifact(self, trial: str, *names: str) -> Path:
        """A trial's folder of artifacts, or a file in it."""
        return inside(self.root, "artifacts", trial, *names)

    def prediction(self, trial: str) -> Path:
        """The file of a trial's predictions."""
        return inside(self.root, "predictions", f"{trial}.parquet")

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
