"""Writes a run's trials as TensorBoard event files below the run directory."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.records.columns import flat
from analysis.records.log import news
from analysis.records.run_directory import RunDirectory
from analysis.records.schema import END, EPOCH, FAILED, START
from engine.integrations.tracker import scalars

LONGEST = 240  # bytes of a cell's folder, which with a number may have 255
COMPLETE = "complete"  # file beside a trial's event file that marks it as complete


class TensorBoard:
    """Event files in tensorboard/CELL/seedSEED-TRIAL: a scalar per metric and split; at the end the settings."""

    name = "tensorboard"

    def __init__(self, run: RunDirectory) -> None:
        self.root = run.tensorboard
        self.folders: dict[str, Path] = {}
        self.cells: dict[str, str] = {}
        """by folder, the cell whose trials it holds"""
        self.writers: dict[str, Any] = {}
        self.configs: dict[str, Mapping[str, Any]] = {}
        self.rows: dict[str, dict[int, Mapping[str, Any]]] = {}

    def event(self, event: Mapping[str, Any]) -> None:
        trial = event.get("trial", "")
        if event["event"] == START:
            self._start(trial, event)
        elif event["event"] == EPOCH and trial in self.writers:
            known = self.rows[trial].get(event["epoch"], {})
            self.rows[trial][event["epoch"]] = event
            for tag, value in scalars(news(event, known)):
                self.writers[trial].add_scalar(tag, value, event["epoch"])
            self.writers[trial].flush()
        elif event["event"] == END and trial in self.writers:
            self._end(trial, event)

    def _start(self, trial: str, event: Mapping[str, Any]) -> None:
        from tensorboardX import SummaryWriter

        # A trial may start again after a failed or lost attempt; the rows that were written before stay.
        if trial not in self.folders:
            self.folders[trial] = self.root / self._cell_folder(event["cell"]) / f"seed{event['seed']}-{trial}"
        if trial in self.writers or (self.folders[trial] / COMPLETE).exists():
            return
        if trial not in self.configs:
            shutil.rmtree(self.folders[trial], ignore_errors=True)
        self.configs[trial] = event["config"]
        self.rows.setdefault(trial, {})
        self.writers[trial] = SummaryWriter(str(self.folders[trial]), write_to_disk=True)

    def _cell_folder(self, cell: str) -> str:
        """A cell's own folder, the same at each start of a run, as the log tells of cells in one order."""
        short = re.sub(r"[^\w.=+-]+", "_", cell)[:100].encode()[:LONGEST].decode(errors="ignore")
        free = name = short.lstrip(".") or "_"
        number = 1
        while self.cells.setdefault(free.casefold(), cell) != cell:
            number += 1
            free = f"{name}_{number}"
        return free

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
        if event["status"] != FAILED:  # a failed trial is tried again
            (self.folders[trial] / COMPLETE).touch()
            del self.rows[trial]

    def close(self) -> None:
        for writer in self.writers.values():
            writer.close()
