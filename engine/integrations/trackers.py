"""Hands a run's trials to the tools that people watch training with: TensorBoard event files, an MLflow server.

A tracker is told every event of the log from its beginning, at each start of a run, and leaves alone what it has
already: so a run that was killed is whole there too, and an old one can be handed over by `report`.
"""

import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from analysis.records.columns import flat
from analysis.records.run_directory import RunDirectory
from analysis.records.schema import DIVERGED, END, EPOCH, FAILED, FINISHED, RUNNING, START, STOPPED
from core.errors import PlanError, first_line
from core.metrics import SPLITS

NONE = "none"  # --mlflow of a resume that does without the server of before
COMPLETE = "complete"  # the file beside a trial's event file that says that nothing is missing in it
LONGEST = 500  # characters of a parameter's value that every MLflow store takes
MLFLOW_STATUS = {FINISHED: "FINISHED", STOPPED: "KILLED", DIVERGED: "FAILED", FAILED: "FAILED", RUNNING: "RUNNING"}


class Tracker(Protocol):
    name: str

    def event(self, event: Mapping[str, Any]) -> None:
        """One line of the log."""

    def close(self) -> None: ...


def trackers(run: RunDirectory, study: str, tensorboard: bool, mlflow: str | None) -> list[Tracker]:
    """Those that are asked for; PlanError where one cannot be had."""
    chosen: list[Tracker] = [TensorBoard(run)] if tensorboard else []
    return [*chosen, MLflow(run, study, mlflow)] if mlflow not in (None, NONE) else chosen


class TensorBoard:
    """Event files under tensorboard/CELL/SEED-TRIAL: a scalar a metric and split, and the settings with the end."""

    name = "tensorboard"

    def __init__(self, run: RunDirectory) -> None:
        self.root = run.root / "tensorboard"
        self.folders: dict[str, Path] = {}
        self.writers: dict[str, Any] = {}
        self.configs: dict[str, Mapping[str, Any]] = {}
        self.rows: dict[str, dict[int, Mapping[str, Any]]] = {}

    def event(self, event: Mapping[str, Any]) -> None:
        trial = event.get("trial", "")
        if event["event"] == START:
            self._start(trial, event)
        elif event["event"] == EPOCH and trial in self.writers:
            self.rows[trial][event["epoch"]] = event
            for tag, value in scalars(event):
                self.writers[trial].add_scalar(tag, value, event["epoch"])
            self.writers[trial].flush()
        elif event["event"] == END and trial in self.writers:
            self._end(trial, event)

    def _start(self, trial: str, event: Mapping[str, Any]) -> None:
        from tensorboardX import SummaryWriter

        # An attempt after a failed or lost one; the rows that the log has already stay as they are.
        if trial not in self.folders:
            cell = re.sub(r"[^\w.=+-]+", "_", event["cell"])[:100]
            self.folders[trial] = self.root / cell / f"seed{event['seed']}-{trial}"
        if trial in self.writers or (self.folders[trial] / COMPLETE).exists():
            return
        if trial not in self.configs:
            shutil.rmtree(self.folders[trial], ignore_errors=True)
        self.configs[trial] = event["config"]
        self.rows.setdefault(trial, {})
        self.writers[trial] = SummaryWriter(str(self.folders[trial]), write_to_disk=True)

    def _end(self, trial: str, event: Mapping[str, Any]) -> None:
        from tensorboardX.summary import hparams

        writer = self.writers.pop(trial)
        row = self.rows[trial].get(event["selected_epoch"] or 0, {})
        selected = {f"selected/{tag}": value for tag, value in scalars(row)}
        settings = {
            name: value if isinstance(value, bool | int | float) else str(value)
            for name, value in flat(self.configs[trial])
            if value != {}
        }
        for summary in hparams(settings, selected):
            writer.file_writer.add_summary(summary)
        for name, value in selected.items():
            writer.add_scalar(name, value, event["selected_epoch"])
        writer.close()
        if event["status"] != FAILED:  # which is tried again
            (self.folders[trial] / COMPLETE).touch()
            del self.rows[trial]

    def close(self) -> None:
        for writer in self.writers.values():
            writer.close()


class MLflow:
    """A run a trial in an experiment of the study's name, with settings as parameters and metrics by epoch."""

    name = "mlflow"

    def __init__(self, run: RunDirectory, study: str, uri: str) -> None:
        try:
            from mlflow.tracking import MlflowClient
        except ImportError:
            raise PlanError(["--mlflow: MLflow is not installed; it is the extra `mlflow` of setup.cfg"]) from None
        # MLflow's own patience is minutes a request, for which nothing of a run should wait.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        try:
            self.client = MlflowClient(tracking_uri=uri)
            found = self.client.get_experiment_by_name(study)
            self.experiment = found.experiment_id if found else self.client.create_experiment(study)
        except Exception as error:
            raise PlanError(
                [f"--mlflow {uri}: no tracking server that answers: {first_line(error)}; `--mlflow none` does without"]
            ) from None
        self.place = run.remote or str(run.root)
        self.runs: dict[str, str] = {}
        self.ended: set[str] = set()
        self.known: dict[str, tuple[str, int, str]] = {}
        """by trial what the server had at the start: the run's id, its last epoch, its status"""
        self._look()

    def _look(self) -> None:
        token: str | None = None
        while token != "":
            page = self.client.search_runs(
                [self.experiment], f"tags.run_directory = {quoted(self.place)}", max_results=1000, page_token=token
            )
            for item in page:
                last = int(item.data.tags.get("last_epoch", 0))
                self.known[item.data.tags["trial"]] = (item.info.run_id, last, item.data.tags.get("status", RUNNING))
            token = page.token or ""

    def event(self, event: Mapping[str, Any]) -> None:
        kind, trial = event["event"], event.get("trial", "")
        run_id, last, status = self.known.get(trial, ("", 0, RUNNING))
        if status not in (RUNNING, FAILED):
            return
        if kind == START:
            self._start(trial, event, run_id)
        elif kind == EPOCH and event["epoch"] > last:
            self._epoch(trial, event)
        elif kind == END:
            self.ended.add(trial)
            self.client.set_tag(self.runs[trial], "status", event["status"])
            self.client.set_tag(self.runs[trial], "verified", str(event["verified"]))
            if event.get("error"):
                self.client.set_tag(self.runs[trial], "error", event["error"][-4000:])
            if event["selected_epoch"]:
                self.client.log_metric(self.runs[trial], "selected_epoch", event["selected_epoch"])
            self.client.set_terminated(
                self.runs[trial], MLFLOW_STATUS[event["status"]], end_time=_milliseconds(event["time"])
            )

    def _start(self, trial: str, event: Mapping[str, Any], run_id: str) -> None:
        from mlflow.entities import Param

        self.ended.discard(trial)
        if trial in self.runs or run_id:
            self.runs.setdefault(trial, run_id)
            self.client.update_run(self.runs[trial], status="RUNNING")
            return
        tags = {"trial": trial, "cell": event["cell"], "seed": str(event["seed"]), "run_directory": self.place}
        made = self.client.create_run(
            self.experiment, _milliseconds(event["time"]), tags, f"{event['cell']} seed {event['seed']}"
        )
        self.runs[trial] = made.info.run_id
        settings = [Param(name, shortened(str(value))) for name, value in flat(event["config"]) if value != {}]
        for start in range(0, len(settings), 100):  # which is what a request may hold
            self.client.log_batch(made.info.run_id, params=settings[start : start + 100])

    def _epoch(self, trial: str, event: Mapping[str, Any]) -> None:
        from mlflow.entities import Metric, RunTag

        at = int(datetime.now().timestamp() * 1000)
        metrics = [Metric(tag, value, at, event["epoch"]) for tag, value in scalars(event)]
        self.client.log_batch(self.runs[trial], metrics=metrics, tags=[RunTag("last_epoch", str(event["epoch"]))])

    def close(self) -> None:
        """Trials that were interrupted are no longer running; `resume` takes them up again."""
        for trial in self.runs.keys() - self.ended:
            self.client.set_terminated(self.runs[trial], MLFLOW_STATUS[STOPPED])


def scalars(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """(tag, value) of an epoch's figures; `val_accuracy` is `accuracy/val`, so that the splits share a chart."""
    for name, value in row.items():
        if name in ("epoch", "trial", "event", "lanes") or not _real(value):
            continue
        split, _, metric = name.partition("_")
        yield (f"{metric}/{split}" if split in SPLITS else name), float(value)


def shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def quoted(text: str) -> str:
    """As MLflow's filter language takes it, in which a text between quotes cannot hold the same quote."""
    return f'"{text}"' if "'" in text else f"'{text}'"


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _milliseconds(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp() * 1000)
