"""Small run directories with made numbers, written as the driver writes them."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

METRIC = "test_balanced_accuracy"
EPOCHS = 10
BEST_EPOCH = 7

Outcome = float | str
"""A finished trial's primary metric at its selected epoch, or "diverged", "failed", "stopped", "running"."""


def trial_id(cell: str, seed: int) -> str:
    return hashlib.sha256(f"{cell}/{seed}".encode()).hexdigest()[:12]


def study(cells: Iterable[str] = ("baseline",), seeds: Iterable[int] = (0, 1, 2), **changes: Any) -> dict[str, Any]:
    """An ablation of one factor: `baseline` against cells named `loss=LEVEL`."""
    names, seeds = list(cells), list(seeds)
    base = names[0] if names and "baseline" not in names else "baseline"
    levels = {name: {"loss": name.rpartition("=")[2] if "=" in name else "ce"} for name in names}
    made: dict[str, Any] = {
        "format": 1,
        "name": "digits/losses",
        "question": "Does the loss matter?",
        "kind": "ablation",
        "design": "one_at_a_time",
        "workload": "digits",
        "baseline": {"loss.name": "ce"},
        "factors": [
            {
                "name": "loss",
                "levels": [
                    {"name": level["loss"], "settings": {"loss.name": level["loss"]}} for level in levels.values()
                ],
            }
        ],
        "cells": [cell(name, levels[name]) for name in names],
        "comparisons": [comparison("loss", levels[name]["loss"], "ce", name, base) for name in names[1:]],
        "space": [],
        "samples": None,
        "seeds": seeds,
        "epochs": EPOCHS,
        "metric": METRIC,
        "further_metrics": [],
        "selection": {"rule": "best", "metric": "val_reference"},
        "trials": planned(names, seeds),
        "command": ["run", "digits/losses"],
        "versions": {"python": "3.11", "torch": "2.11"},
        "git": {"commit": "0123abc", "dirty": False},
        "data": {"fingerprint": "f00d", "classes": ["zero", "one"]},
        "machine": {"cpu": "a processor"},
        "created_at": "2026-01-01T00:00:00+00:00",
    }
    return made | changes


def cell(name: str, levels: Mapping[str, str], **changes: Any) -> dict[str, Any]:
    return {"name": name, "levels": dict(levels), "reference": None, "identical_to": None, "invalid": None} | changes


def comparison(factor: str, level: str, baseline_level: str, cell: str, baseline_cell: str) -> dict[str, str]:
    return {
        "factor": factor,
        "level": level,
        "baseline_level": baseline_level,
        "cell": cell,
        "baseline_cell": baseline_cell,
    }


def planned(cells: Iterable[str], seeds: Iterable[int]) -> list[dict[str, Any]]:
    return [
        {"trial": trial_id(name, seed), "cell": name, "seed": seed, "epochs": EPOCHS}
        for name, seed in itertools.product(cells, list(seeds))
    ]


def factorial(factors: Mapping[str, list[str]], seeds: Iterable[int] = range(5), **changes: Any) -> dict[str, Any]:
    """Every combination of levels; the first level of each factor is the baseline's."""
    seeds = list(seeds)
    base = {name: levels[0] for name, levels in factors.items()}
    cells, comparisons = [], []
    for combination in itertools.product(*factors.values()):
        levels = dict(zip(factors, combination, strict=True))
        changed = {name: level for name, level in levels.items() if level != base[name]}
        name = ",".join(f"{factor}={level}" for factor, level in changed.items()) or "baseline"
        cells.append(cell(name, levels))
        if changed:
            joined = (" + ".join(part) for part in (changed, changed.values(), (base[factor] for factor in changed)))
            comparisons.append(comparison(*joined, name, "baseline"))
    names = [made["name"] for made in cells]
    return (
        study(names, seeds)
        | {
            "design": "factorial",
            "factors": [
                {"name": name, "levels": [{"name": level, "settings": {}} for level in levels]}
                for name, levels in factors.items()
            ],
            "cells": cells,
            "comparisons": comparisons,
        }
        | changes
    )


def search(keys: Iterable[str] = ("optimizer.lr",), seeds: Iterable[int] = (0,), **changes: Any) -> dict[str, Any]:
    """A search, whose cells only the log names."""
    return (
        study((), seeds)
        | {
            "name": "digits/search",
            "kind": "search",
            "design": None,
            "factors": [],
            "cells": [],
            "comparisons": [],
            "trials": [],
            "space": [{"key": key} for key in keys],
            "samples": 4,
        }
        | changes
    )


def start(cell: str, seed: int, config: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "event": "start",
        "time": "2026-01-01T00:00:00+00:00",
        "trial": trial_id(cell, seed),
        "cell": cell,
        "seed": seed,
        "config": dict(config or {"loss": {"name": "ce"}, "optimizer": {"lr": 0.01}}),
        "node": "host",
        "device": "cpu",
    } | changes


def epoch(cell: str, seed: int, number: int, **metrics: Any) -> dict[str, Any]:
    made = {"event": "epoch", "trial": trial_id(cell, seed), "epoch": number, "lr": 0.01, "train_loss": 1.0}
    return made | {"val_loss": 1.0, "test_loss": 1.0} | metrics | {"seconds": metrics.get("seconds", 0.5)}


def end(cell: str, seed: int, status: str = "finished", **changes: Any) -> dict[str, Any]:
    return {
        "event": "end",
        "time": "2026-01-01T00:01:00+00:00",
        "trial": trial_id(cell, seed),
        "status": status,
        "selected_epoch": None,
        "verified": status == "finished",
        "error": "it broke" if status == "failed" else None,
        "seconds": 6.0,
        "node": "host",
        "device": "cpu",
        "execution": {"attempts": 1, "rerun": f"python run_search.py rerun results {trial_id(cell, seed)}"},
    } | changes


def trial(
    cell: str, seed: int, outcome: Outcome, metric: str = METRIC, config: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """A trial whose validation is best at BEST_EPOCH: there the metric is `outcome`, and 0.01 more in validation."""
    broken = isinstance(outcome, str)
    value = 0.5 if isinstance(outcome, str) else outcome
    epochs = 4 if broken else EPOCHS
    base = metric.partition("_")[2]
    events = [start(cell, seed, config)]
    for number in range(1, epochs + 1):
        away = abs(number - min(BEST_EPOCH, epochs))
        reference = 1.0 + 0.1 * away
        metrics = {f"test_{base}": value - 0.02 * away, f"val_{base}": value + 0.01 - 0.02 * away}
        events.append(epoch(cell, seed, number, **metrics, val_reference=reference))
    if outcome != "running":
        events.append(end(cell, seed, outcome if isinstance(outcome, str) else "finished"))
    return events


def write(root: Path, study: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "study.json").write_text(json.dumps(study))
    (root / "log.jsonl").write_bytes(lines(events))
    return root


def read(root: Path) -> list[dict[str, Any]]:
    """The events of a run's log."""
    return [json.loads(line) for line in (root / "log.jsonl").read_bytes().splitlines()]


def lines(events: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(event, ensure_ascii=False, allow_nan=False).encode() + b"\n" for event in events)


def write_outcomes(
    root: Path,
    study: Mapping[str, Any],
    outcomes: Mapping[str, Iterable[Outcome]],
    metric: str = METRIC,
    configs: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """A run whose cells had these outcomes, one a seed in the order of the study's seeds."""
    events = [
        event
        for cell, values in outcomes.items()
        for seed, outcome in zip(study["seeds"], values, strict=False)
        for event in trial(cell, seed, outcome, metric, (configs or {}).get(cell))
    ]
    return write(root, study, events)


def with_costs(run: Path, costs: Mapping[str, tuple[int, int]]) -> None:
    """Write the (parameters, multiply-adds) of the cells' networks into the ends of their trials."""
    log, cells = run / "log.jsonl", dict[str, str]()
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    for event in events:
        cells.setdefault(event.get("trial", ""), event.get("cell", ""))
        if event["event"] == "end" and (found := costs.get(cells[event["trial"]])):
            event |= dict(zip(("parameters", "multiply_adds"), found, strict=True))
    log.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
