"""A trial's selected model, rebuilt from its files: the network with evaluation's normalisation and outputs.

`predict` runs it and `export` writes it, so that both agree with the trial's recorded predictions.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from analysis.records.lookup import trial_key
from analysis.records.run_directory import RunDirectory
from analysis.records.schema import FINISHED, RUNNING
from analysis.records.store import read_records
from core.errors import FaultError, PlanError, first_line
from datasets.base import DatasetInfo
from engine.planning.run_options import apply
from engine.planning.study_record import recorded_request
from engine.planning.trial_factory import TrialFactory
from engine.runlog.history import History
from engine.runlog.study_file import read_request
from trainables.config import TrialConfig, from_tree
from trainables.models.build import saved_network
from trainables.training.batches import normalisation
from trainables.trial import checkpoint_file
from trainables.trial.remote_checkpoints import RemoteCheckpoints


class Evaluated(nn.Module):
    """Maps decoded images (B, C, H, W) uint8 to the predictions that the task records.

    `scores` (B, classes), the softmax; `points` (B, landmarks, 2) as x, y in pixels of the image; both, in this
    order, from a network that gives both. A trial of precision bf16 is evaluated in bf16 unless `exact`.
    """

    def __init__(self, network: nn.Module, config: TrialConfig, info: DatasetInfo, exact: bool = False) -> None:
        super().__init__()
        self.shift: Tensor
        self.scale: Tensor
        self.network, self.bf16 = network, config.training.precision == "bf16" and not exact
        self.classifies, self.landmarks = config.model.classifies, config.loss.task != "classification"
        for name, values in zip(("shift", "scale"), normalisation(config, info), strict=True):
            self.register_buffer(name, values)

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(name for name, given in (("scores", self.classifies), ("points", self.landmarks)) if given)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        pictures = (images.float() / 255 - self.shift) / self.scale
        if self.bf16:
            with torch.autocast(images.device.type, torch.bfloat16):
                found = self.network(pictures)
        else:
            found = self.network(pictures)
        parts = found if isinstance(found, tuple) else (found,)
        return tuple(
            part.float().softmax(1) if name == "scores" else part.float().unflatten(1, (-1, 2))
            for name, part in zip(self.outputs, parts, strict=True)
        )


@dataclass(frozen=True)
class Trained:
    """The selected model of a trial, with its records."""

    run: RunDirectory
    trial: str
    start: dict[str, Any]
    """its start event: cell, seed, configuration"""
    config: TrialConfig
    info: DatasetInfo
    """of the training data"""
    epoch: int
    metrics: dict[str, Any]
    """its epoch row at that epoch"""
    status: str
    network: nn.Module
    """on the CPU, in evaluation mode"""

    def module(self, exact: bool = False) -> Evaluated:
        return Evaluated(self.network, self.config, self.info, exact).eval().requires_grad_(False)


class Loader:
    """Loads trials of a run directory. `places`: options for data that have moved since, such as data_root."""

    def __init__(self, directory: Path, places: dict[str, Any] | None = None) -> None:
        self.run, self.record = read_request(directory)
        self.places = {name: value for name, value in (places or {}).items() if value is not None}
        self.history = History.of(self.run)
        recorded_request(self.record, self.run)  # so that the run's copies of the user's own code are in use

    @cached_property
    def factory(self) -> TrialFactory:
        study, options = recorded_request(self.record, self.run)
        options = options.extended(self.places)
        return TrialFactory(apply(study, options), options)

    def load(self, asked: str) -> Trained:
        """The model of a trial (key or prefix); PlanError if there is no such trial or its best.pt is not intact."""
        trial = trial_key(asked, self.history.starts, "--trial")
        file = self.run.checkpoint(trial, "best.pt")
        if self.run.remote:
            RemoteCheckpoints(self.run.remote, self.run.root, trial).fetch(trial, file.name)
        best = checkpoint_file.load(file)
        if best is None:
            raise PlanError(f"--trial {trial}: {file} is absent or damaged, so there is no model of this trial")
        try:
            config = from_tree(best["config"])
            info = DatasetInfo(**best["data"]) if "data" in best else self.factory.data(config).info
            network = saved_network(config, info, best["model"]).eval()
        except FaultError:
            raise
        except Exception as error:  # its digest says that it was saved as it is, not by whom
            raise PlanError(f"--trial {trial}: {file} holds no model of this trial ({first_line(error)})") from error
        epoch, ended = int(best.get("epoch") or 0), self.history.ends.get(trial, {})
        metrics, status = self.history.rows.get(trial, {}).get(epoch, {}), ended.get("status", RUNNING)
        return Trained(self.run, trial, self.history.starts[trial], config, info, epoch, metrics, status, network)


def best_trial(directory: Path) -> str:
    """The first finished trial of the cell with the best validation metric; PlanError if none has finished."""
    from engine.search.winner import ranked

    records = read_records(directory)
    cells = sorted(ranked(records), key=lambda cell: cell in records.seen_validation)
    if not cells:
        raise PlanError(f"{directory}: no trial has finished; name one that has a model by --trial")
    rows = records.rows(cells[0])
    return str(rows.loc[rows["status"] == FINISHED, "trial"].iloc[0])
