"""What runs beside the trials of a study: the live page's share of the processor, and the driver's.

Processor time (user and system) between the first trial's begin and the last one's end, read from /proc: of Ray's
workers, which train; of the processes that the driver starts meanwhile, which write the live page, those that are over
included (the system adds a child's time to its parent's when that waits for it); of the driver itself. Two studies,
each to last three minutes or more: a few long trials (`faces48` in fp32) and many short ones (the digits). `ratio` is
the workers' time over the page's; `share` is the page's over the workers'.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import photos
from benchmarks.faces48 import CLASSES, study
from benchmarks.faces48_peers import SIDE
from benchmarks.measure import summary
from benchmarks.watch import Watched, process, processes_below, watch

EVERY = 0.25  # seconds between two looks
ENOUGH = 180.0  # seconds that a study must last
TICK = 0.01  # seconds: less than this of processor time cannot be seen


@dataclass(frozen=True)
class Times:
    """Seconds of processor time so far, `at` so many seconds after Enter."""

    at: float
    trials: float
    page: float
    driver: float


@dataclass
class Clocks:
    """Reads `Times` again and again, as `watch` lets it."""

    read: list[Times] = field(default_factory=list)
    workers: dict[int, float] = field(default_factory=dict)
    """of each worker the last time read, also when it is over"""
    begun: float = 0.0
    """when the first trial began, on the clock of `time.time`"""

    def look(self, pid: int, seen: Watched) -> None:
        first = seen.first("start")
        if first is None:
            return
        self.begun = seen.began + first
        while True:
            before, below, after = process(pid), processes_below(pid), process(pid)
            if before is None or after is None:
                return
            if before.reaped == after.reaped:  # else a child was counted twice, or not at all
                break
        self.workers |= {each.pid: each.own for each in below if each.is_worker}
        children = [each for each in below[1:] if not each.is_of_ray and each.began > self.begun]
        page = after.reaped + sum(each.own + each.reaped for each in children)
        self.read.append(Times(seen.now(), sum(self.workers.values()), page, after.own))


def run(epochs: int = 10, train: int = 2000, evaluated: int = 500, seeds: int = 60) -> dict[str, Any]:
    """`epochs` of each of the eight long trials; `seeds` of the four cells of the digits."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        counts = {"train": train, "validation": evaluated, "test": evaluated}
        root = photos.gratings(folder / "pictures", counts, SIDE, CLASSES, grey=True)
        file = folder / "faces48.yaml"
        file.write_text(json.dumps(study(epochs)))  # JSON is YAML
        long = _beside(folder, "long", [str(file), "--set", f"dataset.path={root}"])
        short = _beside(folder, "short", ["digits/long-tail", "--seeds", str(seeds)])
    return result({"a few long trials": long, "many short trials": short})


def _beside(folder: Path, name: str, asked: Sequence[str]) -> dict[str, float]:
    out, clocks = folder / name, Clocks()
    places = ["--out", str(out), "--cache-dir", str(folder / "cache")]
    seen = watch(["run_search.py", "run", *asked, *places], out / "log.jsonl", clocks.look, EVERY)
    return beside(clocks.read, seen)


def beside(read: Sequence[Times], seen: Watched) -> dict[str, float]:
    """Of one run: seconds of `Times` from the first trial's begin to the last one's end, its trials and epochs."""
    ended = [at for at, event in seen.events if event["event"] == "end"]
    begin = read[0]
    end = next((times for times in read if times.at >= ended[-1]), read[-1])
    return {
        "seconds": end.at - begin.at,
        "trials": len(ended),
        "epochs": sum(event["event"] == "epoch" for _, event in seen.events),
        **{name: getattr(end, name) - getattr(begin, name) for name in ("page", "driver")},
        "training": end.trials - begin.trials,
    }


def result(found: dict[str, dict[str, float]]) -> dict[str, Any]:
    cases, notes = [], []
    for name, of in found.items():
        case = summary(name, [(max(of["page"], TICK), of["training"])], "the trials themselves")
        case |= {"share": of["page"] / of["training"], "driver_share": of["driver"] / of["training"]}
        case |= {f"driver_ms_{each}": 1000 * of["driver"] / of[f"{each}s"] for each in ("trial", "epoch")}
        cases.append(case | {"seconds": of["seconds"], "long_enough": of["seconds"] >= ENOUGH})
        notes.append(
            f"{name}: {of['trials']:.0f} trials, {of['epochs']:.0f} epochs in {of['seconds']:.0f} s"
            f"{'' if of['seconds'] >= ENOUGH else ', too short to count'}; processor time {of['training']:.1f} s of "
            f"training; {of['page']:.2f} s of the live page ({100 * of['page'] / of['training']:.2f} %); "
            f"{of['driver']:.2f} s of the driver ({case['driver_ms_trial']:.1f} ms a trial, "
            f"{case['driver_ms_epoch']:.1f} ms an epoch)"
        )
    first, *others = cases
    said = {"name": "live", "case": first["name"], "cases": others, "notes": notes}
    return {**first, **said, "share": max(case["share"] for case in cases)}
