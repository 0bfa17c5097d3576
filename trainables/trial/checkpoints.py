"""The checkpoints of one trial: what they hold, how they are written, and which one a restarted trial resumes from.

`checkpoints/TRIAL/` holds `last.pt` (the learner's state, with the rows of all epochs so far), `previous.pt` (the one
before it), `best.pt` (the model of the selected epoch, with its configuration and data set) and, of a population's
member, `epoch-N.pt` (its state at the end of a generation).
"""

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import StorageError
from core.files import inside, write_atomically
from trainables.trial import checkpoint_file
from trainables.trial.remote_checkpoints import RemoteCheckpoints
from trainables.trial.selected_epoch import selected_epoch
from trainables.trial.spec import TrialSpec

if TYPE_CHECKING:
    from trainables.config import Selection

State = dict[str, Any]


class TrialCheckpoints:
    """Saves and restores a trial's states, also at the run's URL if it has one."""

    def __init__(self, spec: TrialSpec, selection: "Selection") -> None:
        self.spec, self.selection, self.run = spec, selection, Path(spec.directory)
        self.folder = self._folder(spec.trial)
        self.remote = RemoteCheckpoints(spec.remote, self.run, spec.trial) if spec.remote else None
        self.best: State | None = None
        """the selected model, until it is written to a file"""
        self.saved, self.written = time.monotonic(), False
        self.place = _place(self.run)

    @property
    def due(self) -> bool:
        """Whether `checkpoint_seconds` have passed since the last save."""
        return time.monotonic() - self.saved >= self.spec.checkpoint_seconds

    def save(self, state: State) -> None:
        """Write the last state, and the selected model; a kill between the files leaves a consistent pair.

        StorageError where the run's folder was moved since: it would come to be once more at its old path.
        """
        if self.place not in (None, _place(self.run)):
            raise StorageError(f"{self.run} was moved or deleted while a trial ran")
        if self.best:
            checkpoint_file.save(self.best, self.folder / "best.new.pt")
        last = self.folder / "last.pt"
        if last.exists():
            last.replace(self.folder / "previous.pt")
        checkpoint_file.save(state, last)
        if self.best:
            (self.folder / "best.new.pt").replace(self.folder / "best.pt")
        self.best, self.saved = None, time.monotonic()
        if self.remote:
            self.remote.save()
        self.written = True

    def restore(self) -> State | None:
        """The state to resume from, with the donor's weights where a segment starts from them; None for a new trial.

        It is the newest intact one whose selected model exists too, else that of the trial which this one `continues`.
        """
        segment = self.spec.segment
        state = self._newest(self.spec.trial)
        if state is None and segment.continues:
            state = self._newest(segment.continues)
        if segment.begins and (state is None or state["learner"]["epoch"] < segment.begins):
            state = self._newest(self.spec.trial, f"epoch-{segment.begins}.pt")
            if state is None:
                raise RuntimeError(f"no checkpoint of epoch {segment.begins} is left, after which this part begins")
        if state and segment.donor and state["learner"]["epoch"] == segment.begins:
            state["learner"] = self._donated(segment.donor, segment.begins)
        if self.remote:
            self.remote.settle()
        return state

    def best_saved(self) -> State | None:
        """The selected model in best.pt; None where there is none."""
        return checkpoint_file.load(self.folder / "best.pt")

    def keep_generation(self, epoch: int) -> None:
        """Copies the last state to epoch-N.pt, for members that take it over and for the trial's next segment."""
        kept = generation_file(self.run, self.spec.trial, epoch)
        write_atomically(kept, lambda temporary: shutil.copyfile(self.folder / "last.pt", temporary))
        if self.remote:
            self.remote.put(kept)

    def drop_previous(self) -> None:
        (self.folder / "previous.pt").unlink(missing_ok=True)

    def put_outputs(self) -> None:
        """Uploads the trial's predictions and artifacts to the run's URL, if it has one."""
        if self.remote:
            self.remote.put_outputs()

    def _folder(self, trial: str) -> Path:
        return inside(self.run, "checkpoints", trial)

    def _fetch(self, trial: str, *names: str) -> None:
        if self.remote:
            self.remote.fetch(trial, *names)

    def _newest(self, trial: str, *names: str) -> State | None:
        """The first intact one of a trial's states (or of the files `names`) whose selected model exists too."""
        self._fetch(trial, *names)
        folder = self._folder(trial)
        for name in names or ("last.pt", "previous.pt"):
            state = checkpoint_file.load(folder / name)
            if state is not None:
                epoch = selected_epoch(self.selection, json.loads(state["rows"]))
                if epoch is None or self._adopt_best(folder, epoch):
                    return state
        return None

    def _adopt_best(self, folder: Path, epoch: int) -> bool:
        """Make the model of the selected epoch this trial's best.pt, if it is in the folder."""
        for name in ("best.pt", "best.new.pt"):
            state = checkpoint_file.load(folder / name)
            if state and state["epoch"] == epoch:
                if folder == self.folder:
                    (folder / name).replace(folder / "best.pt")
                else:
                    checkpoint_file.save({**state, "config": self.spec.config}, self.folder / "best.pt")
                return True
        return False

    def _donated(self, donor: str, epoch: int) -> State:
        """The learner's state of another member at the end of a generation."""
        kept = generation_file(self.run, donor, epoch)
        self._fetch(donor, kept.name)
        state = checkpoint_file.load(kept)
        if state is None:
            raise RuntimeError(f"the weights of trial {donor} after epoch {epoch} cannot be read")
        return state["learner"]


def _place(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from another one that comes to have its path; None where there is none."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def generation_file(directory: Path, trial: str, epoch: int) -> Path:
    """A member's checkpoint at the end of a generation of its population."""
    return inside(directory, "checkpoints", trial, f"epoch-{epoch}.pt")
