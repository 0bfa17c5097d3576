"""Maps the path or URL that a user gives for a run to the local folder of its files."""

from pathlib import Path
from typing import TYPE_CHECKING

from analysis.records.run_directory import RunDirectory

if TYPE_CHECKING:
    from search_spaces.study import AnyStudy


def directory_of(study: "AnyStudy", out: str | None, cache_dir: str | None) -> Path:
    return local(out or str(Path("results") / study.name), cache_dir).expanduser().resolve()


def existing(run_dir: str, cache_dir: str | None = None) -> Path:
    from core.errors import PlanError

    directory = local(run_dir, cache_dir)
    if not (directory / "study.json").is_file():
        raise PlanError([f"{run_dir}: no run directory: it holds no study.json"])
    return directory.resolve()


def local(place: str, cache_dir: str | None = None) -> Path:
    """The folder of a path, or the mirror of a URL, updated from the URL."""
    directory = Path(place)
    if "://" in place:
        from engine.integrations.remote_sync import mirror_of

        directory = mirror_of(place, cache_dir)
    if RunDirectory(directory).remote:
        from engine.integrations.remote_sync import refresh

        refresh(directory)
    return directory
