"""What `plan` forecasts against what the command then takes, of ten runs of different kinds, start and report included.

Each is planned and then run by the command line, in processes of their own, on data that the benchmark makes; none but
the resumed one knows figures of an earlier run. Ten runs of up to two minutes, so it takes a quarter of an hour.
"""

import json
import os
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks import photos
from benchmarks.measure import python

CNN = ("model.channels=[32,64,128,128]", "model.bn_after=[conv1,conv2,conv3,conv4]", "training.batch_size=64")
GRID = """
name: {name}
workload: folder
design: one_at_a_time
epochs: 2
factors:
- name: momentum
  levels:
  - {{name: "off"}}
  - {{name: "0.9", settings: {{optimizer.momentum: 0.9}}}}
"""
SIZES = """
name: sizes
workload: folder
epochs: 4
samples: 12
space:
- {key: optimizer.lr, kind: float}
- {key: training.batch_size, kind: int, low: 16, high: 128}
- {key: model.channels, kind: choice, choices: [[8, 16], [16, 32], [32, 64, 64]]}
"""


@dataclass(frozen=True)
class Case:
    name: str
    study: str
    """a name of `list`, or the text of a file"""
    options: tuple[str, ...] = ()
    pictures: str = ""
    """the folder of data: small, faces, or photos"""
    settings: tuple[str, ...] = ()
    resumed: tuple[str, ...] = ()
    """options of the `resume` that is forecast, after a run of the others"""


CASES = (
    Case("digits, 8 trials of 30 epochs", "digits/long-tail", ("--seeds", "2")),
    Case("digits, one seed of 80 epochs", "digits/long-tail", ("--seeds", "1", "--epochs", "80")),
    Case("digits, 80 trials of 3 epochs", "digits/long-tail", ("--seeds", "20", "--epochs", "3")),
    Case("digits, a search with ASHA", "digits/search", ("--trial-scheduler", "asha", "--samples", "30")),
    Case("faces, CNN with batch norm", GRID, ("--seeds", "2"), "small", CNN),
    Case("faces, the same in bf16", GRID, ("--seeds", "4"), "small", (*CNN, "training.precision=bf16")),
    Case("faces, torchvision's ResNet18 at 64", GRID, ("--seeds", "1"), "small", ("model.name=torchvision:resnet18",)),
    Case("faces, a search over batch and network", SIZES, (), "small"),
    Case("landmarks on photos", "landmarks/schedules", ("--seeds", "1", "--epochs", "4"), "photos"),
    Case("digits, resumed with 4 seeds more", "digits/long-tail", ("--seeds", "2"), resumed=("--seeds", "6")),
)
SIDES = {"torchvision:resnet18": 64}
PICTURES = {"train": 1000, "validation": 250, "test": 500}
PHOTOS = 150


def run(cases: tuple[Case, ...] = CASES, pictures: dict[str, int] | None = None, faces: int = PHOTOS) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        photos.gratings(place / "data" / "small", pictures or PICTURES, 48)
        photos.faces(place / "data" / "faces", faces)
        found = [_case(case, place, place / str(number)) for number, case in enumerate(cases)]
    inside, widest = sum(each["inside"] for each in found), max(each["width"] for each in found)
    return {
        "name": "forecast",
        "inside": inside,
        "of": len(found),
        "widest": widest,
        "claim": f"{inside} of {len(found)} runs inside of their range, the widest ± {widest:.0%}",
        "load": os.getloadavg()[0],
        "runs": found,
        "notes": [_note(each) for each in found],
    }


def _case(case: Case, place: Path, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    study: str | Path = case.study
    if "\n" in case.study:
        study = folder / "study.yaml"
        study.write_text(case.study.format(name="grid"), encoding="utf-8")
    settings = list(case.settings)
    if case.pictures == "small":
        side = SIDES.get(settings[0].partition("=")[2] if settings else "", 48)
        settings += [f"dataset.path={place / 'data' / 'small'}", f"dataset.image_size={side}"]
    options = [*case.options, "--out", folder / "run", "--cache-dir", place / "cache", "--data-root", place / "data"]
    options += [word for setting in settings for word in ("--set", setting)]
    command: list[object] = ["run", study, *options]
    if case.resumed:
        python("run_search.py", *command)
        command = ["resume", folder / "run", *case.resumed]
    planned = json.loads(python("run_search.py", "plan", study, *options, *case.resumed, "--json"))["forecast"]
    began = time.time()
    python("run_search.py", *command)
    return _compared(case, planned, began, time.time(), folder / "run" / "log.jsonl")


def _compared(case: Case, planned: dict[str, Any], began: float, over: float, log: Path) -> dict[str, Any]:
    """The forecast beside the truth; the parts of the truth by the log's times."""
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    times = {kind: [_time(event) for event in events if event["event"] == kind] for kind in ("start", "end")}
    first, last = min(at for at in times["start"] if at > began), max(times["end"])
    low, high, seconds = planned["seconds_low"], planned["seconds_high"], over - began
    return {
        "name": case.name,
        "low": low,
        "high": high,
        "seconds": seconds,
        "inside": low <= seconds <= high,
        "width": high / planned["seconds"] - 1,
        "parts": {"start": first - began, "training": last - first, "report": over - last},
        "forecast": planned,
    }


def _time(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def _note(found: dict[str, Any]) -> str:
    parts = ", ".join(
        f"{name} {found['forecast'][f'{name}_seconds']:.1f} / {seconds:.1f}" for name, seconds in found["parts"].items()
    )
    verdict = "inside" if found["inside"] else "OUTSIDE"
    return (
        f"{found['name']}: {found['low']:.0f} to {found['high']:.0f} s (± {found['width']:.0%}), took "
        f"{found['seconds']:.1f} s, {verdict}; forecast / truth: {parts}; {found['forecast']['based_on']}"
    )
