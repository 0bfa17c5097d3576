"""Copies a trial's checkpoints and outputs to the run's URL; the checkpoints there are consistent at every moment."""

import os
from pathlib import Path

from core.files import DIGEST, whole
from core.storage import Store
from trainables.trial.spec import TrialSpec

STATE = ("best.pt", "best.new.pt", "last.pt")


class RemoteCheckpoints:
    """One trial's checkpoints at a URL: between any two requests, the last state has its selected model beside it.

    The names are the local ones, so that a copy of the URL is a run directory. A new model is put as best.new.pt, then
    the state that selects it, and only then it takes the place of the model before.
    """

    def __init__(self, url: str, run: Path, trial: str) -> None:
        self.store, self.run, self.trial = Store(url), run, trial
        self._tails: dict[str, bytes | None] = {}  # of this trial's files at the URL

    def fetch(self, trial: str, *names: str) -> None:
        """Downloads a trial's last state and model (or the files `names`) where they differ from the local ones."""
        folder = f"checkpoints/{trial}"
        listed = self.store.files(folder)
        for name in (f"{folder}/{name}" for name in names or STATE):
            tail = self.store.read(name, DIGEST) if name in listed else None
            if tail is not None and tail != _tail(self.run / name):
                self.store.get(name, self.run / name, whole)
            self._tails[name] = tail

    def settle(self) -> None:
        """Completes a save that a lost process left half done; called once the local best.pt fits the last state."""
        best, new, last = (self._name(file) for file in STATE)
        if self._tails.get(new) and self._tails[new] == _tail(self.run / best):
            self._promote()
        if self._tails.get(last) is None and (self.run / last).exists():
            self.save()

    def save(self) -> None:
        best, new, last = (self._name(file) for file in STATE)
        changed = _tail(self.run / best) not in (None, self._tails.get(best))
        if changed:
            self.store.put(new, self.run / best)
        self.store.put(last, self.run / last)
        if changed:
            self._promote()

    def put(self, file: Path) -> None:
        self.store.put(file.relative_to(self.run).as_posix(), file)

    def put_outputs(self) -> None:
        put_trial(self.store, self.run, self.trial, ("predictions", "artifacts"))

    def _promote(self) -> None:
        best, new, _ = (self._name(file) for file in STATE)
        self.store.move(new, best)
        self._tails |= {best: _tail(self.run / best), new: None}

    def _name(self, file: str) -> str:
        return f"checkpoints/{self.trial}/{file}"


def put_trial(
    store: Store, run: Path, trial: str, folders: tuple[str, ...] = ("checkpoints", "predictions", "artifacts")
) -> None:
    """Upload all files of a trial that is over."""
    for folder in folders:
        for file in sorted((run / folder).glob(f"{trial}.parquet" if folder == "predictions" else f"{trial}/**/*")):
            if file.is_file() and not file.name.startswith("."):
                store.put(file.relative_to(run).as_posix(), file)


def present(spec: TrialSpec, name: str) -> bool:
    """Whether a file of the run is here or at its URL."""
    return (Path(spec.directory) / name).exists() or bool(spec.remote and Store(spec.remote).has(name))


def _tail(file: Path) -> bytes | None:
    try:
        with file.open("rb") as opened_file:
            opened_file.seek(-min(DIGEST, file.stat().st_size), os.SEEK_END)
            return opened_file.read()
    except FileNotFoundError:
        return None
