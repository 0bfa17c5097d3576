"""Trials side by side in one process: several of one architecture and batch size as the lanes of one program.

Each lane keeps its own trial: seed, data order, augmentation, loss, optimizer, schedule, checkpoint and record. All are
trained for an epoch at a time; then each evaluates, saves and reports, and a lane whose trial is over takes the next.
"""

import platform
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Literal

from trainables.faults import disk_fault, first_line
from trainables.fusion import Fused, UnfusableError, check
from trainables.together import Kind, LaneError, best_width, fusion_key, train_together
from trainables.trial import Trial, TrialSpec, failure

KERNEL = "grouped"  # how the lanes' convolutions are one, for the record

Report = dict[str, Any]
_MEASURED: dict[str, dict[int, float]] = {}  # seconds of a step, by kind of trial and number of lanes


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
        except LaneError as error:
            reports.append(self._ended(error.lane, error.error))
            self._again()
            return reports
        except Exception as error:
            if self.fused is None:
                return [*reports, *(self._ended(lane, error) for lane in going)]
            self._again()
            self._alone(f"together they failed: {first_line(error)}")
            return reports
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

    def _again(self) -> None:
        """Queue those in progress again, in the middle of an epoch: each goes on from its checkpoint."""
        going = [self._free(lane).spec.to_dict() for lane, trial in enumerate(self.trials) if trial is not None]
        self.queue.extendleft(reversed(going))

    def _alone(self, why: str) -> None:
        """Train what is left one after the other."""
        self.note, self.fused, self.trials = f"--fuse {self.wanted}: trained alone, as {why}", None, [None]

    def _widen(self, trial: Trial) -> None:
        """Make the program, as no trial is in progress, for those that are of this one's kind."""
        if self.wanted == 1 or self.fused is not None or self.note:
            return
        try:
            lanes = self.wanted if isinstance(self.wanted, int) else self._best(trial)
            if lanes > 1:
                shape, batch = trial.dataset.info.input_shape, trial.config.training.batch_size
                check(trial.learner.network, shape, lanes, batch, trial.learner.autocast)
        except UnfusableError as error:
            self._alone(f"{trial.config.model.name} has no fused form: {error}")
            return
        if lanes > 1:
            self.trials = [None] * lanes
            self.fused = Fused(trial.learner.network, lanes)
        else:
            self._alone("that is quicker here")

    def _best(self, trial: Trial) -> int:
        known = _MEASURED.setdefault(fusion_key(trial.spec.to_dict()), {})
        return best_width(Kind(trial.config, trial.dataset, trial.device), 1 + len(self.queue), known)

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
