"""Maps the path or URL that a user gives for a run to the local folder of its files."""

import os
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.records.lookup import MOST, is_run, no_run, runs_below
from analysis.records.run_directory import RunDirectory
from core.files import unfit
from core.value_words import listed

if TYPE_CHECKING:
    from search_spaces.study import AnyStudy


def directory_of(study: "AnyStudy", out: str | None, cache_dir: str | None) -> Path:
    """The folder of a run that is to be made; PlanError for a name that could not be printed or recorded."""
    from core.errors import PlanError
    from core.text import name_fault

    if fault := name_fault(out or ""):
        raise PlanError(f"--out {out}: {fault}")
    directory = local(out or str(Path("results") / study.name), cache_dir).expanduser().resolve()
    if (folder := str(directory)) != folder.encode(errors="replace").decode():
        raise PlanError(f"--out {folder}: is not valid UTF-8, which the records are in; name another folder")
    return directory


def existing(run_dir: str, cache_dir: str | None = None, every_link: bool = True) -> Path:
    """The folder of a run; PlanError where there is none, or where something in it leads out of it or is no file.

    `every_link`: look at every file of the folder, which a large run on a network's disk makes slow.
    """
    from core.errors import PlanError

    directory = local(run_dir, cache_dir)
    if not is_run(directory):
        raise PlanError(no_run(run_dir, None if "://" in run_dir else directory))
    if every_link and (found := list(islice(unfit(directory), MOST + 1))):
        names = listed([str(path.relative_to(directory)) for path in found], MOST)
        what = "links in it lead out of it, or it holds pipes or devices; nothing there may be read or changed"
        raise PlanError(f"{run_dir}: {what}: {names}")
    return directory.resolve()


def local(place: str, cache_dir: str | None = None) -> Path:
    """The folder of a path, or the mirror of a URL, updated from the URL."""
    _check_length(place)
    directory = Path(place)
    if "://" in place:
        from engine.integrations.remote_sync import mirror_of

        directory = mirror_of(place, cache_dir)
    if RunDirectory(directory).remote:
        from engine.integrations.remote_sync import refresh

        refresh(directory)
    return directory


NAME, PATH = 255, 4096  # bytes that a name and a path may have
BELOW = 150  # bytes of a path that a run's own files need
MIRRORED = 20  # bytes that the name of a URL's mirror has more


def _check_length(place: str) -> None:
    """PlanError for a path or URL that no file system takes."""
    from core.errors import PlanError

    longest = max(len(os.fsencode(name)) for name in place.split("/"))
    allowed = NAME - MIRRORED if "://" in place else NAME
    if longest > allowed:
        raise PlanError(f"{place[:60]}…: a name of {longest} bytes; allowed: up to {allowed}")
    if (length := len(os.fsencode(Path(place).absolute()))) > PATH - BELOW:
        raise PlanError(f"{place[:60]}…: a path of {length} bytes; allowed: up to {PATH - BELOW}")


def runs_in(place: str) -> list[str]:
    """The run that a path or URL names; for a folder that is none but holds some, those."""
    _check_length(place)
    if "://" in place or is_run(Path(place)):
        return [place]
    return list(map(str, runs_below(Path(place)))) or [place]


def at_work(directory: Path) -> bool:
    """Whether a driver, on this machine or at the run's URL, is running the run."""
    from engine.runlog.study_file import at_work as held

    run = RunDirectory(directory)
    if not run.remote:
        return held(run)
    from core.storage import Store
    from engine.integrations.remote_lock import RemoteLock

    return RemoteLock(Store(run.remote, patient=False)).other() is not None
