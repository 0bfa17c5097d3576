"""One trial from its specification to its records: epochs, checkpoints, predictions. Ray-free.

The Ray trainable and `rerun` both drive this class, so a trial's numbers are the same under either. Its checkpoint
holds its epoch rows: after a crash, the next attempt resumes from the last intact file and reports all of them.
"""

import json
import math
import platform
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.errors import out_of_memory
from core.files import inside
from datasets.base import Dataset
from datasets.cache.cache import open_or_prepare
from trainables.config import TrialConfig, from_tree
from trainables.models.libraries.cost import cost
from trainables.training import diagnostics, verification
from trainables.training.learner import Learner
from trainables.training.malloc import keep_freed
from trainables.trial.checkpoints import TrialCheckpoints
from trainables.trial.outputs import write_diagnostics, write_outputs, written
from trainables.trial.own_code import use_own_code
from trainables.trial.processor import computer
from trainables.trial.selected_epoch import selected_epoch
from trainables.trial.spec import TrialSpec

TABLES = ("rows", "layers")  # stored in checkpoints as JSON: torch's pickler would call Python for every number
_COSTS: dict[Any, dict[str, int | None]] = {}  # of networks that this process has trained
DIVERGENCE = 1000.0  # an epoch's mean training loss above this multiple of the first batch's ends the trial


class Trial:
    """Runs one specification an epoch at a time. `advance` returns what is new; the last result holds `end`.

    After a restart the first `advance` only reports the checkpoint's rows, so that a trial scheduler decides on each
    of them before the next epoch is trained.
    """

    def __init__(self, spec: TrialSpec, device: torch.device | None = None) -> None:
        torch.set_num_threads(spec.threads)
        keep_freed()  # also returns the memory of the process's last trial to the system
        self.spec = spec
        use_own_code(spec)
        self.config: TrialConfig = from_tree(spec.config)
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dataset = dataset_of(spec, self.config)
        self.learner = Learner(self.config, self.dataset, spec.seed, self.device)
        self.initial = {name: value.detach().cpu().clone() for name, value in self.learner.network.named_parameters()}
        self.rows: list[dict[str, Any]] = []
        self.layers: list[dict[str, Any]] = []  # diagnostics, one row per layer and epoch
        self.before: dict[str, Tensor] = {}  # with diagnostics, the weights before the epoch in progress
        self.reported = 0
        self.completed: list[dict[str, Any]] = []
        """reported rows whose test split was evaluated since"""
        self.diverged: int | None = None
        """the epoch in which it diverged"""
        self.checkpoints = TrialCheckpoints(spec, self.config.selection)
        if state := self.checkpoints.restore():
            self.load_state_dict(state)

    def advance(self, train: Callable[[], dict[str, float]] | None = None, lanes: int = 1) -> dict[str, Any]:
        """Train (by `train` where it is one of several stacked `lanes`) and evaluate one epoch; its `report`."""
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
        """`rows` that are new, or hold test metrics that they lacked when they were reported; `end` once the trial is
        over, else `end_if_stopped`: its end if stopped now; `saved`: whether a checkpoint was written."""
        end = self._end() if self._over() else None
        end_if_stopped = None if end else self._stopped()
        if left := end or (end_if_stopped if self.spec.stoppable else None):
            left["outputs"] = written(Path(self.spec.directory), self.spec.trial, models=self.diverged is None)
        new, self.reported = [*self.completed, *self.rows[self.reported :]], len(self.rows)
        self.completed = []
        return {"rows": new, "end": end, "end_if_stopped": end_if_stopped, "saved": self.checkpoints.written}

    def begin_epoch(self) -> None:
        """To be called before the learner trains an epoch."""
        self.before = diagnostics.weights_of(self.learner.network) if self.config.diagnostics else {}

    def end_epoch(self, trained: dict[str, float], seconds: float, lanes: int = 1) -> None:
        """Evaluate and save after the learner trained an epoch, with its training metrics and the seconds it took.

        `lanes` of a stack, of which the trial was one, are recorded in the epoch's row, so that it can be replayed.
        """
        start = time.perf_counter()
        metrics = {"train": trained, "val": self.learner.evaluate("val")}
        row: dict[str, Any] = {"epoch": self.learner.epoch, "lr": self.learner.lr}
        row |= {f"{split}_{name}": _finite(value) for split, part in metrics.items() for name, value in part.items()}
        row |= dict.fromkeys(f"test_{name}" for name in metrics["val"])
        row |= {"lanes": lanes} if lanes > 1 else {}
        row["seconds"] = round(seconds + time.perf_counter() - start, 6)
        self.rows.append(row)
        self.diverged = row["epoch"] if self._diverges(row) else None
        if self.config.training.evaluate_test == "every_epoch":
            self._evaluate_test(row, self.learner)
        elif self.spec.stoppable:
            self._evaluate_selected()
        if self.before:
            self.layers += diagnostics.layer_rows(self.learner, self.before)
        if self.learner.epoch == 1 and (faults := verification.after_first_epoch(self.learner, self.initial)):
            raise VerificationError(faults)
        if not self.diverged:
            self._save()

    def _evaluate_test(self, row: dict[str, Any], learner: Learner) -> None:
        """Adds to an epoch's row the test metrics of the weights that `learner` has; the trial may diverge by them."""
        start = time.perf_counter()
        row |= {f"test_{name}": _finite(value) for name, value in learner.evaluate("test").items()}
        row["seconds"] = round(row["seconds"] + time.perf_counter() - start, 6)
        if row["test_loss"] is None:
            self.diverged = row["epoch"]

    def _evaluate_selected(self) -> None:
        """Adds the test metrics of the selected model to its row if that lacks them, as the epoch itself would have."""
        epoch = self.selected_epoch()
        index, row = next(((i, row) for i, row in enumerate(self.rows) if row["epoch"] == epoch), (0, None))
        if row is None or evaluated(row):
            return
        if epoch == self.learner.epoch:
            self._evaluate_test(row, self.learner)
        elif best := self.checkpoints.best or self.checkpoints.best_saved():
            config = from_tree(best["config"])  # a population's member may have taken over other settings since
            same = config == self.config
            learner = self.learner if same else Learner(config, self.dataset, self.spec.seed, self.device)
            with learner.holding(best["model"], best["epoch"]):
                self._evaluate_test(row, learner)
            for column, reason in learner.undefined.items():
                self.learner.undefined.setdefault(column, reason)
        if index < self.reported and evaluated(row):
            self.completed.append(row)

    def selected_epoch(self) -> int | None:
        """The epoch that the selection rule chooses among those so far."""
        return selected_epoch(self.config.selection, self.rows)

    def _save(self) -> None:
        """Passes on the model if this epoch is the selected one, and saves if a checkpoint is due."""
        due = self._over() or self.checkpoints.due
        if self.selected_epoch() == self.learner.epoch:
            model = self.learner.evaluated.state_dict()
            self.checkpoints.best = {
                "epoch": self.learner.epoch,
                "model": model if due else {name: value.clone() for name, value in model.items()},
                "config": self.spec.config,
                "data": asdict(self.dataset.info),
            }
        if due:
            self.checkpoints.save(self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        return {"learner": self.learner.state_dict(), **{name: json.dumps(getattr(self, name)) for name in TABLES}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows, self.layers = (json.loads(state[name]) for name in TABLES)
        self.learner.load_state_dict(state["learner"])

    def _diverges(self, row: dict[str, Any]) -> bool:
        """A non-finite loss, or an epoch's mean training loss above 1,000 × the first batch's at initialisation."""
        first, loss = self.learner.first_loss, row["train_loss"]
        lost = loss is None or row["val_loss"] is None
        return lost or first is None or not math.isfinite(first) or loss > DIVERGENCE * first

    def _over(self) -> bool:
        last = self.spec.segment.until or self.config.training.epochs
        return self.diverged is not None or self.learner.epoch >= last or self._out_of_patience()

    def _out_of_patience(self) -> bool:
        """Whether `training.patience` epochs have passed since the selected one."""
        patience = self.config.training.patience
        best = self.selected_epoch()
        return bool(patience and best is not None and self.learner.epoch - best >= patience)

    def _end(self) -> dict[str, Any]:
        stopped = self.spec.segment.until and self.learner.epoch < self.config.training.epochs
        if stopped and self.spec.segment.pause and not self.diverged:
            return self._paused()
        if not (stopped or self.diverged) and (faults := verification.at_end(self.learner, self._own_rows())):
            raise VerificationError(faults)
        if not self.diverged:
            self._evaluate_selected()
        if self.diverged:
            return self._lost()
        if stopped:
            return self._stopped()
        if best := self.checkpoints.best_saved():
            learner = self._learner_of(from_tree(best["config"]))
            learner.evaluated.load_state_dict(best["model"])
            place = Path(self.spec.directory), self.spec.trial
            write_outputs(learner, self.dataset, *place, self.layers, self.spec.pictures)
            self.checkpoints.put_outputs()
        self.checkpoints.drop_previous()
        return self._stopped() | {"status": "finished"}

    def _lost(self) -> dict[str, Any]:
        """The end of a diverged trial, which leaves no output but its diagnostics."""
        write_diagnostics(inside(Path(self.spec.directory), "artifacts", self.spec.trial), self.layers)
        self.checkpoints.put_outputs()
        lost = {"status": "diverged", "error": f"diverged in epoch {self.diverged}", "verified": False}
        return self._stopped() | {"selected_epoch": None, "selected": None} | lost

    def _paused(self) -> dict[str, Any]:
        self.checkpoints.keep_generation(self.learner.epoch)
        return self._stopped() | {"status": "paused"}

    def _learner_of(self, config: TrialConfig) -> Learner:
        """A learner that the selected model fits: a population's member may have taken over another network since."""
        same = config.model == self.config.model
        return self.learner if same else Learner(config, self.dataset, self.spec.seed, self.device)

    def _own_rows(self) -> list[dict[str, Any]]:
        """Rows of this segment, which were trained with the present configuration."""
        return [row for row in self.rows if row["epoch"] > self.spec.segment.begins]

    def _stopped(self) -> dict[str, Any]:
        """The end of the trial if it is stopped now."""
        epoch = self.selected_epoch()
        faults = verification.at_end(self.learner, self._own_rows())
        return {
            "status": "stopped",
            "selected_epoch": epoch,
            "selected": next((row for row in self.rows if row["epoch"] == epoch), None),
            "verified": bool(self.rows) and not faults,
            "error": "; ".join(faults) or None,
            "seconds": round(sum(row["seconds"] for row in self.rows), 6),
            "node": platform.node(),
            **computer(self.device),
            **self.cost,
            "notes": [*verification.notes(self.learner), *self._early(), *self._undefined()],
        }

    @cached_property
    def cost(self) -> dict[str, int | None]:
        """The network's parameters and the multiply-adds of one image; None where they cannot be counted."""
        info = self.dataset.info
        key = self.config.model.model_dump_json(exclude={"dropout_rate"}), info.input_shape, len(info.classes)
        if key not in _COSTS:
            try:
                found = cost(self.learner.network, info.input_shape)
                _COSTS[key] = {"parameters": found.parameters, "multiply_adds": found.multiply_adds}
            except Exception:  # of a network that takes no single image: its results count all the same
                _COSTS[key] = {"parameters": None, "multiply_adds": None}
        return _COSTS[key]

    def _early(self) -> list[str]:
        epochs = self.config.training.epochs
        early = self._out_of_patience() and self.learner.epoch < epochs
        return [f"training.patience: ended after epoch {self.learner.epoch} of {epochs}"] if early else []

    def _undefined(self) -> list[str]:
        """Of each metric that had no value in some epoch, in how many of those whose split was evaluated, and why."""
        notes = []
        for column, reason in sorted(self.learner.undefined.items()):
            rows = [row for row in self.rows if not column.startswith("test_") or evaluated(row)]
            missing = sum(row.get(column) is None for row in rows)
            notes.append(f"metrics: {column} is null in {missing} of {len(rows)} epochs: {reason}")
        return notes


def dataset_of(spec: TrialSpec, config: TrialConfig) -> Dataset:
    """The trial's data on this node; RuntimeError where they are not those that it was planned with."""
    places = (None if place is None else Path(place) for place in (spec.data_root, spec.cache_dir))
    dataset = open_or_prepare(config.dataset, Path(spec.dataset_file), *places)
    if dataset.info.fingerprint != spec.fingerprint:
        raise RuntimeError(f"the data changed: fingerprint {dataset.info.fingerprint}, planned with {spec.fingerprint}")
    return dataset


class VerificationError(RuntimeError):
    """Settings had no effect; the message lists them."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("not verified: " + "; ".join(faults))


def failure(error: Exception) -> dict[str, Any]:
    """The end of a trial that raised."""
    text = "".join(traceback.format_exception(error)) if not isinstance(error, VerificationError) else str(error)
    end = {"status": "failed", "selected_epoch": None, "verified": False, "error": text, "node": platform.node()}
    return end | ({"out_of_memory": True} if out_of_memory(error) else {})


def evaluated(row: dict[str, Any]) -> bool:
    """Whether the test split was evaluated in a row's epoch."""
    return any(name.startswith("test_") and value is not None for name, value in row.items())


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
