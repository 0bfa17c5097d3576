"""Estimates a run's disk space before it starts.

Nothing is trained: networks are built on the meta device, where tensors have sizes but no data.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.filesize import decimal

from analysis.records.run_directory import RunDirectory
from core.errors import PlanError
from engine.planning.plan import Plan
from engine.planning.remaining_work import RemainingWork
from engine.runlog.history import History
from trainables.config import TrialConfig

if TYPE_CHECKING:
    from torch import nn

    from datasets.base import DatasetInfo

TENSOR = 300  # bytes that torch's format adds per tensor: its name twice, two headers, alignment
FILE = 4000  # bytes it adds per file, with the configuration in best.pt
ROW = 350  # bytes of an epoch row in last.pt
RECORDED_ROW = 1200  # bytes of an epoch row in log.jsonl, epochs.log and epochs.parquet together


@dataclass(frozen=True)
class Footprint:
    """Bytes on disk of one trial."""

    best: int
    """best.pt: selected weights"""
    last: int
    """last.pt: the whole training state"""
    outputs: int
    """predictions, features and epoch rows"""
    last_stays: bool = True
    """whether last.pt stays once the trial has ended"""

    @property
    def checkpoints(self) -> int:
        return self.best + self.last

    @property
    def kept(self) -> int:
        """Its checkpoints once it has ended."""
        return self.checkpoints if self.last_stays else self.best

    @property
    def total(self) -> int:
        return self.kept + self.outputs


def footprint(config: TrialConfig, network: "nn.Module", info: "DatasetInfo") -> Footprint:
    """Footprint of a trial of `config`, from its `network` on the meta device."""
    from trainables.trial.outputs import FEATURE_ROWS

    weights, epochs = _stored(network.state_dict()), config.training.epochs
    phases = {phase.name: phase for phase in (config.optimizer.at(e, epochs) for e in range(1, epochs + 1))}
    state = max(_state(phase, network) for phase in phases.values())
    average = weights if config.training.ema else 0
    counts = {split: sum(per_class) for split, per_class in info.counts.items()}
    layer = network.get_submodule(next(iter(config.model.heads(network)), ""))
    width = getattr(layer, "in_features", getattr(layer, "in_channels", 0))
    features = 4 * width * sum(min(FEATURE_ROWS, rows) for rows in counts.values())
    predictions = counts["test"] * (24 + 4 * len(info.classes) + 16 * info.n_points)
    return Footprint(
        weights + FILE,
        weights + average + state + FILE + ROW * epochs,
        features + predictions + FILE + RECORDED_ROW * epochs,
    )


def _state(phase: Any, network: "nn.Module") -> int:
    """Bytes of the optimizer's state after a step.

    Taken from a step of one small tensor: a step on the meta device imports torch's compiler, in seconds.
    """
    import torch

    probe = torch.nn.Parameter(torch.zeros(2, 3))
    probe.grad = torch.zeros_like(probe)
    optimizer = phase.build([probe])
    optimizer.step()
    sizes = [weight.numel() for weight in network.parameters() if weight.requires_grad]

    def stored(value: Any) -> int:
        """Of an entry of every weight's state, which is as large as the weight or the same for all."""
        if isinstance(value, torch.Tensor) and value.shape == probe.shape:
            return value.element_size() * sum(sizes) + TENSOR * len(sizes)
        return _stored(value) * len(sizes)

    return sum(map(stored, optimizer.state_dict()["state"].get(0, {}).values()))


def _stored(tree: Any) -> int:
    """Bytes of a state's tensors in a file."""
    import torch

    if isinstance(tree, torch.Tensor):
        return tree.numel() * tree.element_size() + TENSOR
    return sum(map(_stored, tree.values())) if isinstance(tree, dict) else 0


class Footprints:
    """Footprints of a plan's configurations, each computed once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._known: dict[str, Footprint] = {}

    def of(self, config: TrialConfig) -> Footprint:
        key = config.model_dump_json(include={"model", "loss", "optimizer", "training", "dataset"})
        if key not in self._known:
            network = self.plan.factory.network(config)
            info = self.plan.factory.data(config).info
            found = Footprint(0, 0, 0) if network is None else footprint(config, network, info)
            self._known[key] = replace(found, last_stays=self.plan.options.keep != "best")
        return self._known[key]


def refuse_too_large(plan: Plan, now: RemainingWork, history: History, concurrent: int) -> None:
    """PlanError if the remaining trials exceed the free space on the run directory's disk, or the disk budget.

    A checkpoint file is replaced by a complete new one, so each running trial needs its two files twice.
    """
    known = Footprints(plan)
    left = [known.of(config) for config in now.configs(plan)]
    if not left:
        return
    at_work = max(foot.checkpoints for foot in left) * min(concurrent, len(left))
    if plan.study.population:
        at_work += sum(foot.last for foot in left)  # also each member's generation checkpoint, for others to take over
    folder, budget, faults = RunDirectory(plan.directory).checkpoints, plan.options.disk_budget, []
    begun = sum(size_on_disk(folder / spec.trial) for spec in now.todo)
    held = size_on_disk(folder)
    checkpoints = sum(foot.kept for foot in left) + at_work - begun
    outputs = sum(foot.outputs for foot in left)
    if budget is not None:
        models = sum(foot.best for foot in left) + sum(
            size_on_disk(folder / trial / "best.pt") for trial in history.ends
        )
        if models + at_work > budget:
            faults.append(
                f"--disk-budget {decimal(budget)}: the models of all trials need {decimal(models)}, and the last "
                f"states of those at work {decimal(at_work)}; allowed: {decimal(models + at_work)} or more"
            )
        checkpoints = min(checkpoints, int(budget) - held)
    place = next(folder for folder in (plan.directory, *plan.directory.parents) if folder.exists())
    needed, free = max(0, checkpoints) + outputs, shutil.disk_usage(place).free
    if needed > free:
        faults.append(
            f"--out {plan.directory}: {len(left)} trials need {decimal(needed)} of disk "
            f"({decimal(max(0, checkpoints))} of checkpoints, {decimal(outputs)} of predictions and records), and "
            f"{decimal(free)} are free; make room, choose another folder, or give a --disk-budget"
        )
    if faults:
        raise PlanError(faults)


def size_on_disk(path: Path) -> int:
    """Bytes of a file or of all files below a folder; 0 if it is absent or deleted meanwhile."""
    try:
        return path.stat().st_size if path.is_file() else sum(map(size_on_disk, path.iterdir()))
    except OSError:
        return 0
