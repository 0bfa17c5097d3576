"""Ray Tune callback that appends each trial's start, epochs and end to log.jsonl.

A trial reports its epoch rows since its last report; after a restart, all of them. Rows that the log already has are
left out, so that each (trial, epoch) is written once; but a row whose test metrics come later is written again.
"""

import platform
from typing import Any

from ray.tune import Callback

from analysis.console import short_settings
from analysis.records.epoch_rows import epoch_line
from analysis.records.log import news
from analysis.records.run_directory import RunDirectory
from analysis.records.schema import FAILED
from core.errors import Interrupted
from engine.execution.checkpoint_budget import CheckpointBudget
from engine.execution.progress import Progress
from engine.runlog.run_log import RunLog, now, stopping
from engine.runlog.study_file import program
from engine.search.trial_queue import TrialQueue
from trainables.fused.autotune import MOST

# fields of a trial's end that are logged under `execution`, or not at all
OF_EXECUTION = ("notes", "selected", "out_of_memory", "fused", "processor", "torch")
PAUSED = "paused"  # status at the end of a trial's segment, which is not logged


class AllEnded(BaseException):
    """Leaves Ray Tune's loop: it would write its state, and ask each actor to stop, for up to five seconds."""


class RunLogCallback(Callback):
    """`share`: resources per trial. `retries`: rerun out-of-memory trials later with more. `ray_ends`: raise AllEnded
    once no trial is left, as Ray is ended next."""

    def __init__(
        self,
        log: RunLog,
        run: RunDirectory,
        progress: Progress,
        threads: int,
        queue: TrialQueue | None = None,
        share: dict[str, float] | None = None,
        retries: bool = False,
        budget: CheckpointBudget | None = None,
        ray_ends: bool = False,
    ) -> None:
        self.log, self.history, self.run, self.progress, self.threads = log, log.history, run, progress, threads
        self.started: set[str] = set()
        self.begun: dict[str, set[str]] = {}
        """by Ray trial id, the keys of our trials that its process has begun and not ended"""
        self.queue, self.share, self.retries = queue or TrialQueue(), share or {}, retries
        self.budget, self.ray_ends = budget, ray_ends

    def __getstate__(self) -> dict[str, Any]:
        """Empty: Ray pickles callbacks into an experiment state that nothing reads; open files do not pickle."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        nothing_left = self.ray_ends and self.queue.exhausted and not self.history.enlarged
        if nothing_left and all(trial.is_finished() for trial in trials):
            raise AllEnded

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The first trial left in the bundle starts; the others start with their first report."""
        self.begun[trial.trial_id] = set()
        self._begin(trial, trial.config["bundle"][0])

    def _begin(self, trial: Any, item: dict[str, Any]) -> None:
        spec = item["spec"]
        key = spec["trial"]
        settings = f" ({short_settings(point)})" if (point := item.get("point")) else ""
        self.begun[trial.trial_id].add(key)
        self.progress.started(key, f"{spec['cell']}{settings}", spec["seed"])
        if spec["segment"]["begins"] and key in self.started:  # the next segment of the same attempt
            return
        self.started.add(key)
        chosen = _given(item, "point", "proposal")
        names = _given(spec, "trial", "cell", "seed", "config", "code", "fingerprint")
        continues = {"continues": before} if (before := spec["segment"]["continues"]) else {}
        attempt = self.history.attempts.get(key, 0) + 1
        self._lines(key)
        self.log.append(event="start", time=now(), **names, **chosen, **continues, attempt=attempt)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        bundle = trial.config["bundle"]
        for report in result["reports"]:
            (item,) = (item for item in bundle if item["spec"]["trial"] == report["trial"])
            if report["trial"] not in self.begun[trial.trial_id]:
                self._begin(trial, item)
            self._hear(report)
            if report["end"] is not None:
                # Ray restarts a lost process with this config, which must not hold trials that have ended.
                bundle.remove(item)
                self.begun[trial.trial_id].discard(report["trial"])
        last = result["reports"][-1] if result["reports"] else {"end": {}}
        if last["end"] is None and result.get("done"):  # the trial scheduler's decision
            self.run.checkpoint(last["trial"], "previous.pt").unlink(missing_ok=True)
            self._end(last["trial"], last["end_if_stopped"])

    def _hear(self, report: dict[str, Any]) -> None:
        """Log a trial's report: its new epoch rows, its end; Interrupted if it asks to stop the run."""
        key, end = report["trial"], report["end"]
        if stop := report.get("stop"):
            self.log.check_place()  # where the run's folder was moved, it says where it is
            raise Interrupted(stop)
        for row in report["rows"]:
            known = self.history.rows.get(key, {}).get(row["epoch"])
            if known is None:
                self.log.append(event="epoch", trial=key, **row)
                self._line(key, row)
                self.progress.epoch(key, row)
            elif news(row, known):
                self.log.append(event="epoch", trial=key, **row)
                self._lines(key)
        if end is not None and end["status"] == PAUSED:
            self.progress.paused(key)
            self.queue.on_trial_left(key)
        elif end is not None:
            self._end(key, end)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The process was lost more often than Ray may retry, so the trial it was training has failed.

        If it was training several, any may be the cause: each is queued again, in a process of its own. Trials of the
        bundle that it had not begun are queued again.
        """
        bundle, lanes = trial.config["bundle"], trial.config.get("lanes", 1)
        # Those in progress come first, reported or not; with `auto`, only the lost process knew how many.
        suspects = MOST if lanes == "auto" else lanes
        if len(bundle[:suspects]) > 1:
            self.queue.requeue(bundle[:suspects], apart=True)
            self.queue.requeue(bundle[suspects:])
            return
        lost, *others = bundle
        text = str(trial.get_error())
        error = {"status": "failed", "selected_epoch": None, "verified": False, "error": text, "node": platform.node()}
        # The message of Ray's memory monitor, which kills a worker before the machine is out of memory.
        self._end(lost["spec"]["trial"], {**error, "out_of_memory": "running low on memory" in text})
        self.queue.requeue(others)

    def _line(self, key: str, row: dict[str, Any]) -> None:
        """Append the epoch, as readable text, to artifacts/TRIAL/epochs.log."""
        file = self.run.artifact(key, "epochs.log")
        with stopping():
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8") as lines:
                lines.write(epoch_line(row) + "\n")

    def _lines(self, key: str) -> None:
        """Rewrite epochs.log: what stopped an earlier attempt may have left a line out or torn."""
        with stopping():
            self.run.artifact(key, "epochs.log").unlink(missing_ok=True)
        for _, row in sorted(self.history.rows.get(key, {}).items()):
            self._line(key, row)

    def _end(self, key: str, end: dict[str, Any]) -> None:
        if end.get("out_of_memory") and self.retries:
            self.log.append(event="enlarged", time=now(), trial=key, error=end["error"], share=self.share)
            self.progress.enlarged(key)
            self.queue.on_trial_left(key)
            return
        kept = {name: value for name, value in end.items() if name not in OF_EXECUTION}
        execution = {
            "attempts": self.history.attempts[key],
            "threads": self.threads,
            "resources": self.share,
            "notes": end.get("notes", []),
            **({"lineage": lineage} if (lineage := self.history.lineage(key)) else {}),
            **_given(end, "fused", "processor", "torch"),
            "rerun": f"{program()} rerun {self.run.address} {key}",
        }
        epochs = len(self.history.rows.get(key, {}))  # by which a lost line is noticed
        self.log.append(event="end", time=now(), trial=key, **kept, epochs=epochs, execution=execution)
        self.progress.ended(key, end)
        if end["status"] != FAILED:  # one that fails at once says nothing of how long the next one lasts
            self.queue.note_duration(end["seconds"])
        self.queue.on_trial_end(key)
        if self.budget is not None:
            with stopping():
                self.budget.ended(key)


def _given(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}
