"""TODO."""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote


@dataclass(frozen=True)
class RunDirectory:
    """Where the files of one run are."""

    root: Path

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

    @property
    def study(self) -> Path:
        return self.root / "study.json"

    @property
    def log(self) -> Path:
        return self.root / "log.jsonl"

    @property
    def trials(self) -> Path:
        return self.root / "trials.parquet"

    @property
    def epochs(self) -> Path:
        return self.root / "epochs.parquet"

    @property
    def predictions(self) -> Path:
        return self.root / "predictions"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def report(self) -> Path:
        return self.root / "report"
