"""`study --work faces48`: a study of minutes on pictures that are cheap to decode, as whole commands.

Grey JPEG files of 48 × 48 in seven class folders, like FER2013's (about 2 KB each); a CNN 32-64-128-128 with batch norm
and flips; a grid of eight trials of two epochs. `run_search.py run STUDY.yaml`, in fp32 and in bf16, against three
scripts (`faces48_peers`), which are fp32: from the start of Python to the exit after the table. Both sides have the
same files, splits, network, optimizer, batch size and flips, one thread a trial and one process a core, and evaluate
validation and test after every epoch.

What ours does and the scripts do not: it decodes into a cache, which is empty at first, and hashes what it decodes;
plans and checks; saves checkpoints, predictions, features and pictures; logs every epoch; rewrites the live page;
writes the report with its figures. What the scripts do and ours does not: they decode each file in every epoch. A
second form of them (`--memory`) decodes once a process instead; its ratios stand beside the first's.
"""

import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import photos
from benchmarks.faces48_peers import BATCH, CHANNELS, HIDDEN, LEVELS, SIDE
from benchmarks.measure import python, seconds, summary

OURS = {"fp32": "ours", "bf16": "ours in bf16"}
PEERS = {"joblib": "joblib.Parallel", "optuna": "Optuna, a process a core on one journal", "ray": "Ray Tune"}
SETTINGS = {"lr": "optimizer.lr", "momentum": "optimizer.momentum", "weight_decay": "optimizer.weight_decay"}
CLASSES = 7
# Not -m: the peers' processes look up functions by module name, and __main__ is another module there.
START = "from benchmarks.faces48_peers import main; main()"
Found = dict[str, float]


def run(
    trials: int | None = None,
    pairs: int = 1,
    train: int = 2000,
    evaluated: int = 500,
    epochs: int = 2,
    peers: Sequence[str] = tuple(PEERS),
) -> dict[str, Any]:
    """`trials`: so many, a multiple of eight, are run once as well, by ours and the best peer. `evaluated`: a split."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        counts = {"train": train, "validation": evaluated, "test": evaluated}
        root = photos.gratings(folder / "pictures", counts, SIDE, CLASSES, grey=True)
        rounds = [_round(root, folder / f"round{i}", epochs, peers) for i in range(pairs)]
        best = min(peers, key=lambda peer: statistics.median(found[peer]["seconds"] for found in rounds))
        more: dict[str, Found] = {}
        if trials:
            more = {own: _ours(root, folder / "more", own, trials, epochs) for own in OURS}
            more[best] = _peer(root, best, trials, epochs)
    return result(rounds, peers, more)


def study(epochs: int) -> dict[str, Any]:
    """What STUDY.yaml holds: a factorial of the grid's settings."""
    first = {SETTINGS[name]: levels[0] for name, levels in LEVELS.items()}
    return {
        "name": "faces48",
        "question": "Which of eight settings suits small grey faces?",
        "workload": "folder",
        "design": "factorial",
        "epochs": epochs,
        "seeds": 1,
        "baseline": {
            "dataset.image_size": SIDE,
            "dataset.channels": 1,
            "model.channels": list(CHANNELS),
            "model.hidden": HIDDEN,
            "model.bn_after": [f"conv{i}" for i in range(1, len(CHANNELS) + 1)],
            "augmentation.flip": True,
            "training.batch_size": BATCH,
            "optimizer.name": "sgd",
            **first,
        },
        "factors": [
            {"name": name, "levels": [{"name": f"{level:g}", "settings": {SETTINGS[name]: level}} for level in levels]}
            for name, levels in LEVELS.items()
        ],
    }


def _round(root: Path, folder: Path, epochs: int, peers: Sequence[str]) -> dict[str, Found]:
    """Eight trials of each side once: ours in fp32, the scripts, ours in bf16, the scripts from memory."""
    found = {"fp32": _ours(root, folder, "fp32", 8, epochs)}
    found |= {peer: _peer(root, peer, 8, epochs) for peer in peers}
    found["bf16"] = _ours(root, folder, "bf16", 8, epochs)
    return found | {f"{peer}_memory": _peer(root, peer, 8, epochs, "--memory") for peer in peers}


def _ours(root: Path, folder: Path, precision: str, trials: int, epochs: int) -> Found:
    out, file = folder / precision, folder / f"{precision}.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(study(epochs)))  # JSON is YAML
    settings = ["--set", f"dataset.path={root}", "--set", f"training.precision={precision}"]
    places = ["--out", out, "--cache-dir", folder / f"cache-{precision}"]
    command = ["run_search.py", "run", file, "--seeds", trials // 8, *settings, *places]
    whole = seconds(lambda: python(*command))
    events = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    rows = [event for event in events if event["event"] == "epoch"]
    ends = [event for event in events if event["event"] == "end" and event["status"] == "finished"]
    if len(ends) != trials:
        raise RuntimeError(f"{len(ends)} of {trials} trials came to their end")
    return {
        "trials": len(ends),
        "epochs": len(rows),
        "accuracy": max(row["val_accuracy"] for row in rows),
        "seconds": whole,
        "trial": statistics.median(end["seconds"] for end in ends),
    }


def _peer(root: Path, name: str, trials: int, epochs: int, *options: str) -> Found:
    printed: list[str] = []
    whole = seconds(lambda: printed.append(python("-c", START, name, root, trials, epochs, *options)))
    return {**json.loads(printed[0].splitlines()[-1]), "seconds": whole}


def result(rounds: Sequence[dict[str, Found]], peers: Sequence[str], more: dict[str, Found]) -> dict[str, Any]:
    """Ours in bf16 against the quickest script; beside it fp32, scripts from memory, and more trials."""
    titles = OURS | PEERS | {f"{peer}_memory": f"{PEERS[peer]} from memory" for peer in peers}
    took = {name: statistics.median(found[name]["seconds"] for found in rounds) for name in rounds[0]}
    best, memory = (min(names, key=took.__getitem__) for names in (peers, [f"{peer}_memory" for peer in peers]))

    def case(own: str, peer: str, found: Sequence[dict[str, Found]] = rounds, size: str = "") -> dict[str, Any]:
        pairs = [(each[own]["seconds"], each[peer]["seconds"]) for each in found]
        return summary(f"{size}{titles[own]} against {titles[peer]}", pairs, titles[peer])

    cases = {
        "ratio": case("bf16", best),
        "ratio_fp32": case("fp32", best),
        "ratio_memory": case("bf16", memory),
        "ratio_fp32_memory": case("fp32", memory),
    }
    if more:
        (count,), (peer,) = {int(found["trials"]) for found in more.values()}, more.keys() - OURS.keys()
        cases[f"ratio_{count}"] = case("bf16", peer, [more], f"{count} trials: ")
        cases[f"ratio_fp32_{count}"] = case("fp32", peer, [more], f"{count} trials: ")
    shown = [(titles[name], found[name]) for found in rounds for name in found]
    shown += [(titles[name], found) for name, found in more.items()]
    notes = [
        f"{title}: {found['trials']:.0f} trials, {found['epochs']:.0f} epochs in {found['seconds']:.1f} s, "
        f"best validation accuracy {found['accuracy']:.3f}"
        + (f"; a trial {found['trial']:.1f} s" if "trial" in found else "")
        for title, found in shown
    ]
    first, *others = cases.values()
    ratios = {name: each["ratio"] for name, each in cases.items()}
    said = {"name": "study", "work": "faces48", "case": f"faces48, {first['name']}", "cases": others, "notes": notes}
    return {**first, **ratios, "seconds": took, **said}
