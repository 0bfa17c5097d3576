"""Logs a run's trials to an MLflow tracking server."""

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from analysis.records.columns import flat
from analysis.records.run_directory import RunDirectory
from analysis.records.schema import DIVERGED, END, EPOCH, FAILED, FINISHED, RUNNING, START, STOPPED
from core.errors import PlanError, first_line
from engine.integrations.tracker import scalars

NONE = "none"  # value of --mlflow with which `resume` drops the server asked for before
LONGEST = 500  # characters of a parameter's value that every MLflow store takes
MLFLOW_STATUS = {FINISHED: "FINISHED", STOPPED: "KILLED", DIVERGED: "FAILED", FAILED: "FAILED", RUNNING: "RUNNING"}


class MLflow:
    """One MLflow run per trial, in an experiment named after the study: settings as parameters, metrics by epoch."""

    name = "mlflow"

    def __init__(self, run: RunDirectory, study: str, uri: str) -> None:
        try:
            from mlflow.tracking import MlflowClient
        except ImportError:
            raise PlanError(["--mlflow: MLflow is not installed; it is the extra `mlflow` of setup.cfg"]) from None
        # By default MLflow retries a request for minutes.
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
        """by trial, what the server had at the start: the MLflow run's id, its last epoch, its status"""
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
        for start in range(0, len(settings), 100):  # the most that a request may hold
            self.client.log_batch(made.info.run_id, params=settings[start : start + 100])

    def _epoch(self, trial: str, event: Mapping[str, Any]) -> None:
        from mlflow.entities import Metric, RunTag

        at = int(datetime.now().timestamp() * 1000)
        metrics = [Metric(tag, value, at, event["epoch"]) for tag, value in scalars(event)]
        self.client.log_batch(self.runs[trial], metrics=metrics, tags=[RunTag("last_epoch", str(event["epoch"]))])

    def close(self) -> None:
        """Mark interrupted trials as killed; `resume` reopens them."""
        for trial in self.runs.keys() - self.ended:
            self.client.set_terminated(self.runs[trial], MLFLOW_STATUS[STOPPED])


def shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def quoted(text: str) -> str:
    """The text in quotes for MLflow's filter language, which cannot escape a quote."""
    return f'"{text}"' if "'" in text else f"'{text}'"


def _milliseconds(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp() * 1000)
