"""What a path or a trial's key stands for; where it stands for no run or no trial, what it is instead."""

from collections.abc import Collection
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from core.errors import PlanError

MOST = 5  # names that a sentence lists
KEYS = 3  # nearest keys, or the first ones where none is near


def is_run(folder: Path) -> bool:
    return (folder / "study.json").is_file()


def runs_below(folder: Path) -> list[Path]:
    """The runs one or two levels down, as the name of a study has a slash at most."""
    return sorted(found.parent for pattern in ("*/study.json", "*/*/study.json") for found in folder.glob(pattern))


def no_run(asked: str, place: Path | None) -> str:
    """The sentence about a folder or file that is no run directory; `place` is None for a URL."""
    return f"{asked}: no run directory: it holds no study.json" + (f"; {_instead(place)}" if place else "")


def _instead(place: Path) -> str:
    """What a path is that is no run directory."""
    above = next((folder for folder in place.absolute().parents if is_run(folder)), None)
    if above and place.exists():
        return f"it lies in the run directory {above}: give that"
    if place.is_file() and place.suffix in (".yaml", ".yml"):
        return "it is a study: `run` makes a run directory of it"
    if place.is_file():
        return "it is a file"
    if not place.exists():
        near = {run.name: run for run in runs_below(place.parent)} if place.parent.is_dir() else {}
        found = get_close_matches(place.name, near, n=1)
        return "there is nothing of that name" + (f"; did you mean '{near[found[0]]}'?" if found else "")
    runs = list(islice(runs_below(place), MOST + 1))
    if runs:
        return f"it is a folder of runs: {', '.join(map(str, runs[:MOST]))}{', …' if len(runs) > MOST else ''}"
    held = sorted(each.name for each in islice(place.iterdir(), MOST))
    return f"it is a folder with {', '.join(held)}" if held else "it is an empty folder"


def trial_key(asked: str, known: Collection[str], told: str) -> str:
    """The whole key of a trial, from a unique beginning of it; PlanError, which begins with `told`, with the nearest
    keys otherwise."""
    found = [key for key in known if key.startswith(asked)]
    if len(found) == 1:
        return found[0]
    near = found[:MOST] or get_close_matches(asked, known, n=KEYS, cutoff=0.3) or list(islice(known, KEYS))
    what = f"stands for {len(found)} trials" if found else f"is none of the {len(known)} trials of the run"
    raise PlanError(f"{told} {asked}: {what}; nearest: {', '.join(near) or 'none was begun'}")
