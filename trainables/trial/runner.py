"""Runs the trials of a queue in one process, one after the other or several side by side, each in a lane.

A trial keeps its own seed, data order, augmentation, loss, optimizer, schedule, checkpoints and record. All are trained
for an epoch at a time; then each evaluates, saves and reports, and a lane whose trial has ended takes the next one.
"""

import platform
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Literal

from core.errors import disk_fault, first_line
from trainables.fused.autotune import Measurements, TrialKind, best_mode, sound
from trainables.fused.programs import Graphs, Grouped, LaneError, Program, fusion_key
from trainables.fused.stacked_model import UnfusableError, check
from trainables.trial.spec import TrialSpec
from trainables.trial.trial import Trial, failure

Report = dict[str, Any]
_MEASURED: dict[str, Measurements] = {}  # by `fusion_key`


class TrialRunner:
    """Runs the trials of a queue, `wanted` at a time; 1 runs one after the other.

    `auto` chooses the number of lanes with the most trials per second that leaves results unchanged: on a GPU it times
    a few steps of the first trial. Trials that cannot be trained side by side are trained alone; their end records say
    so where a number was asked for.
    """

    def __init__(self, begin: Callable[[TrialSpec], Trial], wanted: int | Literal["auto"] = 1) -> None:
        self.begin, self.wanted = begin, wanted
        self.queue: deque[dict[str, Any]] = deque()
        self.trials: list[Trial | None] = [None]
        self.chosen = False
        """whether the execution mode is chosen"""
        self.program: Program = Program()
        self.note: str | None = None
        """why the trials are trained alone although another number was asked for"""

    def put(self, specs: list[dict[str, Any]]) -> None:
        self.queue = deque(specs)
        self.trials, self.chosen, self.program, self.note = [None], False, Program(), None

    @property
    def busy(self) -> bool:
        return bool(self.queue) or any(self.trials)

    def advance(self) -> list[Report]:
        """Trains every running trial for an epoch and returns their reports; a failed trial reports its end.

        Restored trials report the rows of their checkpoints before any trial is trained further. A disk fault sets
        `stop` in its report, which is the last one of the run.
        """
        reports = self._fill()
        running = {lane: trial for lane, trial in enumerate(self.trials) if trial is not None}
        restored = {lane: trial for lane, trial in running.items() if not trial.due}
        try:
            trained = {} if restored else self._train(running)
        except LaneError as error:
            reports.append(self._failed(error.lane, error.error))
            self._requeue()
            return reports
        except Exception as error:
            if len(self.trials) == 1:
                return [*reports, *(self._failed(lane, error) for lane in running)]
            self._requeue()
            self._train_alone(f"together they failed: {first_line(error)}")
            return reports
        for lane, trial in (restored or running).items():
            try:
                if lane in trained:
                    trial.end_epoch(*trained[lane], lanes=self.program.stacked)
                result = trial.report()
            except Exception as error:
                reports.append(self._failed(lane, error))
                continue
            reports.append(self._report(lane, trial, result))
        return reports

    def _fill(self) -> list[Report]:
        """Starts trials in the free lanes; returns the reports of those that failed to start."""
        reports: list[Report] = []
        lane = 0
        while lane < len(self.trials):
            if self.trials[lane] is not None or not self.queue:
                lane += 1
                continue
            spec = self.queue.popleft()
            try:
                trial = self.begin(TrialSpec(**spec))
                if not self.chosen or self.wanted == 1:
                    self._choose_mode(trial)
                capture = isinstance(self.program, Graphs) and sound(_kind(trial), len(self.trials), _measured(trial))
                self.program.enter(lane, trial.learner, capture)
            except Exception as error:
                reports.append(_fault(spec["trial"], error))
            else:
                self.trials[lane] = trial
        return reports

    def _requeue(self) -> None:
        """Queues the running trials again after an interrupted epoch; each resumes from its checkpoint."""
        running = [self._free(lane).spec.to_dict() for lane, trial in enumerate(self.trials) if trial is not None]
        self.queue.extendleft(reversed(running))

    def _train_alone(self, why: str) -> None:
        """Trains the remaining trials one after the other."""
        self.note = f"--fuse {self.wanted}: trained alone, as {why}"
        self.chosen, self.program, self.trials = True, Program(), [None]

    def _choose_mode(self, trial: Trial) -> None:
        """Chooses the mode of this trial while none is running; with several lanes, also of all later trials."""
        if self.wanted == 1 and trial.device.type == "cpu":
            return
        if trial.config.own_references:
            self._train_alone("they run code of the user's own")
            return
        trials = 1 if self.wanted == 1 else 1 + len(self.queue)
        mode = best_mode(_kind(trial), trials, self.wanted, _measured(trial))
        network, batch = trial.learner.network, trial.config.training.batch_size
        try:
            if mode.kernel == "grouped":
                check(network, trial.dataset.info.input_shape, mode.lanes, batch, trial.learner.autocast)
        except UnfusableError as error:
            self._train_alone(f"{trial.config.model.name} has no fused form: {error}")
            return
        self.chosen, self.program, self.trials = True, mode.program(network), [None] * mode.lanes

    def _train(self, running: Mapping[int, Trial]) -> dict[int, tuple[dict[str, float], float]]:
        """Each lane's training metrics of one epoch, and its share of the seconds."""
        for trial in running.values():
            trial.begin_epoch()
        began = time.perf_counter()
        learners = {lane: trial.learner for lane, trial in running.items()}
        metrics = self.program.train(learners)
        seconds = (time.perf_counter() - began) / max(1, len(running))
        return {lane: (found, seconds) for lane, found in metrics.items()}

    def _report(self, lane: int, trial: Trial, result: Report) -> Report:
        if end := result["end"]:
            if len(self.trials) > 1:
                end["fused"] = {"lanes": len(self.trials), "lane": lane, "kernel": self.program.kernel(lane)}
            elif self.note and self.wanted != "auto":
                end["notes"].append(self.note)
            self._free(lane)
        return {"trial": trial.spec.trial, **result}

    def _failed(self, lane: int, error: Exception) -> Report:
        trial = self._free(lane)
        return _fault(trial.spec.trial, error)

    def _free(self, lane: int) -> Trial:
        trial = self.trials[lane]
        assert trial is not None
        self.program.leave(lane, trial.learner)
        self.trials[lane] = None
        return trial


def _kind(trial: Trial) -> TrialKind:
    return TrialKind(trial.config, trial.dataset, trial.device)


def _measured(trial: Trial) -> Measurements:
    return _MEASURED.setdefault(fusion_key(trial.spec.to_dict()), Measurements())


def _fault(trial: str, error: Exception) -> Report:
    """The report of a trial that raised. A disk fault is not the trial's: the run stops, and can be resumed."""
    if fault := disk_fault(error):
        return {"trial": trial, "rows": [], "end": None, "stop": f"{fault} (node {platform.node()})"}
    return {"trial": trial, "rows": [], "end": failure(error)}


def replay_epoch(trial: Trial, lanes: int) -> Report:
    """`trial.advance` with the trial in lane 0 of `lanes` stacked lanes, the others empty: `check` made sure that
    neither the other lanes nor the lane's position change its results."""

    def train() -> dict[str, float]:
        learner, program = trial.learner, Grouped(trial.learner.network, lanes)
        program.enter(0, learner)
        metrics = program.train({0: learner})[0]
        program.leave(0, learner)
        return metrics

    return trial.advance(train, lanes) if lanes > 1 else trial.advance()
