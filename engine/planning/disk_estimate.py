"""What of the disk a run needs, told before it starts, and what its checkpoints may hold of it while it runs.

The estimate trains nothing: networks and their optimizers stand on the meta device, where tensors have sizes only.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.records.run_directory import RunDirectory
from core.errors import Interrupted, PlanError
from engine.planning.plan import Plan
from engine.planning.remaining_work import Standing
from engine.planning.run_options import size_text
from engine.runlog.history import History
from trainables.config import TrialConfig

if TYPE_CHECKING:
    from torch import nn

    from datasets.base import DatasetInfo

TENSOR = 300  # bytes that torch's format adds to each tensor: its name twice, two headers, alignment
FILE = 4000  # and to each file, with the configuration that best.pt holds
ROW = 350  # of an epoch in last.pt
RECORDED_ROW = 1200  # of an epoch in log.jsonl, epochs.log and epochs.parquet
TEMPORARY = re.compile(r"\..+\.(pt|parquet|png|json)\.\d+")  # the names of `core.files.write_atomically`


@dataclass(frozen=True)
class Footprint:
    """Bytes on disk that one trial leaves."""

    best: int
    """its selected weights"""
    last: int
    """its whole state after an epoch"""
    outputs: int
    """predictions, features, and the rows of its epochs"""

    @property
    def checkpoints(self) -> int:
        return self.best + self.last

    @property
    def total(self) -> int:
        return self.checkpoints + self.outputs


def footprint(config: TrialConfig, network: "nn.Module", info: "DatasetInfo") -> Footprint:
    """Of a trial of `config`, from its `network` on the meta device."""
    from trainables.trial.outputs import FEATURE_ROWS

    weights, epochs = _stored(network.state_dict()), config.training.epochs
    phases = {phase.name: phase for phase in (config.optimizer.at(e, epochs) for e in range(1, epochs + 1))}
    state = max(_stored(_state(phase, network)) for phase in phases.values())
    average = weights if config.training.ema else 0
    counts = {split: sum(per_class) for split, per_class in info.counts.items()}
    layer = network.get_submodule(config.model.output_layers[0])
    width = getattr(layer, "in_features", getattr(layer, "in_channels", 0))
    features = 4 * width * sum(min(FEATURE_ROWS, rows) for rows in counts.values())
    predictions = counts["test"] * (24 + 4 * len(info.classes) + 16 * info.n_points)
    return Footprint(
        weights + FILE,
        weights + average + state + FILE + ROW * epochs,
        features + predictions + FILE + RECORDED_ROW * epochs,
    )


def _state(phase: Any, network: "nn.Module") -> Any:
    """What the optimizer remembers after a step."""
    import torch

    optimizer = phase.build(network.parameters())
    for parameter in network.parameters():
        parameter.grad = torch.empty_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return optimizer.state_dict()["state"]


def _stored(tree: Any) -> int:
    """Bytes that the tensors of a state take in a file."""
    import torch

    if isinstance(tree, torch.Tensor):
        return tree.numel() * tree.element_size() + TENSOR
    return sum(map(_stored, tree.values())) if isinstance(tree, dict) else 0


class Footprints:
    """Of a plan's configurations, each worked out once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._known: dict[str, Footprint] = {}

    def of(self, config: TrialConfig) -> Footprint:
        key = config.model_dump_json(include={"model", "loss", "optimizer", "training", "dataset"})
        if key not in self._known:
            network = self.plan.bench.network(config)
            info = self.plan.bench.data(config).info
            self._known[key] = Footprint(0, 0, 0) if network is None else footprint(config, network, info)
        return self._known[key]


def refuse_too_large(plan: Plan, now: Standing, history: History, concurrent: int) -> None:
    """PlanError where what is left to run cannot fit on the run directory's disk, or into its disk budget.

    A file is replaced by a whole new one, so each trial that runs needs its two files twice.
    """
    known = Footprints(plan)
    left = [known.of(config) for config in now.configs(plan)]
    if not left:
        return
    at_work = max(foot.checkpoints for foot in left) * min(concurrent, len(left))
    if plan.study.population:
        at_work += sum(foot.last for foot in left)  # of each member, also the state that others may take over
    folder, budget, faults = RunDirectory(plan.directory).checkpoints, plan.options.disk_budget, []
    begun = sum(_size(folder / spec.trial) for spec in now.todo)
    held = _size(folder)
    checkpoints = sum(foot.checkpoints for foot in left) + at_work - begun
    outputs = sum(foot.outputs for foot in left)
    if budget is not None:
        models = sum(foot.best for foot in left) + sum(_size(folder / trial / "best.pt") for trial in history.ends)
        if models + at_work > budget:
            faults.append(
                f"--disk-budget {size_text(budget)}: the models of all trials need {size_text(models)}, and the last "
                f"states of those at work {size_text(at_work)}; allowed: {size_text(models + at_work)} or more"
            )
        checkpoints = min(checkpoints, int(budget) - held)
    needed, free = max(0, checkpoints) + outputs, shutil.disk_usage(plan.directory).free
    if needed > free:
        faults.append(
            f"--out {plan.directory}: {len(left)} trials need {size_text(needed)} of disk "
            f"({size_text(max(0, checkpoints))} of checkpoints, {size_text(outputs)} of predictions and records), and "
            f"{size_text(free)} are free; make room, choose another folder, or give a --disk-budget"
        )
    if faults:
        raise PlanError(faults)


class Budget:
    """Keeps a run's checkpoints/ below the plan's disk budget: last states of ended trials go, the oldest end first."""

    def __init__(self, plan: Plan, now: Standing, history: History) -> None:
        self.limit, self.history = plan.options.disk_budget, history
        self.run = RunDirectory(plan.directory)
        self.kept: set[str | None] = {spec.continues for spec in now.todo}
        """trials that others with more epochs are about to go on from, and those that were trimmed"""
        self.sizes: dict[str, int] = {}
        if self.limit is not None and self.run.checkpoints.is_dir():
            self.sizes = {folder.name: _size(folder) for folder in self.run.checkpoints.iterdir()}

    def ended(self, trial: str) -> None:
        """Make room after a trial's end; Interrupted where there is none to make."""
        if self.limit is None:
            return
        for changed in {trial, *(self.history.starts.keys() - self.history.ends.keys())}:
            self.sizes[changed] = _size(self.run.checkpoints / changed)
        held = sum(self.sizes.values())
        for old in self.history.ends:
            if held > self.limit and old not in self.kept:
                held -= self._trim(old)
        if held > self.limit:
            raise Interrupted(
                f"the checkpoints hold {size_text(held)}, more than --disk-budget {size_text(self.limit)}, and nothing "
                f"more may be deleted: give `resume` a larger one"
            )

    def _trim(self, trial: str) -> int:
        """Delete an ended trial's last state, once; the bytes that went."""
        self.kept.add(trial)
        for name in ("last.pt", "previous.pt"):
            (self.run.checkpoints / trial / name).unlink(missing_ok=True)
        before, self.sizes[trial] = self.sizes.get(trial, 0), _size(self.run.checkpoints / trial)
        return before - self.sizes[trial]


def tidy(run: RunDirectory) -> None:
    """Delete what processes that were killed while they wrote a file have left beside it."""
    for folder in (run.checkpoints, run.predictions, run.artifacts):
        for file in folder.rglob(".*"):
            if TEMPORARY.fullmatch(file.name):
                file.unlink(missing_ok=True)


def _size(path: Path) -> int:
    """Bytes of a file or of all files below a folder; 0 where there is none, also where it goes meanwhile."""
    try:
        return path.stat().st_size if path.is_file() else sum(map(_size, path.iterdir()))
    except OSError:
        return 0
