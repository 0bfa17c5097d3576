"""One trial from its specification to its records: epochs, checkpoints, predictions. Ray-free.

The Ray trainable and `rerun` both drive this class, so a trial's numbers are the same under either. Its checkpoint
carries its epoch rows: whatever died, the next attempt continues from the last whole file and reports all of them.
"""

import math
import platform
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from datasets.cache import open_dataset
from trainables import checkpoint, diagnostics, verification
from trainables.config import TrialConfig, from_tree
from trainables.learner import Learner
from trainables.predictions import write_outputs

DIVERGENCE = 1000.0  # an epoch's mean training loss above this multiple of the first batch's ends the trial


@dataclass(frozen=True)
class TrialSpec:
    """What a trial is (`trial` is its key) and where it reads and writes; every field survives JSON."""

    trial: str
    cell: str
    seed: int
    config: dict[str, Any]
    dataset_file: str
    fingerprint: str
    directory: str
    threads: int = 1

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Trial:
    """Runs one specification an epoch at a time. `advance` returns what is new; the last result holds `end`."""

    def __init__(self, spec: TrialSpec, device: torch.device | None = None) -> None:
        torch.set_num_threads(spec.threads)
        self.spec = spec
        self.config: TrialConfig = from_tree(spec.config)
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.folder = Path(spec.directory) / "checkpoints" / spec.trial
        dataset = open_dataset(self.config.dataset, Path(spec.dataset_file))
        if dataset.info.fingerprint != spec.fingerprint:
            raise RuntimeError(
                f"the data changed: fingerprint {dataset.info.fingerprint}, planned with {spec.fingerprint}"
            )
        self.learner = Learner(self.config, dataset, spec.seed, self.device)
        self.initial = {name: value.detach().cpu().clone() for name, value in self.learner.network.named_parameters()}
        self.rows: list[dict[str, Any]] = []
        self.layers: list[dict[str, Any]] = []  # diagnostics, a row a layer and epoch
        self.reported = 0
        self._restore()

    def advance(self) -> dict[str, Any]:
        """Train and evaluate one epoch; `rows` are those not yet reported, `end` is there once the trial is over."""
        if self.learner.epoch < self.config.training.epochs and not self._diverged():
            self._epoch()
        end = self._end() if self._over() else None
        new, self.reported = self.rows[self.reported :], len(self.rows)
        return {"rows": new, "end": end}

    def _epoch(self) -> None:
        start = time.perf_counter()
        before = diagnostics.weights_of(self.learner.network) if self.config.diagnostics else {}
        metrics = {"train": self.learner.train_epoch()}
        metrics |= {split: self.learner.evaluate(split) for split in ("val", "test")}
        row: dict[str, Any] = {"epoch": self.learner.epoch, "lr": self.learner.lr}
        row |= {f"{split}_{name}": _finite(value) for split, part in metrics.items() for name, value in part.items()}
        row["seconds"] = round(time.perf_counter() - start, 6)
        self.rows.append(row)
        if before:
            self.layers += diagnostics.layer_rows(self.learner, before)
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
        sign = -1 if selection.metric.endswith("accuracy") else 1
        scored = [
            (sign * row[selection.metric], row["epoch"]) for row in self.rows if row[selection.metric] is not None
        ]
        return min(scored)[1] if scored else None

    def _save(self) -> None:
        """Last state, and the model of the selected epoch; a kill between the files leaves a consistent pair."""
        selected = self.selected_epoch() == self.learner.epoch
        if selected:
            model = {
                "epoch": self.learner.epoch,
                "model": self.learner.network.state_dict(),
                "config": self.spec.config,
            }
            checkpoint.save(model, self.folder / "best.new.pt")
        last = self.folder / "last.pt"
        if last.exists():
            last.replace(self.folder / "previous.pt")
        checkpoint.save(self.state_dict(), last)
        if selected:
            (self.folder / "best.new.pt").replace(self.folder / "best.pt")

    def _restore(self) -> None:
        """Continue from the newest whole checkpoint whose selected model is at hand too."""
        for name in ("last.pt", "previous.pt"):
            state = checkpoint.load(self.folder / name)
            if state is None:
                continue
            self.rows = state["rows"]
            if self.selected_epoch() is None or self._adopt_best(self.selected_epoch()):
                self.load_state_dict(state)
                return
            self.rows = []

    def state_dict(self) -> dict[str, Any]:
        return {"learner": self.learner.state_dict(), "rows": self.rows, "layers": self.layers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows, self.layers = state["rows"], state["layers"]
        self.learner.load_state_dict(state["learner"])

    def _adopt_best(self, epoch: int | None) -> bool:
        for name in ("best.pt", "best.new.pt"):
            state = checkpoint.load(self.folder / name)
            if state and state["epoch"] == epoch:
                (self.folder / name).replace(self.folder / "best.pt")
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
        return self._diverged() or self.learner.epoch >= self.config.training.epochs

    def _end(self) -> dict[str, Any]:
        end: dict[str, Any] = {"status": "finished", "selected_epoch": None, "verified": False, "error": None}
        if self._diverged():
            return end | self._where() | {"status": "diverged", "error": f"diverged in epoch {self.learner.epoch}"}
        if faults := verification.at_end(self.learner, self.rows):
            raise VerificationError(faults)
        best = checkpoint.load(self.folder / "best.pt")
        if best is not None:
            self.learner.network.load_state_dict(best["model"])
            write_outputs(self.learner, Path(self.spec.directory), self.spec.trial, self.layers)
        (self.folder / "previous.pt").unlink(missing_ok=True)
        epoch = self.selected_epoch()
        selected = next((row for row in self.rows if row["epoch"] == epoch), None)
        return end | self._where() | {"selected_epoch": epoch, "verified": True, "selected": selected}

    def _where(self) -> dict[str, Any]:
        return {
            "seconds": round(sum(row["seconds"] for row in self.rows), 6),
            "node": platform.node(),
            "device": torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu",
            "notes": verification.notes(self.learner),
        }


class VerificationError(RuntimeError):
    """Settings that did nothing."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("not verified: " + "; ".join(faults))


def failure(error: Exception) -> dict[str, Any]:
    """The end of a trial that raised."""
    text = "".join(traceback.format_exception(error)) if not isinstance(error, VerificationError) else str(error)
    return {"status": "failed", "selected_epoch": None, "verified": False, "error": text, "node": platform.node()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
