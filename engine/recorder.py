"""The driver's ear: a Ray Tune callback that writes every start, epoch and end to the run's log.

A trial reports its rows since its last report; after a restart, all of them. Rows that the log already has are left
out, so that each (trial, epoch) is written once.
"""

import platform
from typing import Any

from ray.tune import Callback

from analysis.schema import RunDirectory
from engine.progress import Progress, epoch_line
from engine.record import Log, now, program


class Recorder(Callback):
    def __init__(self, log: Log, run: RunDirectory, progress: Progress, threads: int) -> None:
        self.log, self.run, self.progress, self.threads = log, run, progress, threads
        self.written = {(event["trial"], event["epoch"]) for event in log.events if event["event"] == "epoch"}
        self.attempts: dict[str, int] = {}
        for event in log.events:
            if event["event"] == "start":
                self.attempts[event["trial"]] = self.attempts.get(event["trial"], 0) + 1

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles its callbacks into an experiment state that nothing reads; files and terminals do not pickle."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        spec = trial.config["spec"]
        key = spec["trial"]
        self.attempts[key] = self.attempts.get(key, 0) + 1
        point = {"point": trial.config["point"]} if "point" in trial.config else {}
        names = {name: spec[name] for name in ("trial", "cell", "seed", "config")}
        self.log.append(event="start", time=now(), **names, **point, attempt=self.attempts[key])
        self.progress.started(key, spec["cell"], spec["seed"])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        key = trial.config["spec"]["trial"]
        for row in result["rows"]:
            if (key, row["epoch"]) not in self.written:
                self.written.add((key, row["epoch"]))
                self.log.append(event="epoch", trial=key, **row)
                self._line(key, row)
                self.progress.epoch(key, row)
        if result["end"] is not None:
            self._end(key, result["end"])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The trial's process was lost more often than Ray may retry."""
        error = {"status": "failed", "selected_epoch": None, "verified": False, "error": str(trial.get_error())}
        self._end(trial.config["spec"]["trial"], {**error, "node": platform.node()})

    def _line(self, key: str, row: dict[str, Any]) -> None:
        """The epoch for human eyes, in artifacts/TRIAL/epochs.log."""
        file = self.run.artifacts / key / "epochs.log"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as lines:
            lines.write(epoch_line(row) + "\n")

    def _end(self, key: str, end: dict[str, Any]) -> None:
        kept = {name: value for name, value in end.items() if name not in ("notes", "selected")}
        execution = {
            "attempts": self.attempts[key],
            "threads": self.threads,
            "notes": end.get("notes", []),
            "rerun": f"{program()} rerun {self.run.root} {key}",
        }
        self.log.append(event="end", time=now(), trial=key, **kept, execution=execution)
        self.progress.ended(key, end)
