"""Trials side by side in one process: several of one architecture and batch size as the lanes of one program.

Each lane keeps its own trial: seed, data order, augmentation, loss, optimizer, schedule, checkpoint and record. All are
trained for an epoch at a time; then each evaluates, saves and reports, and a lane whose trial is over takes the next.
"""

import json
import platform
import time
from collections import deque
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, Literal

import torch

from trainables.faults import disk_fault
from trainables.fusion import Fused, UnfusableError, check
from trainables.learner import Learner
from trainables.outputs import in_float32
from trainables.registry import LOSSES
from trainables.trial import Trial, TrialSpec, failure

MOST = 16  # lanes that `auto` tries
GAIN = 1.05  # times as many trials a second that `auto` asks of one more doubling
STEPS, SECONDS = 9, 0.3  # that it times each number of lanes for: so many steps, or three that take longer
WORTH = 300  # steps that a bundle needs at least for timing to pay
CALLS = 0.02  # seconds of a step above which its work outweighs its calls, and side by side gains nothing
KERNEL = "grouped"  # how the lanes' convolutions are one, for the record

Report = dict[str, Any]


def fusion_key(spec: Mapping[str, Any]) -> str:
    """Equal for trials (as `TrialSpec.to_dict`) that can be lanes of one program."""
    config = spec["config"]
    model = {name: value for name, value in config["model"].items() if name != "dropout_rate"}
    training = [config["training"][name] for name in ("batch_size", "precision")]
    task = LOSSES[config["loss"]["name"]].task
    return json.dumps([spec["fingerprint"], config["dataset"], model, task, config["sampler"], training])


class Lanes:
    """Runs the trials of a queue, `wanted` at a time as one program; 1 runs one after the other.

    `auto` times a few steps of the first trial's kind, and takes as many lanes as train most trials a second. A network
    that has no fused form is trained alone, and its trials' ends say so where a number was asked for.
    """

    def __init__(self, begin: Callable[[TrialSpec], Trial], wanted: int | Literal["auto"] = 1) -> None:
        self.begin, self.wanted = begin, wanted
        self.queue: deque[dict[str, Any]] = deque()
        self.trials: list[Trial | None] = [None]
        self.fused: Fused | None = None
        self.note: str | None = None
        """why the trials are not fused although that was asked for"""

    def put(self, specs: list[dict[str, Any]]) -> None:
        self.queue = deque(specs)
        self.trials, self.fused, self.note = [None], None, None

    @property
    def busy(self) -> bool:
        return bool(self.queue) or any(self.trials)

    def advance(self) -> list[Report]:
        """An epoch of every trial in progress, and its report; a failed trial's is its end.

        A trial that only has rows of its checkpoint to report does that before any is trained further. A disk's fault
        `stop`s the run: what is reported with it is the last.
        """
        reports = self._fill()
        going = {lane: trial for lane, trial in enumerate(self.trials) if trial is not None}
        told = {lane: trial for lane, trial in going.items() if not trial.due}
        try:
            trained = {} if told else self._train(going)
        except Exception as error:
            return [*reports, *(self._ended(lane, error) for lane in going)]
        for lane, trial in (told or going).items():
            try:
                if lane in trained:
                    trial.end_epoch(*trained[lane], lanes=len(self.trials))
                result = trial.report()
            except Exception as error:
                reports.append(self._ended(lane, error))
                continue
            reports.append(self._reported(lane, trial, result))
        return reports

    def _fill(self) -> list[Report]:
        """Begin trials in the lanes that are free; the reports of those that cannot be begun."""
        reports: list[Report] = []
        lane = 0
        while lane < len(self.trials):
            if self.trials[lane] is not None or not self.queue:
                lane += 1
                continue
            spec = self.queue.popleft()
            try:
                trial = self.begin(TrialSpec(**spec))
                if not any(self.trials):
                    self._widen(trial)
                if self.fused is not None:
                    self.fused.enter(lane, trial.learner.network)
            except Exception as error:
                reports.append(_fault(spec["trial"], error))
            else:
                self.trials[lane] = trial
        return reports

    def _widen(self, trial: Trial) -> None:
        """Make the program, as no trial is in progress, for those that are of this one's kind."""
        if self.wanted == 1 or self.fused is not None or self.note:
            return
        try:
            lanes = self.wanted if isinstance(self.wanted, int) else best_width(trial, 1 + len(self.queue))
            if lanes > 1:
                shape, batch = trial.dataset.info.input_shape, trial.config.training.batch_size
                check(trial.learner.network, shape, lanes, batch)
        except UnfusableError as error:
            self.note = f"--fuse {self.wanted}: trained alone, as {trial.config.model.name} has no fused form: {error}"
            return
        if lanes > 1:
            self.trials = [None] * lanes
            self.fused = Fused(trial.learner.network, lanes)
        else:
            self.note = f"--fuse {self.wanted}: trained alone, which is quicker here"

    def _train(self, going: Mapping[int, Trial]) -> dict[int, tuple[dict[str, float], float]]:
        """By lane, the epoch's training metrics and the trial's share of the seconds."""
        for trial in going.values():
            trial.begin_epoch()
        began = time.perf_counter()
        learners = {lane: trial.learner for lane, trial in going.items()}
        if self.fused is None:
            metrics = {lane: learner.train_epoch() for lane, learner in learners.items()}
        else:
            metrics = train_together(learners, self.fused)
        seconds = (time.perf_counter() - began) / max(1, len(going))
        return {lane: (found, seconds) for lane, found in metrics.items()}

    def _reported(self, lane: int, trial: Trial, result: Report) -> Report:
        if end := result["end"]:
            if self.fused is not None:
                end["fused"] = {"lanes": self.fused.lanes, "lane": lane, "kernel": KERNEL}
            elif self.note and self.wanted != "auto":
                end["notes"].append(self.note)
            self._free(lane)
        return {"trial": trial.spec.trial, **result}

    def _ended(self, lane: int, error: Exception) -> Report:
        trial = self._free(lane)
        return _fault(trial.spec.trial, error)

    def _free(self, lane: int) -> Trial:
        trial = self.trials[lane]
        assert trial is not None
        if self.fused is not None:
            self.fused.leave(lane, trial.learner.network)
        self.trials[lane] = None
        return trial


def _fault(trial: str, error: Exception) -> Report:
    """Of a trial that raised; a disk's fault is none of the trial: the run stops, and a resumed one goes on."""
    if fault := disk_fault(error):
        return {"trial": trial, "rows": [], "end": None, "stop": f"{fault} (node {platform.node()})"}
    return {"trial": trial, "rows": [], "end": failure(error)}


def replay_epoch(trial: Trial, lanes: int) -> Report:
    """What `trial.advance` does, in a program of so many lanes of which the others are empty: `check` saw to it that
    neither they nor its place among them change its numbers."""
    if trial.due and lanes > 1:
        trial.begin_epoch()
        began = time.perf_counter()
        fused, learner = Fused(trial.learner.network, lanes), trial.learner
        fused.enter(0, learner.network)
        metrics = train_together({0: learner}, fused)[0]
        fused.leave(0, learner.network)
        trial.end_epoch(metrics, time.perf_counter() - began, lanes)
        return trial.report()
    return trial.advance()


def train_together(
    learners: Mapping[int, Learner], fused: Fused, steps: int | None = None
) -> dict[int, dict[str, float]]:
    """One epoch (or its first `steps`) of each learner, whose network is in that lane; its training metrics."""
    parts = {lane: learner.begin_epoch() for lane, learner in learners.items()}
    totals = {lane: learner.task.totals() for lane, learner in learners.items()}
    fused.program.train()
    fused.draw_from(learners[lane].dropout_seed if lane in learners else None for lane in range(fused.lanes))
    for number, rows in enumerate(list(zip(*parts.values(), strict=True))[:steps]):
        _step(learners, fused, dict(zip(parts, rows, strict=True)), number, totals)
    return {lane: learner.task.metrics(totals[lane]) for lane, learner in learners.items()}


def _step(
    learners: Mapping[int, Learner], fused: Fused, rows: Mapping[int, torch.Tensor], number: int, totals: Any
) -> None:
    batches = {lane: learner.batch(rows[lane], number) for lane, learner in learners.items()}
    some = next(iter(learners.values()))
    empty = torch.zeros_like(next(iter(batches.values())).images)
    with some.autocast():
        outputs = in_float32(fused([batches[lane].images if lane in batches else empty for lane in range(fused.lanes)]))
    judged = {lane: learner.judged(outputs[lane], batches[lane]) for lane, learner in learners.items()}
    fused.zero_grad()
    torch.stack([loss for _, loss in judged.values()]).sum().backward()
    for lane, learner in learners.items():
        learner.learn(judged[lane][0], outputs[lane], batches[lane], totals[lane])


_MEASURED: dict[str, dict[int, float]] = {}


def best_width(trial: Trial, trials: int) -> int:
    """The number of lanes that trains most of so many trials of this one's kind a second; 1 where they are over soon.

    Each doubling is timed on the trial's own data, and the search ends with the first that gains nothing.
    """
    training, rows = trial.config.training, len(trial.learner.labels["train"])
    if trials < 2 or trials * training.epochs * max(1, rows // training.batch_size) < WORTH:
        return 1
    known = _MEASURED.setdefault(fusion_key(trial.spec.to_dict()), {})
    if not known:
        known[1] = seconds_a_step(trial, 1)
        if known[1] < CALLS:
            check(trial.learner.network, trial.dataset.info.input_shape)
    best, lanes = 1, 2
    while lanes <= min(trials, MOST) and known[best] < CALLS:
        if lanes not in known:
            known[lanes] = seconds_a_step(trial, lanes)
        if known[best] < GAIN * known[lanes]:
            break
        best, lanes = lanes, 2 * lanes
    return best


def seconds_a_step(trial: Trial, lanes: int, least: int = STEPS) -> float:
    """Of one trial's step among so many, by learners of the trial's kind; infinite where memory does not hold them."""
    try:
        learners = {n: Learner(trial.config, trial.dataset, n, trial.device) for n in range(lanes)}
        fused = Fused(learners[0].network, lanes) if lanes > 1 else None
        for lane, learner in learners.items():
            if fused is not None:
                fused.enter(lane, learner.network)
                fused.program.train()
                fused.draw_from([0] * lanes)
        parts = {lane: learner.begin_epoch() for lane, learner in learners.items()}
        took: list[float] = []
        while len(took) < least + 1 and not (len(took) > 3 and sum(took) > SECONDS):
            number = len(took) % len(parts[0])
            rows = {lane: part[number] for lane, part in parts.items()}
            totals = {lane: learner.task.totals() for lane, learner in learners.items()}
            began = time.perf_counter()
            if fused is None:
                learners[0].step(rows[0], number, totals[0])
            else:
                _step(learners, fused, rows, number, totals)
            float(totals[0][next(iter(totals[0]))])  # waits for the device
            took.append(time.perf_counter() - began)
    except (torch.OutOfMemoryError, MemoryError):
        return float("inf")
    return median(took[1:]) / lanes
