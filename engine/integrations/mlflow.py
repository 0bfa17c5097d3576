"""Logs a run's trials to an MLflow tracking server."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import Any

from analysis.records.columns import flat
from analysis.records.log import news
from analysis.records.run_directory import RunDirectory
from analysis.records.schema import DIVERGED, END, EPOCH, FAILED, FINISHED, RUNNING, START, STOPPED
from core.errors import PlanError, first_line
from core.text import redacted
from core.value_words import cut
from engine.integrations.tracker import scalars

NONE = "none"  # value of --mlflow with which `resume` drops the server asked for before
EVERY = 5.0  # seconds between requests for the epochs of running trials; a request may take a tenth of a second
MOST_FIGURES, MOST_SETTINGS = 800, 100  # of one request; MLflow takes 1,000 figures, tags and settings in all
LONGEST_NAME = 200  # characters of a cell in the name of an MLflow run
LONGEST = 500  # characters of a parameter's value that every MLflow store takes
MLFLOW_STATUS = {FINISHED: "FINISHED", STOPPED: "KILLED", DIVERGED: "FAILED", FAILED: "FAILED", RUNNING: "RUNNING"}


@dataclass
class Batch:
    """What of a trial is to be sent."""

    settings: list[tuple[str, str]] = field(default_factory=list)
    epochs: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    figures: list[tuple[str, float, int]] = field(default_factory=list)
    """(name, value, epoch) beside those of whole epochs: at the trial's end, or of a split evaluated later"""
    tags: dict[str, str] = field(default_factory=dict)


class MLflow:
    """One MLflow run per trial, in an experiment named after the study: settings as parameters, metrics by epoch, and
    those of the selected epoch as `selected/…`."""

    name = "mlflow"

    def __init__(self, run: RunDirectory, study: str, uri: str) -> None:
        with _refusing(uri):
            self.client, found = _asked(uri, study)
            self.experiment = found.experiment_id if found else self.client.create_experiment(study)
        self.place = redacted(run.remote or str(run.root))
        self.runs: dict[str, str] = {}
        self.ended: set[str] = set()
        self.known: dict[str, tuple[str, int, str]] = {}
        """by trial, what the server had at the start: the MLflow run's id, its last epoch, its status"""
        self.rows: dict[str, dict[int, Mapping[str, Any]]] = {}
        """by trial, its epochs, of which the selected one is only known at its end"""
        self.waiting: dict[str, Batch] = {}
        self.sent = time.monotonic()
        self._look()

    def _look(self) -> None:
        token: str | None = None
        while token != "":
            page = self.client.search_runs(
                [self.experiment], f"tags.run_directory = {quoted(self.place)}", max_results=1000, page_token=token
            )
            for item in page:
                last, status = int(item.data.tags.get("last_epoch", 0)), item.data.tags.get("status", RUNNING)
                self.known[item.data.tags["trial"]] = (item.info.run_id, last, status)
                if status != RUNNING and item.info.status == "RUNNING":  # a driver died between its last two requests
                    self.client.set_terminated(item.info.run_id, MLFLOW_STATUS[status])
            token = page.token or ""

    def event(self, event: Mapping[str, Any]) -> None:
        kind, trial = event["event"], event.get("trial", "")
        run_id, last, status = self.known.get(trial, ("", 0, RUNNING))
        if status not in (RUNNING, FAILED):
            return
        if kind == START:
            self._start(trial, event, run_id, last)
        elif kind == EPOCH:
            known = self.rows[trial].get(event["epoch"])
            self.rows[trial][event["epoch"]] = event
            if known:
                later = scalars(news(event, known))
                self.waiting[trial].figures += [(tag, value, event["epoch"]) for tag, value in later]
            elif event["epoch"] > last:
                self.waiting[trial].epochs[event["epoch"]] = event
            if time.monotonic() > self.sent + EVERY:
                for running in self.rows:
                    self._send(running)
                self.sent = time.monotonic()
        elif kind == END:
            self._end(trial, event)

    def _start(self, trial: str, event: Mapping[str, Any], run_id: str, last: int) -> None:
        self.ended.discard(trial)
        self.rows.setdefault(trial, {})
        if trial in self.runs or run_id:
            self.runs.setdefault(trial, run_id)
            self.client.update_run(self.runs[trial], status="RUNNING")
        else:
            tags = {
                "trial": trial,
                "cell": cut(event["cell"], LONGEST),
                "seed": str(event["seed"]),
                "run_directory": self.place,
            }
            name = f"{cut(event['cell'], LONGEST_NAME)} seed {event['seed']}"
            made = self.client.create_run(self.experiment, _milliseconds(event["time"]), tags, name)
            self.runs[trial] = made.info.run_id
        settings = [(name, cut(str(value), LONGEST)) for name, value in flat(event["config"]) if value != {}]
        self.waiting.setdefault(trial, Batch([] if last else settings))

    def _end(self, trial: str, event: Mapping[str, Any]) -> None:
        batch, selected = self.waiting[trial], event["selected_epoch"]
        batch.tags = {"status": event["status"], "verified": str(event["verified"])}
        if event.get("error"):
            batch.tags["error"] = event["error"][-4000:]
        if selected:
            row = self.rows[trial].get(selected, {})
            figures = {f"selected/{tag}": value for tag, value in scalars(row)} | {"selected_epoch": float(selected)}
            batch.figures += [(name, value, selected) for name, value in figures.items()]
        self._send(trial)
        self.client.set_terminated(
            self.runs[trial], MLFLOW_STATUS[event["status"]], end_time=_milliseconds(event["time"])
        )
        self.ended.add(trial)
        if event["status"] != FAILED:  # a failed trial is tried again, from its last checkpoint
            del self.rows[trial]

    def _send(self, trial: str) -> None:
        """Send what waits of a trial, in as few requests as MLflow allows; an epoch is whole in one of them."""
        from mlflow.entities import Metric, Param, RunTag

        batch, self.waiting[trial] = self.waiting[trial], Batch()
        now = int(datetime.now().timestamp() * 1000)
        epochs = [(epoch, list(scalars(row))) for epoch, row in batch.epochs.items()]
        each = max(1, MOST_FIGURES // max((len(figures) for _, figures in epochs), default=1))
        requests = max(ceil(len(epochs) / each), ceil(len(batch.settings) / MOST_SETTINGS), 1)
        for k in range(requests):
            part = epochs[k * each : (k + 1) * each]
            metrics = [Metric(tag, value, now, epoch) for epoch, figures in part for tag, value in figures]
            tags = {"last_epoch": str(part[-1][0])} if part else {}
            if k == requests - 1:
                tags |= batch.tags
                metrics += [Metric(tag, value, now, epoch) for tag, value, epoch in batch.figures]
            params = [Param(*item) for item in batch.settings[k * MOST_SETTINGS : (k + 1) * MOST_SETTINGS]]
            if metrics or params or tags:
                self.client.log_batch(self.runs[trial], metrics, params, [RunTag(*item) for item in tags.items()])

    def close(self) -> None:
        """Mark interrupted trials as killed; `resume` reopens them."""
        for trial in self.runs.keys() - self.ended:
            self._send(trial)
            self.client.set_terminated(self.runs[trial], MLFLOW_STATUS[STOPPED])


def refuse_silent(uri: str, study: str) -> None:
    """PlanError where a run could not log to a server; nothing is written there. A local store, which the first
    question would make, is not asked."""
    with _refusing(uri):
        if "://" in uri and not uri.startswith(("sqlite:", "file:")):
            _asked(uri, study)


def _asked(uri: str, study: str) -> tuple[Any, Any]:
    """(the server's client, the study's experiment if there is one)."""
    from mlflow.tracking import MlflowClient

    # By default MLflow retries a request for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    client = MlflowClient(tracking_uri=uri)
    return client, client.get_experiment_by_name(study)


@contextmanager
def _refusing(uri: str) -> Iterator[None]:
    try:
        import mlflow.tracking  # noqa: F401
    except ImportError:
        raise PlanError("--mlflow: MLflow is not installed; it is the extra `mlflow` of setup.cfg") from None
    try:
        yield
    except Exception as error:
        why = redacted(first_line(error))
        raise PlanError(
            f"--mlflow {redacted(uri)}: no tracking server that answers: {why}; `--mlflow none` does without"
        ) from None


def quoted(text: str) -> str:
    """The text in quotes for MLflow's filter language, which cannot escape a quote."""
    return f'"{text}"' if "'" in text else f"'{text}'"


def _milliseconds(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp() * 1000)
