"""Trials side by side in one process, in as many lanes as are trained at once.

Each lane keeps its own trial: seed, data order, augmentation, loss, optimizer, schedule, checkpoint and record. All are
trained for an epoch at a time; then each evaluates, saves and reports, and a lane whose trial is over takes the next.
"""

import platform
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Literal

from core.errors import disk_fault, first_line
from trainables.fused.autotune import PLAIN, Kind, Known, Way, best_way, sound
from trainables.fused.joint_training import Grouped, LaneError, Program, fusion_key, train_together
from trainables.fused.stacked_model import UnfusableError, check
from trainables.trial.trial import Trial, TrialSpec, failure

Report = dict[str, Any]
_KNOWN: dict[str, Known] = {}  # by kind of trial


class Lanes:
    """Runs the trials of a queue, `wanted` at a time; 1 runs one after the other.

    `auto` times a few steps of the first trial's kind, and takes as many lanes as train most trials a second. What
    cannot be trained together is trained alone, and its trials' ends say so where a number was asked for.
    """

    def __init__(self, begin: Callable[[TrialSpec], Trial], wanted: int | Literal["auto"] = 1) -> None:
        self.begin, self.wanted = begin, wanted
        self.queue: deque[dict[str, Any]] = deque()
        self.trials: list[Trial | None] = [None]
        self.way: Way | None = None
        """how they are trained, once that is decided"""
        self.program: Program | None = None
        self.note: str | None = None
        """why the trials are not trained together although that was asked for"""

    def put(self, specs: list[dict[str, Any]]) -> None:
        self.queue = deque(specs)
        self.trials, self.way, self.program, self.note = [None], None, None, None

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
            if self.program is None:
                return [*reports, *(self._ended(lane, error) for lane in going)]
            self._again()
            self._alone(f"together they failed: {first_line(error)}")
            return reports
        for lane, trial in (told or going).items():
            try:
                if lane in trained:
                    trial.end_epoch(*trained[lane], lanes=self._merged)
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
                if self.way is None or self.wanted == 1:
                    self._decide(trial)
                self._enter(lane, trial)
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
        self.note = f"--fuse {self.wanted}: trained alone, as {why}"
        self.way, self.program, self.trials = Way(), None, [None]

    def _decide(self, trial: Trial) -> None:
        """How this trial is trained, as none is in progress, and if several are wanted all that follow: its like."""
        if self.wanted == 1 and trial.device.type == "cpu":
            self.way = Way()
            return
        trials = 1 if self.wanted == 1 else 1 + len(self.queue)
        self.way = best_way(_kind(trial), trials, self.wanted, _known(trial))
        network, batch = trial.learner.network, trial.config.training.batch_size
        try:
            if self.way.merges:
                check(network, trial.dataset.info.input_shape, self.way.lanes, batch, trial.learner.autocast)
        except UnfusableError as error:
            self._alone(f"{trial.config.model.name} has no fused form: {error}")
            return
        self.program = self.way.program(network)
        self.trials = [None] * self.way.lanes

    def _enter(self, lane: int, trial: Trial) -> None:
        assert self.way is not None
        if self.way.captures:
            trial.learner.captures = sound(_kind(trial), self.way, _known(trial))
        if self.program is not None:
            self.program.enter(lane, trial.learner.network)

    @property
    def _merged(self) -> int:
        """How many lanes are one program, whose numbers depend on that."""
        return len(self.trials) if isinstance(self.program, Grouped) else 1

    def _train(self, going: Mapping[int, Trial]) -> dict[int, tuple[dict[str, float], float]]:
        """By lane, the epoch's training metrics and the trial's share of the seconds."""
        for trial in going.values():
            trial.begin_epoch()
        began = time.perf_counter()
        learners = {lane: trial.learner for lane, trial in going.items()}
        if self.program is None:
            metrics = {lane: learner.train_epoch() for lane, learner in learners.items()}
        else:
            metrics = train_together(learners, self.program)
        seconds = (time.perf_counter() - began) / max(1, len(going))
        return {lane: (found, seconds) for lane, found in metrics.items()}

    def _reported(self, lane: int, trial: Trial, result: Report) -> Report:
        if end := result["end"]:
            if self.way is not None and self.way.lanes > 1:
                kernel = self.way.kernel if trial.learner.captures else PLAIN.get(self.way.kernel, self.way.kernel)
                end["fused"] = {"lanes": self.way.lanes, "lane": lane, "kernel": kernel}
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
        if self.program is not None:
            self.program.leave(lane, trial.learner.network)
        self.trials[lane] = None
        return trial


def _kind(trial: Trial) -> Kind:
    return Kind(trial.config, trial.dataset, trial.device)


def _known(trial: Trial) -> Known:
    return _KNOWN.setdefault(fusion_key(trial.spec.to_dict()), Known())


def _fault(trial: str, error: Exception) -> Report:
    """Of a trial that raised; a disk's fault is none of the trial: the run stops, and a resumed one goes on."""
    if fault := disk_fault(error):
        return {"trial": trial, "rows": [], "end": None, "stop": f"{fault} (node {platform.node()})"}
    return {"trial": trial, "rows": [], "end": failure(error)}


def replay_epoch(trial: Trial, lanes: int) -> Report:
    """What `trial.advance` does, in a program of so many lanes of which the others are empty: `check` saw to it that
    neither they nor its place among them change its numbers."""

    def train() -> dict[str, float]:
        learner, program = trial.learner, Grouped(trial.learner.network, lanes)
        program.enter(0, learner.network)
        metrics = train_together({0: learner}, program)[0]
        program.leave(0, learner.network)
        return metrics

    return trial.advance(train, lanes) if lanes > 1 else trial.advance()
