"""Finished trials per hour of a search with real training, each search in a process of its own, start included.

64 trials of a small CNN on class folders of photos (JPEG, 256 × 256, of which it takes 32 × 32): `run_search.py run
folder/search`, against three scripts in `study_peers`. Every search has the same files, epochs and (as near as can be)
space, and one process a core. Ray Tune's script stops trials by ASHA and is compared with ours with ASHA; the others
train every trial to its end, as ours does without. Ours also runs in bf16, which the scripts lack. Each runs once, so
the spread is that of one run. Our time ends with the last trial; the report, which no peer writes, comes after that and
is given as a note. Ours also decodes the photos into its cache, saves checkpoints and predictions and evaluates test
data after every epoch; the peers do none of it.
"""

import json
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks import photos
from benchmarks.measure import python, summary
from benchmarks.study_peers import SIDE

OURS = {
    "fp32": ("ours", []),
    "asha": ("ours with ASHA", ["--trial-scheduler", "asha"]),
    "bf16": ("ours in bf16", ["--set", "training.precision=bf16"]),
}
PEERS = {
    "ray": ("asha", "Ray Tune + OptunaSearch + ASHA"),
    "optuna": ("fp32", "Optuna, a process a core on one journal"),
    "joblib": ("fp32", "joblib.Parallel over random configurations"),
}
# Not -m: the peers' processes look up functions by module name, and __main__ is another module there.
START = "from benchmarks.study_peers import main; main()"
PHOTO = 256  # pixels a side of the files
Found = dict[str, float]


def run(samples: int = 64, epochs: int = 6, train: int = 384, peers: tuple[str, ...] = tuple(PEERS)) -> dict[str, Any]:
    """`train`: training images, with a quarter as many each for validation and test."""
    with tempfile.TemporaryDirectory() as folder:
        root = photos.gratings(
            Path(folder) / "pictures", {"train": train, "validation": train // 4, "test": train // 4}, SIDE, side=PHOTO
        )
        found: dict[str, Found] = {}
        for name in peers:
            ours = PEERS[name][0]
            if ours not in found:
                found[ours] = _ours(root, samples, epochs, ours, Path(folder))
            found[name] = _peer(name, root, samples, epochs)
        found["bf16"] = _ours(root, samples, epochs, "bf16", Path(folder))
    return _result(found, peers)


def _ours(root: Path, samples: int, epochs: int, name: str, folder: Path) -> Found:
    out = folder / name
    options = ["--samples", samples, "--epochs", epochs, *OURS[name][1]]
    data = ["--set", f"dataset.path={root}", "--set", f"dataset.image_size={SIDE}"]
    places = ["--out", out, "--cache-dir", folder / f"cache-{name}"]
    began = time.time()
    python("run_search.py", "run", "folder/search", *options, *data, *places)
    whole = time.time() - began
    events = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    ends = [event for event in events if event["event"] == "end" and event["status"] != "failed"]
    rows = [event for event in events if event["event"] == "epoch"]
    last = max(datetime.fromisoformat(event["time"]).timestamp() for event in ends)
    return {
        "trials": len(ends),
        "epochs": len(rows),
        "accuracy": max(row["val_accuracy"] for row in rows),
        "seconds": last - began,
        "whole": whole,
    }


def _peer(name: str, root: Path, samples: int, epochs: int) -> Found:
    began = time.time()
    output = python("-c", START, name, root, samples, epochs)
    return {**json.loads(output.splitlines()[-1]), "seconds": time.time() - began}


def _result(found: dict[str, Found], peers: tuple[str, ...]) -> dict[str, Any]:
    """Ours in bf16 against the fastest peer, then each peer against our search of the same kind."""
    cost = {name: own["seconds"] / own["trials"] for name, own in found.items()}
    titles = {name: title for name, (title, _) in OURS.items()} | {name: title for name, (_, title) in PEERS.items()}
    best = min(peers, key=lambda name: cost[name])
    cases = []
    for ours, peer in (("bf16", best), *((PEERS[name][0], name) for name in peers)):
        case = summary(f"{titles[ours]} against {peer}", [(cost[ours], cost[peer])], titles[peer])
        cases.append(case | {"trials_an_hour": 3600 / cost[ours], "trials_an_hour_peer": 3600 / cost[peer]})
    notes = [
        f"{titles[name]}: {own['trials']:.0f} trials, {own['epochs']:.0f} epochs in {own['seconds']:.1f} s: "
        f"{3600 / cost[name]:.0f} trials an hour, best validation accuracy {own['accuracy']:.3f}"
        + (f"; {own['whole']:.1f} s with the report" if "whole" in own else "")
        for name, own in found.items()
    ]
    seconds = "seconds are those of a search over its finished trials, one run each"
    first, *others = cases
    ratio = {"ratio_fp32": cost[best] / cost["fp32"]} if "fp32" in cost else {}
    return {**first, **ratio, "name": "study", "case": first["name"], "cases": others, "notes": [seconds, *notes]}
