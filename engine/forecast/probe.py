"""Times a trial's parts while as many processes as trials will run at a time do the same side by side.

Cores share caches, memory and clock, so a step alone on the machine is quicker than one beside others. Each process is
this module's `main`, which reads a JSON line for each configuration and answers with one.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Self

from core.aside import python
from core.files import scratch

if TYPE_CHECKING:
    from trainables.config import TrialConfig
    from trainables.training.learner import Learner
    from trainables.trial.spec import TrialSpec
    from trainables.trial.trial import Trial

FIRST_VALUES = 2**19  # of the first steps' images: a large network's whole batch may take a minute
WARM = 2  # steps after which the allocator has what it needs
SHARES = {"training": 0.6, "evaluation": 0.25, "outputs": 0.5}  # of the seconds of one measurement
SPLITS = 3


@dataclass(frozen=True)
class Cost:
    """Of a trial, in seconds, and in bytes of its process's memory."""

    epoch: float
    """training and the evaluations after every epoch: what an epoch row's `seconds` hold"""
    diagnostics: float
    """after an epoch, beyond that"""
    trial: float
    """once a trial: its network, its outputs"""
    save: float
    """a checkpoint"""
    first: float
    """once a process: what its first trial takes beyond the others"""
    memory: float


class ProbeError(RuntimeError):
    """A process could not time a configuration; the message is its error's."""


class Probes(AbstractContextManager["Probes"]):
    """`number` processes, begun at once; `start`: mean seconds until they could train (torch imported)."""

    def __init__(self, number: int, setting: dict[str, Any], gpus: float) -> None:
        self.number, self.setting, self.gpus = number, setting, gpus
        self.start = 0.0

    def __enter__(self) -> Self:
        begun = time.perf_counter()
        self.processes = [_started(place, self.gpus) for place in range(self.number)]
        try:
            self._ask(self.setting)
            ready = [(self._answer(each), time.perf_counter() - begun) for each in self.processes]
        except BaseException:
            self.__exit__()
            raise
        self.start = fmean(seconds for _, seconds in ready)
        return self

    def __exit__(self, *error: object) -> None:
        for each in self.processes:
            each.kill()
            each.communicate()

    def cost(self, spec: "TrialSpec", seconds: float) -> tuple[Cost, float]:
        """(mean of the processes' figures, greatest relative distance of an epoch's from it); about `seconds`."""
        self._ask({"spec": spec.to_dict(), "seconds": seconds})
        found = [Cost(**self._answer(each)) for each in self.processes]
        mean = Cost(**{field.name: fmean(getattr(each, field.name) for each in found) for field in fields(Cost)})
        return mean, max(abs(each.epoch / mean.epoch - 1) for each in found)

    def _ask(self, task: dict[str, Any]) -> None:
        for each in self.processes:
            assert each.stdin
            try:
                each.stdin.write(json.dumps(task) + "\n")
                each.stdin.flush()
            except BrokenPipeError:
                raise ProbeError("a process that timed steps has ended") from None

    def _answer(self, process: "subprocess.Popen[str]") -> dict[str, Any]:
        assert process.stdout
        line = process.stdout.readline()
        if not line:
            raise ProbeError("a process that timed steps has ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ProbeError(answer["error"])
        return answer


def _started(place: int, gpus: float) -> "subprocess.Popen[str]":
    """The process of the trial at this place; like Ray's, it sees the GPU alone that it has a share of."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = seen.split(",") if seen else [str(number) for number in range(place + 1)]
    own = {"CUDA_VISIBLE_DEVICES": devices[int(place * gpus) % len(devices)]} if 0 < gpus <= 1 else {}
    return subprocess.Popen(
        python(__name__, "main"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # what the user's code prints has been printed by the plan
        text=True,
        env={**os.environ, **own},
    )


def main() -> None:
    """Answer each line of standard input; the first one sets the process up."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the user's code may print
    reply: Callable[[dict[str, Any]], dict[str, Any]] = _set_up
    for line in sys.stdin:
        try:
            answer = reply(json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
        reply = _measured


def _set_up(setting: dict[str, Any]) -> dict[str, Any]:
    import trainables.trial.trial  # noqa: F401
    from core.user_code.references import use
    from trainables.extensions import extend

    use(setting["folders"])
    extend(setting["code"])
    return {}


def _measured(task: dict[str, Any]) -> dict[str, Any]:
    from trainables.trial.spec import TrialSpec

    with scratch() as folder:
        spec = TrialSpec(**{**task["spec"], "directory": str(folder), "remote": None, "own_code": {}})
        return asdict(_cost(spec, task["seconds"]))


def _cost(spec: "TrialSpec", seconds: float) -> Cost:
    from trainables.training import diagnostics
    from trainables.trial.trial import Trial

    trial, built = _timed(lambda: Trial(spec))
    learner = trial.learner
    rows = {split: len(labels) for split, labels in learner.labels.items()}
    cold, step = time_training(learner, seconds * SHARES["training"])
    evaluated = time_evaluation(learner, seconds * SHARES["evaluation"])
    layers = 0.0
    if trial.config.diagnostics:
        before = diagnostics.weights_of(learner.network)
        layers = _timed(lambda: diagnostics.layer_rows(learner, before))[1]
    _save(trial)  # which creates the folder
    saved = _timed(lambda: _save(trial))[1]
    cold += _timed(lambda: trial.cost)[1]
    ended = _outputs(trial, evaluated * rows["test"], seconds * SHARES["outputs"])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    again = _timed(lambda: Trial(spec))[1]
    each_epoch = step * rows["train"] + evaluated * sum(rows[split] for split in evaluated_each_epoch(trial.config))
    once = sum(rows[split] for split in ("val", "test")) * evaluated - (each_epoch - step * rows["train"])
    return Cost(each_epoch, layers, again + ended + once, saved, max(0.0, built - again) + cold, memory)


def evaluated_each_epoch(config: "TrialConfig") -> tuple[str, ...]:
    """The splits that are evaluated after every epoch; the others are at the selected one alone."""
    return ("val",) if config.training.evaluate_test == "selected" else ("val", "test")


def _outputs(trial: "Trial", predicted: float, most: float) -> float:
    """Seconds to write a finished trial's outputs, given those that predicting takes; measured up to `most`."""
    from trainables.trial.outputs import FEATURE_ROWS, write_outputs

    learner, spec = trial.learner, trial.spec
    if predicted > most:
        test = len(learner.labels["test"])
        featured = sum(min(FEATURE_ROWS, len(labels)) for labels in learner.labels.values())
        return predicted * (1 + featured / test)

    def write() -> None:
        write_outputs(learner, trial.dataset, Path(spec.directory), spec.trial, [], spec.pictures)

    write()  # imports what writes
    return _timed(write)[1]


def _save(trial: "Trial") -> None:
    model = trial.learner.evaluated.state_dict()
    trial.checkpoints.best = {"epoch": 0, "model": model, "config": trial.spec.config}
    trial.checkpoints.save(trial.state_dict())


def time_training(learner: "Learner", seconds: float) -> tuple[float, float]:
    """(seconds that the first step took beyond a later one, seconds of a step for each of its rows).

    Steps of a whole batch, if two of them fit into `seconds`, else of as many rows as do.
    """
    import torch

    totals, number = learner.task.totals(), 0
    learner.network.train()

    def step(rows: int) -> float:
        nonlocal number
        number += 1
        began = time.perf_counter()
        float(learner.step(learner.draw_batch(torch.arange(rows), number), totals))  # waits for the device
        return time.perf_counter() - began

    held = min(learner.config.training.batch_size, len(learner.labels["train"]))
    few = min(held, affordable(learner, FIRST_VALUES))
    cold = step(few)
    each = min(step(few) for _ in range(WARM)) / few
    rows = max(few, min(held, int(seconds / SPLITS / each)))
    if rows > few:
        step(rows)
    began, times = time.perf_counter(), list[float]()
    while not times or time.perf_counter() - began < seconds:
        times.append(step(rows))
    return max(0.0, cold - each * few), fmean(times) / rows


def time_evaluation(learner: "Learner", seconds: float) -> float:
    """Seconds of evaluating a row of the test split."""
    most = len(learner.labels["test"])
    rows = min(most, affordable(learner, FIRST_VALUES))
    learner.evaluate("test", min(2, most))  # imports what computes the metrics
    each = _timed(lambda: learner.evaluate("test", rows))[1] / rows
    rows = max(rows, min(most, int(seconds / each)))
    return min(each, _timed(lambda: learner.evaluate("test", rows))[1] / rows)


def affordable(learner: "Learner", values: int) -> int:
    """How many images hold about that many values in all, at least two."""
    return max(2, values // learner.data.splits["train"].images[0].numel())


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    return call(), time.perf_counter() - began
