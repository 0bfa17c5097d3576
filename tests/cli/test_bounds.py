"""Hostile sizes: each is refused in a line, within a second of processor time and 500 MB, or planned as quickly.

All cases run in one child process, whose memory cannot grow by more than that once the imports are done.
"""

import json
import os
import re
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import scipy.stats  # noqa: F401  what a Sobol sequence imports
from click.testing import CliRunner

import run_search
from engine.planning.plan import make_plan
from engine.planning.run_options import Options
from engine.runlog.history import History
from engine.search.search_queue import SearchQueue
from search_spaces.registry import STUDIES
from search_spaces.study import SAMPLERS
from search_spaces.study_file import read_study

SECONDS, MEMORY = 1.0, 500 * 2**20
HEAD = "name: big\nworkload: digits\nepochs: 2\n"
ONE = "- {name: lr, levels: [{name: a}, {name: b, settings: {optimizer.lr: 0.02}}]}\n"
STUDY = f"{HEAD}seeds: 3\ndesign: one_at_a_time\nfactors:\n{ONE}"
DEEP, LONG = 900, "9" * 5000


def factors(number: int, levels: int, design: str) -> str:
    own = ", ".join(f"{{name: l{j}, settings: {{optimizer.lr: 0.{j + 1}}}}}" for j in range(levels))
    return f"{HEAD}design: {design}\nfactors:\n" + "".join(
        f"- {{name: f{i}, levels: [{own}]}}\n" for i in range(number)
    )


def search(*parameters: str, **fields: Any) -> str:
    lines = "".join(f"{name}: {value}\n" for name, value in fields.items())
    return f"{HEAD}{lines}space:\n" + "".join(f"- {{{parameter}}}\n" for parameter in parameters)


def tower(opening: str, first: str, closing: str) -> str:
    """Aliases of nine aliases, nine times over: 9¹⁰ values."""
    lines = [f"a0: &a0 {first}"]
    for i in range(1, 10):
        lines.append(f"a{i}: &a{i} {opening}{', '.join([f'*a{i - 1}'] * 9)}{closing}")
    return "\n".join(lines) + "\n"


FILES = {
    "a billion laughs": tower("[", "[x]", "]") + STUDY,
    "a billion merges": tower("{<<: [", "{x: 1}", "]}") + STUDY,
    "aliases in a circle": f"a: &a [{'*a, ' * 1000}*a]\n{STUDY}",
    "aliases in circles": "".join(f"- &a{i} [{', '.join(f'*a{j}' for j in range(i + 1))}]\n" for i in range(30)),
    "lists within lists": f"{STUDY}question: {'[' * DEEP}{']' * DEEP}\n",
    "mappings within mappings": f"{STUDY}baseline: {'{a: ' * DEEP}1{'}' * DEEP}\n",
    "blocks within blocks": f"{STUDY}baseline:\n" + "".join(f"{' ' * i}a:\n" for i in range(1, DEEP)),
    "dots within a name": f"{STUDY}baseline:\n  ? optimizer.{'a.' * DEEP}b\n  : 1\n",
    "a number of epochs": STUDY.replace("epochs: 2", f"epochs: {LONG}"),
    "a number of a level": STUDY.replace("0.02", LONG),
    "a hexadecimal number": STUDY.replace("0.02", f"0x{'f' * 5000}"),
    "an infinite number": STUDY.replace("0.02", "1e400"),
    "a first seed": STUDY.replace("seeds: 3", f"first_seed: {'9' * 250}\nseeds: 3"),
    "a range of long numbers": search(f"key: optimizer.lr, low: 1, high: {LONG}"),
    "a range of whole numbers": search(f"key: training.batch_size, kind: int, low: 2, high: {'9' * 200}"),
    "a step too short": search("key: optimizer.lr, low: 0.0, high: 1.0, step: 1e-300"),
    "a billion cells of ten levels": factors(9, 10, "factorial"),
    "a billion cells of two levels": factors(30, 2, "factorial"),
    "a thousand factors of three levels": factors(1000, 3, "factorial"),
    "a path of a thousand factors": factors(1000, 2, "path"),
    "seeds of many cells": factors(1, 2000, "one_at_a_time").replace("epochs: 2", "epochs: 2\nseeds: 1000"),
    "too many factors": factors(3000, 2, "one_at_a_time"),
    "too many parameters": search(*(f"key: optimizer.k{i}, choices: [1, 2]" for i in range(3000))),
    "too many choices": search(f"key: optimizer.lr, choices: [{', '.join(f'0.{i + 1}' for i in range(5000))}]"),
    "too many values": STUDY + "question: [" + "1, " * 1_000_000 + "1]\n",
    "too many settings": STUDY + "baseline:\n" + "".join(f"  a.k{i}: 1\n" for i in range(9_000)),
    "a long question": STUDY + "question: " + "x" * 3_000_000 + "\n",
    "a long name": STUDY.replace("name: b,", f"name: {'x' * 3_000_000},"),
    "rungs": search("key: optimizer.lr", trial_scheduler="{name: asha, grace: 0.001, reduction_factor: 1.0000001}"),
    "brackets": search("key: optimizer.lr", trial_scheduler="{name: asha, brackets: 1000000000}"),
    "epochs of a level": STUDY.replace("optimizer.lr: 0.02", "training.epochs: 1000000000"),
    "channels": STUDY + "baseline: {model.channels: [1000000, 1000000]}\n",
    "a width beyond 64 bits": STUDY + "baseline: {model.hidden: 1000000000000000000000}\n",
}
LINES = {
    "epochs": ("--epochs", "1000000000"),
    "seeds": ("--seeds", "1000000000"),
    "seeds that make too many trials": ("--seeds", "1000000"),
    "digits of seeds": ("--fuse", LONG),
    "digits of a limit": ("--time-budget", f"{LONG}h"),
    "digits of bytes": ("--disk-budget", f"{LONG}GB"),
    "digits of a setting": ("--set", f"optimizer.momentum={LONG}"),
    "digits of a level": ("--levels", f"lr=a,b,{LONG}"),
    "levels": ("--levels", "lr=a,b," + ",".join(str(i) for i in range(20_000))),
    "nested lists": ("--set", f"model.bn_after={'[' * DEEP}{']' * DEEP}"),
    "nested mappings": ("--set", "model.bn_after=" + '{"a":' * DEEP + "1" + "}" * DEEP),
    "nested levels": ("--levels", f"lr=a,b,{'[' * 60_000}"),
    "dots": ("--set", f"optimizer.{'a.' * 5000}b=1"),
    "settings": tuple(word for i in range(3000) for word in ("--set", f"a.k{i}=1")),
    "width": ("--set", "model.hidden=1000000000"),
    "epochs of the baseline": ("--set", "training.epochs=1000000000"),
    "a device to try first": ("--enqueue", "/dev/zero"),
}
LEARNING_RATES = ", ".join(f"{i / 1000}" for i in range(1, 71))
MILLIONS = (
    f"key: optimizer.lr, choices: [{LEARNING_RATES}]",
    f"key: optimizer.momentum, choices: [{', '.join(f'{i / 200}' for i in range(60))}]",
    f"key: training.batch_size, choices: [{', '.join(map(str, range(2, 72)))}]",
    f"key: loss.label_smoothing, choices: [{', '.join(f'{i / 100}' for i in range(50))}]",
)
STEPS = (
    "key: optimizer.lr, low: 0.001, high: 0.245, step: 0.000001",
    "key: optimizer.momentum, low: 0.0, high: 0.9, step: 0.001",
)
SPACES = {
    **{f"14.7 million choices, {name}": search(*MILLIONS, samples=5, sampler=name) for name in SAMPLERS[:4]},
    "14.7 million choices, a million samples": search(*MILLIONS, samples=1_000_000, sampler="random"),
    **{f"millions of steps, {name}": search(*STEPS, samples=5, sampler=name) for name in SAMPLERS},
}


def refusals(folder: Path) -> dict[str, list[str]]:
    """The arguments of each command that is to be refused, its study written to a file."""
    found = {}
    for number, (name, text) in enumerate(FILES.items()):
        (folder / f"{number}.yaml").write_text(text)
        found[f"in a file: {name}"] = [f"{number}.yaml"]
    (folder / "study.yaml").write_text(STUDY)
    (folder / "large.yaml").write_bytes(b"# \n" * 2_000_000 + STUDY.encode())
    (folder / "device.yaml").symlink_to("/dev/zero")
    (folder / "folder.yaml").mkdir()
    os.mkfifo(folder / "pipe.yaml")
    found |= {f"as a file: {name}": [f"{name}.yaml"] for name in ("large", "device", "folder", "pipe")}
    return found | {f"in the command: {name}": ["study.yaml", *words] for name, words in LINES.items()}


def planned(file: Path, options: Options) -> str:
    plan = make_plan(read_study(file), options, file.parent / "out")
    queue = SearchQueue(plan.factory, plan.study, plan.directory, History())  # type: ignore[arg-type]
    assert queue.refill()
    return f"{queue.samples} samples"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("bounds")
    command = [sys.executable, "-m", "tests.cli.test_bounds", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=Path(run_search.__file__).parent)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _in_child(folder: Path) -> Mapping[str, Any]:
    options = Options(cache_dir=str(folder / "cache"))
    make_plan(STUDIES["digits/long-tail"], options, folder / "out")  # the last imports, and the decoded data
    os.chdir(folder)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
    results: dict[str, dict[str, Any]] = {}
    for name, words in refusals(folder).items():
        began = time.process_time()
        done = CliRunner().invoke(run_search.main, ["plan", *words, "--cache-dir", str(options.cache_dir)])
        told = "" if isinstance(done.exception, SystemExit) else "".join(traceback.format_exception(done.exception))
        results[name] = {"seconds": time.process_time() - began, "status": done.exit_code, "said": done.stderr + told}
    for number, (name, text) in enumerate(SPACES.items()):
        file = folder / f"space{number}.yaml"
        file.write_text(text)
        began = time.process_time()
        try:
            said = planned(file, options)
        except Exception:
            said = traceback.format_exc()
        results[name] = {"seconds": time.process_time() - began, "said": said}
    return results


def test_what_is_too_large_is_refused_in_a_line_within_a_second_and_500_mb(measured: Mapping[str, Any]) -> None:
    for name, found in measured.items():
        if name in SPACES:
            continue
        faults = [line for line in found["said"].splitlines() if line.startswith("error: ")]
        assert found["status"] == 2, (name, found)
        assert 1 <= len(faults) <= 3, (name, found)
        assert not re.search("Traceback|RecursionError|MemoryError", found["said"]), (name, found)
        assert max(map(len, faults)) < 1500, (name, found)
        assert found["seconds"] < SECONDS, (name, found)


def test_a_space_of_millions_is_planned_at_once_by_every_sampler(measured: Mapping[str, Any]) -> None:
    for name in SPACES:
        found = measured[name]
        assert re.fullmatch(r"\d+ samples", found["said"]), (name, found)
        assert found["seconds"] < SECONDS, (name, found)


if __name__ == "__main__":
    print(json.dumps(_in_child(Path(sys.argv[1]))))
