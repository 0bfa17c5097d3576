"""Paths of a run's files. None leads out of the run's folder, whatever links somebody has put there."""

import os
import re
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from urllib.parse import urlsplit

from core.files import OutsideError, inside, user_cache
from core.text import word


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
        """The run's URL or path, as a word of a shell command."""
        return word(self.remote or self.root)


CACHES = "VISION_ABLATION_MIRRORS"
"""environment variable: caches that this command, or the one that started it, was given; a path each, as in PATH"""


def mirror_folder(url: str, cache: Path) -> Path:
    """The mirror of the run at `url` in a cache; known as one from now on, in this process and those that it starts."""
    cache = cache.resolve()
    os.environ[CACHES] = os.pathsep.join(dict.fromkeys([*_given(), str(cache)]))
    return cache / "runs" / _name(url)


def mirrored(folder: Path) -> str | None:
    """The URL that a folder is the mirror of; None where it is none, FileNotFoundError where it does not say."""
    url = (folder / "remote.url").read_text(encoding="utf-8")
    place = folder.resolve()
    caches = {str(user_cache()), *_given()}
    return url if str(place.parent.parent) in caches and place == place.parents[1] / "runs" / _name(url) else None


def _given() -> list[str]:
    return [path for path in os.environ.get(CACHES, "").split(os.pathsep) if path]


def _name(url: str) -> str:
    parts = urlsplit(url)
    name = re.sub(r"[^\w.-]", "_", parts.path.rpartition("/")[2] or parts.netloc)
    return f"{name}-{blake2b(url.encode(), digest_size=6).hexdigest()}"
