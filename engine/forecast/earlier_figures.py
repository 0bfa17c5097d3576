"""What earlier runs on this machine say of an epoch: those of this run directory and of the folders beside it.

Only epochs that were trained under the same circumstances count: data, settings that cost time, program, processor,
torch, threads, and the number of trials at a time.
"""

import json
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from analysis.records.run_directory import RunDirectory
from analysis.records.study_json import read_study
from core.errors import FaultError
from engine.execution.local_ray import is_local
from engine.planning.plan import Plan
from engine.runlog.history import History
from trainables.config import ConfigError, TrialConfig, from_tree
from trainables.trial.processor import computer
from trainables.trial_key import code_version

MOST_RUNS = 20  # the newest ones
LONGEST_LOG = 2**26  # bytes
FREE = ("augmentation", "optimizer", "training")  # whose numbers cost no time, unless they are zero
LIGHT = ("loss", "sampler", "schedule")  # of which ours cost nothing beside a network


@dataclass(frozen=True)
class Earlier:
    """The median of epochs' `seconds`, how many there are, and where."""

    epoch: float
    epochs: int
    run: Path


def cost_key(config: TrialConfig) -> str:
    """Equal for configurations whose epochs take as long, as they do the same with other numbers."""
    light = {kind for kind in LIGHT if not getattr(config, kind).own_references}
    tree = config.model_dump(mode="json", exclude={"selection", "inspect", *light})
    tree["task"] = config.loss.task
    tree["training"].pop("epochs")
    tree["model"].pop("dropout_rate", None)
    for kind in FREE:
        tree[kind] = {name: bool(value) if isinstance(value, float) else value for name, value in tree[kind].items()}
    return json.dumps(tree, sort_keys=True)


def earlier_figures(plan: Plan, wanted: Mapping[str, TrialConfig], concurrent: int) -> dict[str, Earlier]:
    """By `cost_key`, the figures of the newest run that has any, for the keys of `wanted`."""
    found: dict[str, Earlier] = {}
    for run in _runs(plan.directory):
        missing = {key: config for key, config in wanted.items() if key not in found}
        if not missing:
            break
        with suppress(OSError, ValueError, KeyError, TypeError, FaultError):  # a damaged run tells nothing
            study = read_study(run)
            if alike(study, plan, concurrent):
                found |= _of_run(run, plan, missing)
    return found


def _runs(directory: Path) -> list[RunDirectory]:
    """This run and those beside it, the newest first, this one before all."""
    logs: list[tuple[bool, float, Path]] = []
    for log in [directory / "log.jsonl", *directory.parent.glob("*/log.jsonl")]:
        with suppress(OSError):
            if (stat := log.stat()).st_size <= LONGEST_LOG:
                logs.append((log.parent == directory, stat.st_mtime, log.parent))
    return [RunDirectory(folder) for folder in dict.fromkeys(each[2] for each in sorted(logs, reverse=True))][
        :MOST_RUNS
    ]


def alike(study: dict[str, Any], plan: Plan, concurrent: int) -> bool:
    """Whether a run of this study.json trained here, as many trials at a time."""
    options, machine = study["request"]["options"], study["machine"]
    if machine["node"] != platform.node() or not is_local(options.get("address")):
        return False
    same = {name: options.get(name) or None for name in ("gpus_per_trial", "fuse")}
    own = plan.options.model_dump(mode="json", include=set(same))
    fits = int(machine["cpus"] / options["cpus_per_trial"] + 1e-6)
    planned = len(study["trials"]) or study["samples"] or 1
    at_a_time = max(1, min(fits, options.get("max_concurrent") or fits, planned))
    return at_a_time == concurrent and same == {name: own[name] or None for name in same}


def _of_run(run: RunDirectory, plan: Plan, wanted: Mapping[str, TrialConfig]) -> dict[str, Earlier]:
    history, seconds = History.of(run), dict[str, list[float]]()
    data = {key: plan.factory.data(config).info.fingerprint for key, config in wanted.items()}
    kinds: dict[str, tuple[str, str]] = {}  # by configuration: (cost key, what this program's version would be of it)
    for trial, end in history.ends.items():
        start, execution = history.starts[trial], end.get("execution", {})
        lanes = execution.get("fused", {}).get("lanes", 1)
        if lanes > 1 or execution.get("threads") != plan.options.threads or not _on_this(end):
            continue
        text = json.dumps(start["config"], sort_keys=True)
        if text not in kinds:
            kinds[text] = "", ""
            with suppress(ConfigError):  # as of code that this study does not name
                config = from_tree(start["config"])
                kinds[text] = cost_key(config), code_version(config)
        key, code = kinds[text]
        if (start.get("fingerprint"), start.get("code")) == (data.get(key, ""), code):
            seconds.setdefault(key, []).extend(row["seconds"] for row in history.rows[trial].values())
    return {key: Earlier(median(each), len(each), run.root) for key, each in seconds.items() if each}


def _on_this(end: dict[str, Any]) -> bool:
    """Whether a trial ran on this device and processor, with this torch."""
    return {**end.get("execution", {}), "device": end.get("device")}.items() >= computer().items()
