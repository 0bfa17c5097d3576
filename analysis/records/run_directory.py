"""Where the files of a run lie."""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote


class _Inside:
    """The path of a file or folder in a run's folder."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, run: "RunDirectory", _: type) -> Path:
        return run.root / self.name


@dataclass(frozen=True)
class RunDirectory:
    """Where the files of one run are."""

    root: Path
    study, log = _Inside("study.json"), _Inside("log.jsonl")
    trials, epochs = _Inside("trials.parquet"), _Inside("epochs.parquet")
    predictions, artifacts, checkpoints = _Inside("predictions"), _Inside("artifacts"), _Inside("checkpoints")
    report = _Inside("report")

    @property
    def remote(self) -> str | None:
        """The URL that holds the copy of record, where the folder is a mirror of one."""
        try:
            return (self.root / "remote.url").read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None

    @property
    def address(self) -> str:
        """What a command of the user's names the run by; a URL may hold an `&`."""
        return quote(self.remote) if self.remote else str(self.root)
