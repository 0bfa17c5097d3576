"""The overhead of a trial besides its training: ours against plain Ray Tune, both with instant trials.

Ours is all that `run` does but the report at the end: plan, claim, Ray Tune with our queue and recorder, log.jsonl.
The peer is a Tuner over a class Trainable with `reuse_actors=True` and Ray's default result files. Both use the same
Ray, with one process a core. A trial's cost is the time between the ends of the first and the last trial divided by the
number of trials less one; ours also includes the time before Ray is used (plan, claim, records). Neither includes the
start of processes, whose time varies by seconds. `growth` is the cost in the largest run over that in the smallest,
both without the plan, `growth_halves` that of the second half of the largest run over its first half. The cost by whole
calls, (T(most) − T(fewest)) / (most − fewest), is printed too; it includes differences in the start of processes.

Instant trials are bundled as far as possible, but trials of five seconds or more never are: their overhead is the note
on a TPE search, which gives each trial to Ray by itself.
"""

import json
import os
import tempfile
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from rich.console import Console

from benchmarks.measure import summary
from engine.execution.cluster import ray_started
from engine.execution.launch import start
from engine.planning.run_options import Options
from search_spaces.factors import Factor
from search_spaces.spaces import Number
from search_spaces.study import AblationStudy, AnyStudy, SearchStudy
from trainables.registry import WORKLOADS

LOGGERS = "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"
NAMES = {"ours": "ours", "peer": "Ray Tune", "quiet": "Ray Tune without result files"}
ASKED: dict[str, Any] = {
    "name": "instant",
    "question": "What does a trial cost besides its training?",
    "workload": "instant",
    "epochs": 1,
}


@dataclass(frozen=True)
class Run:
    """Seconds of the whole call, from its start to each trial's end (ascending), and of planning before Ray."""

    seconds: float
    ends: list[float]
    planned: float = 0.0

    @property
    def each(self) -> float:
        """Seconds per trial, including its share of the plan."""
        return (self.planned + self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)

    def cost(self, first: float = 0.0, last: float = 1.0) -> float:
        """Seconds per trial, without the plan, from share `first` to share `last` of the trials."""
        low, high = (round(share * (len(self.ends) - 1)) for share in (first, last))
        return (self.ends[high] - self.ends[low]) / (high - low)


Runs = dict[int, list[Run]]


def run(sizes: tuple[int, int, int] = (10, 100, 1000), repeats: tuple[int, int, int] = (3, 2, 2)) -> dict[str, Any]:
    """`sizes`: even numbers of trials. `repeats`: how often each is measured, all sides in turn."""
    sides = {"ours": _ours, "peer": _peer, "quiet": partial(_peer, result_files=False)}
    runs: dict[str, Runs] = {name: {size: [] for size in sizes} for name in sides}
    with tempfile.TemporaryDirectory() as folder, ray_started(), _registered():
        _ours(2, Path(folder) / "warm")
        for size, count in zip(sizes, repeats, strict=True):
            for i in range(count):
                for name, side in sides.items():
                    runs[name][size].append(side(size, Path(folder) / f"{name}-{size}-{i}"))
        searched = [_search(sizes[1], Path(folder) / f"search-{i}") for i in range(repeats[1])]
    return _result(runs, searched)


def _result(runs: dict[str, Runs], searched: list[Run]) -> dict[str, Any]:
    small, *_, large = runs["ours"]
    each = {name: [run.each for run in own[large]] for name, own in runs.items()}
    pairs = list(zip(each["ours"], each["peer"], strict=True))
    result = summary("overhead", pairs, "ray.tune.Tuner with reuse_actors and its default result files")
    result["ratio_quiet"] = median(each["quiet"]) / result["median_ours"]
    for name, own in runs.items():
        tail = "" if name == "ours" else f"_{name}"
        result[f"growth{tail}"] = median([r.cost() for r in own[large]]) / median([r.cost() for r in own[small]])
        result[f"growth_halves{tail}"] = median([r.cost(0.5, 1.0) / r.cost(0.0, 0.5) for r in own[large]])
    result["search_seconds"] = median([r.cost() for r in searched])
    result["notes"] = [_note(name, own) for name, own in runs.items()]
    halves = f"ours {result['growth_halves']:.2f}, Ray Tune {result['growth_halves_peer']:.2f}"
    searched_ms = 1000 * result["search_seconds"]
    result["notes"] += [
        f"a trial's cost in the second half of {large} over that in the first: {halves}",
        f"ours, a TPE search of {len(searched[0].ends)} trials, none bundled: {searched_ms:.1f} ms a trial",
    ]
    return result


def _by_calls(runs: Runs) -> float:
    """Seconds per further trial by whole calls, including differences in the start of processes."""
    small, *_, large = ((size, median([run.seconds for run in own])) for size, own in runs.items())
    return (large[1] - small[1]) / (large[0] - small[0])


def _note(name: str, runs: Runs) -> str:
    each = ", ".join(f"{1000 * median([run.each for run in own]):.2f} ms of {size}" for size, own in runs.items())
    whole = ", ".join(f"{median([run.seconds for run in own]):.1f} s" for own in runs.values())
    return f"{NAMES[name]}: a trial {each}; whole calls {whole}: {1000 * _by_calls(runs):.2f} ms a further trial"


def _registered() -> AbstractContextManager[object]:
    """Registers the workload of instant trials within a `with` block."""
    return patch.dict(WORKLOADS, instant=("benchmarks.instant:Instant", "trials that cost nothing"))


def _ours(trials: int, where: Path) -> Run:
    momentum = Factor.of("momentum", {"off": {}, "0.9": {"optimizer.momentum": 0.9}})
    return _carried_out(
        AblationStudy(**ASKED, design="one_at_a_time", factors=(momentum,), seeds=trials // 2), trials, where
    )


def _search(trials: int, where: Path) -> Run:
    return _carried_out(SearchStudy(**ASKED, space=(Number(key="optimizer.lr"),), samples=trials), trials, where)


def _carried_out(study: AnyStudy, trials: int, where: Path) -> Run:
    with Path(os.devnull).open("w") as nowhere:
        began, at = time.perf_counter(), time.time()
        run = start(study, Options(), where, ["benchmarks", "overhead"], Console(file=nowhere))
        whole = time.perf_counter() - began
    events = [json.loads(line) for line in run.log.read_text(encoding="utf-8").splitlines()]
    ends = [_since(at, event) for event in events if event["event"] == "end" and event["status"] == "finished"]
    planned = next(_since(at, event) for event in events if event["event"] == "session")
    return _complete(Run(whole, ends, planned), trials)


def _since(began: float, event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp() - began


def _peer(trials: int, where: Path, result_files: bool = True) -> Run:
    from ray import tune

    from benchmarks.plain import Ends, Plain

    ends, began = Ends(), time.perf_counter()
    with patch.dict(os.environ, {LOGGERS: "0" if result_files else "1"}):
        tune.Tuner(
            tune.with_resources(Plain, {"cpu": 1}),
            param_space={"seed": tune.grid_search(list(range(trials)))},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(name="peer", storage_path=str(where), verbose=0, callbacks=[ends]),
        ).fit()
    return _complete(Run(time.perf_counter() - began, [end - began for end in ends.seconds]), trials)


def _complete(run: Run, trials: int) -> Run:
    if len(run.ends) != trials:
        raise RuntimeError(f"{len(run.ends)} of {trials} trials came to their end")
    return run
