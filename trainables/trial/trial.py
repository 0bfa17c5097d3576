"""One trial from its specification to its records: epochs, checkpoints, predictions. Ray-free.

The Ray trainable and `rerun` both drive this class, so a trial's numbers are the same under either. Its checkpoint
carries its epoch rows: whatever died, the next attempt continues from the last whole file and reports all of them.
"""

import json
import math
import platform
import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.errors import out_of_memory
from core.files import write_atomically
from core.metrics import maximised
from datasets.base import Dataset
from datasets.cache.cache import open_or_prepare
from trainables.config import TrialConfig, from_tree
from trainables.training import diagnostics, verification
from trainables.training.learner import Learner
from trainables.training.malloc import keep_freed
from trainables.trial import checkpoint
from trainables.trial.outputs import write_diagnostics, write_outputs
from trainables.trial.processor import computer
from trainables.trial.remote_checkpoints import Checkpoints

TABLES = ("rows", "layers")  # of a checkpoint, as JSON: torch's pickler calls Python for every number in them
DIVERGENCE = 1000.0  # an epoch's mean training loss above this multiple of the first batch's ends the trial


@dataclass(frozen=True)
class TrialSpec:
    """What a trial is and where it reads and writes; every field survives JSON.

    `trial` is its key, `code` the version of the code that computes its numbers.

    `until` ends it early, as stopped, at an epoch that a trial scheduler chose. `continues` is the key of the same
    trial with fewer epochs: its checkpoint is where this one begins. A member of a population runs in parts: each
    `begins` after an epoch, from the weights of `donor` if it has one, and a part before the last ends with a `pause`.
    `checkpoint_seconds` is how much work may be lost with the process: so long after a checkpoint, the next is due.
    `remote` is the URL that `directory` is a mirror of, on whichever machine. `pictures` says whether thumbnails and
    feature maps are drawn at its end.
    """

    trial: str
    cell: str
    seed: int
    config: dict[str, Any]
    dataset_file: str
    fingerprint: str
    directory: str
    code: str = ""
    threads: int = 1
    data_root: str | None = None
    cache_dir: str | None = None
    until: int | None = None
    continues: str | None = None
    begins: int = 0
    donor: str | None = None
    pause: bool = False
    remote: str | None = None
    pictures: bool = False
    checkpoint_seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Trial:
    """Runs one specification an epoch at a time. `advance` returns what is new; the last result holds `end`.

    After a restart the first `advance` only reports what the checkpoint holds: whoever decides by rows whether a trial
    goes on decides on each before the next is trained.
    """

    def __init__(self, spec: TrialSpec, device: torch.device | None = None) -> None:
        torch.set_num_threads(spec.threads)
        keep_freed()  # and give back what the process's last trial left
        self.spec = spec
        self.config: TrialConfig = from_tree(spec.config)
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.folder = self._checkpoints(spec.trial)
        dataset = dataset_of(spec, self.config)
        self.learner = Learner(self.config, dataset, spec.seed, self.device)
        self.initial = {name: value.detach().cpu().clone() for name, value in self.learner.network.named_parameters()}
        self.rows: list[dict[str, Any]] = []
        self.layers: list[dict[str, Any]] = []  # diagnostics, a row a layer and epoch
        self.before: dict[str, Tensor] = {}  # with diagnostics, the weights before the epoch in progress
        self.dataset = dataset
        self.reported = 0
        self.best: dict[str, Any] | None = None  # the selected model, while no file holds it
        self.saved = time.monotonic()
        self.remote = Checkpoints(spec.remote, Path(spec.directory), spec.trial) if spec.remote else None
        self._restore()

    def advance(self, train: Callable[[], dict[str, float]] | None = None, lanes: int = 1) -> dict[str, Any]:
        """Train, by `train` if not alone but as one of so many `lanes`, and evaluate one epoch.

        `rows` are those not yet reported, `end` is there once the trial is over, `standing` is what its end would be if
        it were stopped here.
        """
        if self.due:
            self.begin_epoch()
            began = time.perf_counter()
            metrics = train() if train else self.learner.train_epoch()
            self.end_epoch(metrics, time.perf_counter() - began, lanes)
        return self.report()

    @property
    def due(self) -> bool:
        """Whether an epoch is to be trained before the next report."""
        return not self._over() and self.reported == len(self.rows)

    def report(self) -> dict[str, Any]:
        """What `advance` returns."""
        end = self._end() if self._over() else None
        standing = None if end else self._stopped()
        new, self.reported = self.rows[self.reported :], len(self.rows)
        return {"rows": new, "end": end, "standing": standing}

    def begin_epoch(self) -> None:
        """Before the learner trains one."""
        self.before = diagnostics.weights_of(self.learner.network) if self.config.diagnostics else {}

    def end_epoch(self, trained: dict[str, float], seconds: float, lanes: int = 1) -> None:
        """Evaluate and save once the learner has trained an epoch, to such metrics in so many seconds.

        `lanes` of a fused program, of which the trial was one, stand in the epoch's row, so that it can be replayed.
        """
        start = time.perf_counter()
        metrics = {"train": trained} | {split: self.learner.evaluate(split) for split in ("val", "test")}
        row: dict[str, Any] = {"epoch": self.learner.epoch, "lr": self.learner.lr}
        row |= {f"{split}_{name}": _finite(value) for split, part in metrics.items() for name, value in part.items()}
        row |= {"lanes": lanes} if lanes > 1 else {}
        row["seconds"] = round(seconds + time.perf_counter() - start, 6)
        self.rows.append(row)
        if self.before:
            self.layers += diagnostics.layer_rows(self.learner, self.before)
        if self.learner.epoch == 1 and (faults := verification.after_first_epoch(self.learner, self.initial)):
            raise VerificationError(faults)
        if not self._diverged():
            self._save()

    def selected_epoch(self) -> int | None:
        """The epoch the selection rule chooses among the rows so far; the first of equals."""
        selection = self.config.selection
        if selection.rule == "last":
            return self.rows[-1]["epoch"] if self.rows else None
        if selection.rule == "epoch":
            return selection.epoch if any(row["epoch"] == selection.epoch for row in self.rows) else None
        sign = -1 if maximised(selection.metric) else 1
        scored = [
            (sign * row[selection.metric], row["epoch"]) for row in self.rows if row[selection.metric] is not None
        ]
        return min(scored)[1] if scored else None

    def _save(self) -> None:
        """Last state, and the model of the selected epoch; a kill between the files leaves a consistent pair."""
        due = self._over() or time.monotonic() - self.saved >= self.spec.checkpoint_seconds
        if self.selected_epoch() == self.learner.epoch:
            model = self.learner.evaluated.state_dict()
            self.best = {
                "epoch": self.learner.epoch,
                "model": model if due else {name: value.clone() for name, value in model.items()},
                "config": self.spec.config,
                "data": asdict(self.dataset.info),
            }
        if not due:
            return
        if self.best:
            checkpoint.save(self.best, self.folder / "best.new.pt")
        last = self.folder / "last.pt"
        if last.exists():
            last.replace(self.folder / "previous.pt")
        checkpoint.save(self.state_dict(), last)
        if self.best:
            (self.folder / "best.new.pt").replace(self.folder / "best.pt")
        self.best, self.saved = None, time.monotonic()
        if self.remote:
            self.remote.save()

    def _restore(self) -> None:
        """Continue from the newest whole checkpoint whose selected model is at hand too, if need be of `continues`."""
        self._fetch(self.spec.trial)
        if not self._adopt(self.folder) and self.spec.continues:
            self._fetch(self.spec.continues)
            self._adopt(self._checkpoints(self.spec.continues))
        if self.learner.epoch < self.spec.begins:
            self._fetch(self.spec.trial, f"epoch-{self.spec.begins}.pt")
            if not self._adopt(self.folder, [f"epoch-{self.spec.begins}.pt"]):
                raise RuntimeError(f"no checkpoint of epoch {self.spec.begins} is left, after which this part begins")
        if self.remote:
            self.remote.settle()

    def _fetch(self, trial: str, *names: str) -> None:
        """A trial's checkpoint files from the URL, where there is one."""
        if self.remote:
            self.remote.fetch(trial, *names)

    def _adopt(self, folder: Path, names: Sequence[str] = ("last.pt", "previous.pt")) -> bool:
        for name in names:
            state = checkpoint.load(folder / name)
            if state is None:
                continue
            self.rows = json.loads(state["rows"])
            if self.selected_epoch() is None or self._adopt_best(folder, self.selected_epoch()):
                self.load_state_dict(state)
                return True
            self.rows = []
        return False

    def _checkpoints(self, trial: str) -> Path:
        return Path(self.spec.directory) / "checkpoints" / trial

    def state_dict(self) -> dict[str, Any]:
        return {"learner": self.learner.state_dict(), **{name: json.dumps(getattr(self, name)) for name in TABLES}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows, self.layers = (json.loads(state[name]) for name in TABLES)
        taken_over = self.spec.donor and state["learner"]["epoch"] == self.spec.begins
        self.learner.load_state_dict(self._donated() if taken_over else state["learner"])

    def _donated(self) -> dict[str, Any]:
        """The learner of the donor where this part begins."""
        kept = generation_file(Path(self.spec.directory), str(self.spec.donor), self.spec.begins)
        self._fetch(str(self.spec.donor), kept.name)
        state = checkpoint.load(kept)
        if state is None:
            raise RuntimeError(f"the weights of trial {self.spec.donor} after epoch {self.spec.begins} cannot be read")
        return state["learner"]

    def _pause(self) -> dict[str, Any]:
        """Keep this epoch's state for the members of the population that take it over, and for the next part."""
        kept = generation_file(Path(self.spec.directory), self.spec.trial, self.learner.epoch)
        write_atomically(kept, lambda temporary: shutil.copyfile(self.folder / "last.pt", temporary))
        if self.remote:
            self.remote.put(kept)
        return self._stopped() | {"status": "paused"}

    def _adopt_best(self, folder: Path, epoch: int | None) -> bool:
        for name in ("best.pt", "best.new.pt"):
            state = checkpoint.load(folder / name)
            if state and state["epoch"] == epoch:
                if folder == self.folder:
                    (folder / name).replace(folder / "best.pt")
                else:
                    checkpoint.save({**state, "config": self.spec.config}, self.folder / "best.pt")
                return True
        return False

    def _diverged(self) -> bool:
        """A non-finite loss, or an epoch's mean training loss above 1,000 × the first batch's at initialisation."""
        if not self.rows:
            return False
        first, loss = self.learner.first_loss, self.rows[-1]["train_loss"]
        lost = any(self.rows[-1][f"{split}_loss"] is None for split in ("train", "val", "test"))
        return lost or first is None or not math.isfinite(first) or loss > DIVERGENCE * first

    def _over(self) -> bool:
        last = self.spec.until or self.config.training.epochs
        return self._diverged() or self.learner.epoch >= last or self._out_of_patience()

    def _out_of_patience(self) -> bool:
        """Whether so many epochs have passed since the selection metric's best."""
        patience = self.config.training.patience
        best = self.selected_epoch()
        return bool(patience and best is not None and self.learner.epoch - best >= patience)

    def _end(self) -> dict[str, Any]:
        if self._diverged():
            return self._lost()
        if self.spec.until and self.learner.epoch < self.config.training.epochs:
            return self._pause() if self.spec.pause else self._stopped()
        if faults := verification.at_end(self.learner, self._own_rows()):
            raise VerificationError(faults)
        best = checkpoint.load(self.folder / "best.pt")
        if best is not None:
            learner = self._learner_of(from_tree(best["config"]))
            learner.evaluated.load_state_dict(best["model"])
            drawn = self.dataset if self.spec.pictures else None
            write_outputs(learner, Path(self.spec.directory), self.spec.trial, self.layers, drawn)
            if self.remote:
                self.remote.put_outputs()
        (self.folder / "previous.pt").unlink(missing_ok=True)
        return self._stopped() | {"status": "finished"}

    def _lost(self) -> dict[str, Any]:
        """The end of a diverged trial, whose layers are all that it leaves to look at."""
        write_diagnostics(Path(self.spec.directory) / "artifacts" / self.spec.trial, self.layers)
        if self.remote:
            self.remote.put_outputs()
        lost = {"status": "diverged", "error": f"diverged in epoch {self.learner.epoch}", "verified": False}
        return self._stopped() | {"selected_epoch": None, "selected": None} | lost

    def _learner_of(self, config: TrialConfig) -> Learner:
        """One that the selected model fits: a member of a population may have taken over another network since."""
        same = config.model == self.config.model
        return self.learner if same else Learner(config, self.dataset, self.spec.seed, self.device)

    def _own_rows(self) -> list[dict[str, Any]]:
        """Those trained with the settings of now."""
        return [row for row in self.rows if row["epoch"] > self.spec.begins]

    def _stopped(self) -> dict[str, Any]:
        """The end of a trial that somebody else stops now."""
        epoch = self.selected_epoch()
        faults = verification.at_end(self.learner, self._own_rows())
        return {
            "status": "stopped",
            "selected_epoch": epoch,
            "selected": next((row for row in self.rows if row["epoch"] == epoch), None),
            "verified": bool(self.rows) and not faults,
            "error": "; ".join(faults) or None,
            **self._where(),
        }

    def _where(self) -> dict[str, Any]:
        return {
            "seconds": round(sum(row["seconds"] for row in self.rows), 6),
            "node": platform.node(),
            **computer(self.device),
            "notes": [*verification.notes(self.learner), *self._early()],
        }

    def _early(self) -> list[str]:
        epochs = self.config.training.epochs
        early = self._out_of_patience() and self.learner.epoch < epochs
        return [f"training.patience: ended after epoch {self.learner.epoch} of {epochs}"] if early else []


def dataset_of(spec: TrialSpec, config: TrialConfig) -> Dataset:
    """The trial's data on this node; RuntimeError where they are not those that it was planned with."""
    places = (None if place is None else Path(place) for place in (spec.data_root, spec.cache_dir))
    dataset = open_or_prepare(config.dataset, Path(spec.dataset_file), *places)
    if dataset.info.fingerprint != spec.fingerprint:
        raise RuntimeError(f"the data changed: fingerprint {dataset.info.fingerprint}, planned with {spec.fingerprint}")
    return dataset


def generation_file(directory: Path, trial: str, epoch: int) -> Path:
    """A member's checkpoint where a generation of its population ended."""
    return directory / "checkpoints" / trial / f"epoch-{epoch}.pt"


class VerificationError(RuntimeError):
    """Settings that did nothing."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("not verified: " + "; ".join(faults))


def failure(error: Exception) -> dict[str, Any]:
    """The end of a trial that raised."""
    text = "".join(traceback.format_exception(error)) if not isinstance(error, VerificationError) else str(error)
    end = {"status": "failed", "selected_epoch": None, "verified": False, "error": text, "node": platform.node()}
    return end | ({"out_of_memory": True} if out_of_memory(error) else {})


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
