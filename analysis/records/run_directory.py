"""Paths of a run's files."""

from dataclasses import dataclass
from pathlib import Path

from core.shell import word


class _Inside:
    """The path of a file or folder in a run's folder."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, run: "RunDirectory", _: type) -> Path:
        return run.root / self.name


@dataclass(frozen=True)
class RunDirectory:
    """The paths of a run's files below its folder `root`."""

    root: Path
    study, log = _Inside("study.json"), _Inside("log.jsonl")
    trials, epochs = _Inside("trials.parquet"), _Inside("epochs.parquet")
    predictions, artifacts, checkpoints = _Inside("predictions"), _Inside("artifacts"), _Inside("checkpoints")
    report, code = _Inside("report"), _Inside("code")

    @property
    def remote(self) -> str | None:
        """The URL of the copy of record, if the folder is a mirror; else None."""
        try:
            return (self.root / "remote.url").read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None

    @property
    def address(self) -> str:
        """The run's URL or path, as a word of a shell command."""
        return word(self.remote or self.root)
