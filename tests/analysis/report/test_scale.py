"""The report of many trials in bounded time and memory: 10,000 trials of 100 epochs in 30 s and 3 GB.

CI measures a tenth of it. For the whole, about three minutes with the making of the records:

REPORT_TRIALS=10000 python -m pytest tests/analysis/report/test_scale.py -s
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.analysis import runs

TRIALS = int(os.environ.get("REPORT_TRIALS", "1000"))
EPOCHS = 100
SEEDS = 5
# What the interpreter, its libraries and the figures take however few the trials.
# A machine that does other work too takes up to thrice the processor time, and a first start compiles.
SECONDS_AT_LEAST, GIGABYTES_AT_LEAST = 18.0, 0.35
SECONDS_A_TRIAL, GIGABYTES_A_TRIAL = 30 / 10_000, 3 / 10_000
MEASURED = """
import json, resource, sys
from pathlib import Path
from analysis.report.build import write_report
write_report(Path(sys.argv[1]))
used = resource.getrusage(resource.RUSAGE_SELF)
# Not ru_maxrss: that begins with what the process that forked this one held.
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([used.ru_utime + used.ru_stime, int(peak) / 2**20]))
"""


def events(cells: list[str], seeds: range) -> Iterator[str]:
    """A log of trials that differ in their names only, except for the metric: most of the text is made once."""
    numbers = [
        json.dumps(
            runs.epoch("CELL", 0, epoch, val_reference=1 / epoch, train_accuracy=0.5, val_accuracy=0.5, test_points=0.1)
            | {"trial": "TRIAL", "test_balanced_accuracy": "VALUE", "val_balanced_accuracy": "VALUE"}
        )
        for epoch in range(1, EPOCHS + 1)
    ]
    body = "\n".join(numbers).replace('"VALUE"', "VALUE")
    for place, cell in enumerate(cells):
        for seed in seeds:
            config = {"loss": {"name": cell}, "optimizer": {"lr": 0.001 * (place + 1), "momentum": 0.9}}
            yield json.dumps(runs.start(cell, seed, config))
            value = 0.5 + (place * 7919 + seed * 104_729) % 1000 / 5000
            yield body.replace("TRIAL", runs.trial_id(cell, seed)).replace("VALUE", f"{value:.4f}")
            yield json.dumps(runs.end(cell, seed))


def write(root: Path, study: dict, cells: list[str], seeds: range) -> Path:
    runs.write(root, study, [])
    with (root / "log.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in events(cells, seeds))
    return root


def ablation(root: Path) -> Path:
    cells = ["baseline", *(f"loss=l{i}" for i in range(1, TRIALS // SEEDS))]
    return write(root, runs.study(cells, range(SEEDS)), cells, range(SEEDS))


def search(root: Path) -> Path:
    cells = [f"c{i}" for i in range(TRIALS)]
    return write(root, runs.search(samples=TRIALS), cells, range(1))


@pytest.mark.matrix
@pytest.mark.parametrize("make", [ablation, search])
def test_a_report_takes_time_and_memory_in_proportion_to_its_trials(tmp_path, make):
    run = make(tmp_path)
    done = subprocess.run([sys.executable, "-c", MEASURED, run], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seconds, gigabytes = json.loads(done.stdout.splitlines()[-1])
    print(f"\n{make.__name__} of {TRIALS} trials: {seconds:.1f} s of processor, {gigabytes:.2f} GB")
    assert seconds < SECONDS_AT_LEAST + SECONDS_A_TRIAL * TRIALS
    assert gigabytes < GIGABYTES_AT_LEAST + GIGABYTES_A_TRIAL * TRIALS
    assert len(list((run / "report").glob("ranking.*"))) == 4
