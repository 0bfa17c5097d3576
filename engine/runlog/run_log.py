"""Everything that happens to a run, appended to its log by the driver, one JSON line an event.

The log is the only state: what is not in it did not happen, and Parquet files and reports are made from it. A run
directory is claimed by creating its study.json, and held by a lock while a driver works in it.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from analysis.records.log import repair_tail
from analysis.records.run_directory import RunDirectory
from core import ROOT
from core.errors import Interrupted, PlanError, disk_fault
from core.files import write_text
from engine.planning.plan import Plan, objectives
from engine.runlog.history import History
from search_spaces.study import AblationStudy, SearchStudy

PACKAGES = ("torch", "torchvision", "ray", "optuna", "pandas", "pyarrow", "pillow", "numpy")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Log:
    """The append-only log of one run; a line is written by one system call, so a kill tears at most the last."""

    def __init__(self, run: RunDirectory) -> None:
        repair_tail(run.log)
        self.history = History.of(run)
        self._file = os.open(run.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.fsync(self._file)
        os.close(self._file)

    def extend(self, events: Iterable[dict[str, Any]]) -> None:
        for event in events:
            self.append(**event)

    def append(self, **event: Any) -> None:
        """Write the event whole or, where the disk does not take it, not at all; Interrupted then."""
        line = (json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n").encode()
        size = os.fstat(self._file).st_size
        try:
            with stopping():
                written = os.write(self._file, line)
                while written < len(line):  # a disk that is nearly full takes a part, and says why with the next
                    written += os.write(self._file, line[written:])
        except Interrupted:
            with suppress(OSError):  # what cannot be cut back now is cut back when the log is opened again
                os.ftruncate(self._file, size)
            raise
        self.history.add(event)


@contextmanager
def stopping() -> Iterator[None]:
    """Interrupted where a disk is full, read-only or failing in the block."""
    try:
        yield
    except OSError as error:
        if fault := disk_fault(error):
            raise Interrupted(fault) from error
        raise


def hold(run: RunDirectory) -> FileLock:
    """The run directory's lock, taken; PlanError where another driver holds it."""
    lock = FileLock(run.root / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise PlanError([f"{run.root}: another process is running this study; `status` shows how far it is"]) from None
    return lock


def check_free(directory: Path) -> None:
    """PlanError where `directory` already holds a run or cannot be written."""
    run = RunDirectory(directory)
    if run.study.exists():
        raise PlanError(
            [f"--out {directory}: holds a run already; go on with `resume {directory}`, or choose another folder"]
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise PlanError([f"--out {directory}: cannot be written ({error.strerror})"]) from None


def claim(plan: Plan, command: list[str]) -> RunDirectory:
    """Write study.json, atomically and only where there is none: of two drivers, one gets the directory."""
    check_free(plan.directory)
    run = RunDirectory(plan.directory)
    try:
        _write(run, study_record(plan, command), place=os.link)
    except FileExistsError:
        check_free(plan.directory)
    return run


def read_request(directory: Path) -> tuple[RunDirectory, dict[str, Any]]:
    """A run directory and its study.json; PlanError where that cannot be read."""
    run = RunDirectory(directory)
    try:
        return run, json.loads(run.study.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PlanError([f"{directory}: its study.json cannot be read ({error})"]) from None


def rewrite(plan: Plan, run: RunDirectory, command: list[str], before: dict[str, Any]) -> None:
    """study.json of a resumed run: what is asked now; when and where it was first asked stays."""
    _put(plan, run, command, {**before, "resumed_at": now()})


def extend(plan: Plan, run: RunDirectory) -> None:
    """study.json of a run whose plan has grown while it runs."""
    before = json.loads(run.study.read_text(encoding="utf-8"))
    _put(plan, run, before["command"], before)


def _put(plan: Plan, run: RunDirectory, command: list[str], before: dict[str, Any]) -> None:
    kept: dict[str, Any] = {key: before[key] for key in ("created_at", "command", "resumed_at") if key in before}
    _write(run, {**study_record(plan, command), **kept})


def _write(run: RunDirectory, record: dict[str, Any], place: Callable[[Path, Path], object] = os.replace) -> None:
    write_text(run.study, json.dumps(record, indent=1, ensure_ascii=False), place)


def study_record(plan: Plan, command: list[str]) -> dict[str, Any]:
    """study.json: what was asked, what it resolved to, and where it ran. `request` alone suffices to plan it again."""
    study, info = plan.study, plan.bench.data(plan.baseline).info
    return {
        "format": 1,
        "name": study.name,
        "question": study.question,
        "kind": study.kind,
        "design": study.design if isinstance(study, AblationStudy) else None,
        "workload": study.workload,
        "baseline": dict(study.baseline),
        "factors": study.model_dump(mode="json").get("factors", []),
        "cells": [
            {
                "name": item.cell.name,
                "levels": item.cell.levels,
                "reference": item.reference,
                "identical_to": item.identical_to,
                "invalid": item.invalid,
            }
            for item in plan.cells
        ],
        "comparisons": [vars(item) for item in plan.comparisons],
        **_path_record(plan),
        **(_search_record(study) if isinstance(study, SearchStudy) else {"space": [], "samples": None}),
        "seeds": list(study.replicates),
        "epochs": plan.baseline.training.epochs,
        "metric": study.metric,
        "further_metrics": list(study.further_metrics),
        "selection": plan.baseline.selection.model_dump(mode="json"),
        "trials": [
            {"trial": spec.trial, "cell": spec.cell, "seed": spec.seed, "epochs": spec.config["training"]["epochs"]}
            for spec in plan.trials
        ],
        "request": {"study": plan.asked.model_dump(mode="json"), "options": plan.options.model_dump(mode="json")},
        "command": command,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "git": git_state(),
        "data": {
            "name": info.name,
            "fingerprint": info.fingerprint,
            "classes": list(info.classes),
            "image_shape": list(info.image_shape),
            "counts": {split: list(counts) for split, counts in info.counts.items()},
        },
        "machine": {"node": platform.node(), "cpus": os.cpu_count(), "system": platform.platform()},
        "created_at": now(),
    }


def _path_record(plan: Plan) -> dict[str, Any]:
    """The steps chosen so far, and how many trials those to come may have at most."""
    study = plan.study
    if not isinstance(study, AblationStudy) or study.design != "path":
        return {}
    return {"path": list(study.steps), "trials_ahead": plan.ahead}


def _search_record(study: SearchStudy) -> dict[str, Any]:
    tree = study.model_dump(mode="json", include={"space", "samples", "sampler", "trial_scheduler"})
    return {**tree, "objectives": [metric for metric, _ in objectives(study)]}


def git_state() -> dict[str, Any]:
    """The program's commit and whether its files differ from it; nulls outside a checkout."""

    def git(*arguments: str) -> str | None:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        status = git("status", "--porcelain", "--untracked-files=no")
        return {"commit": git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}
    except OSError:
        return {"commit": None, "dirty": None}


def program() -> str:
    """How to call this program again, for commands that are printed."""
    return f"python {Path(sys.argv[0]).name}" if sys.argv[0].endswith(".py") else "python run_search.py"
