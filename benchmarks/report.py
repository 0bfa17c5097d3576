"""The time to write the report of a run, against that for a table of means.

300 trials of 20 epochs, a 5 × 4 × 3 factorial with five seeds: `run_search.py report`, which writes tables in four
formats, figures and the page, against a script in pandas that reads the same log and writes one table of means,
deviations and intervals. The peer does much less, so the ratio is below 1: it shows the cost of the full report.
"""

import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import compare, python
from tests.analysis import runs

FACTORS = {"loss": 5, "schedule": 4, "augmentation": 3}

PARTS = """
import json, sys, time
from pathlib import Path
marks = [time.perf_counter()]
from analysis.report.build import write_report
from analysis.report.contents import report_tables
from analysis.records.store import read_records
marks.append(time.perf_counter())
records = read_records(Path(sys.argv[1]))
marks.append(time.perf_counter())
report_tables(records)
marks.append(time.perf_counter())
write_report(Path(sys.argv[1]))
marks.append(time.perf_counter())
imports, reading, tables, whole = (after - before for before, after in zip(marks, marks[1:]))
print(json.dumps({"imports": imports, "reading the log": reading, "tables of comparisons": tables,
                  "further tables, figures, page and files": whole - reading - tables}))
"""


def run(seeds: int = 5, epochs: int = 20, pairs: int = 5) -> dict[str, Any]:
    """`seeds` × 60 trials of `epochs`."""
    with tempfile.TemporaryDirectory() as folder:
        root = _records(Path(folder) / "run", seeds, epochs)
        result = compare(
            "report",
            lambda: python("run_search.py", "report", root),
            lambda: python("-m", "benchmarks.report_peer", root, Path(folder) / "table.csv"),
            "one table of mean ± std and intervals in pandas and scipy, which does much less,",
            pairs,
        )
        measured = [json.loads(python("-c", PARTS, root)) for _ in range(pairs)]
        files = [file for file in (root / "report").rglob("*") if file.is_file()]
    parts = {name: statistics.median(part[name] for part in measured) for name in measured[0]}
    notes = [f"{name}: {seconds:.2f} s" for name, seconds in parts.items()]
    size = f"{60 * seeds} trials of {epochs} epochs, {len(files)} files"
    return result | {"parts": parts, "notes": [size, *notes]}


def _records(root: Path, seeds: int, epochs: int) -> Path:
    """Writes a run whose cells differ slightly, with noise over seeds and epochs; returns its folder."""
    draw = np.random.default_rng(0)
    levels = {name: [f"{name}{i}" for i in range(n)] for name, n in FACTORS.items()}
    study = runs.factorial(levels, range(seeds), epochs=epochs)
    events: list[dict[str, Any]] = []
    for cell in study["cells"]:
        merit = draw.normal(0, 0.02)
        for seed in range(seeds):
            config = {name: {"name": level} for name, level in cell["levels"].items()}
            events.append(runs.start(cell["name"], seed, config))
            end = 0.7 + merit + draw.normal(0, 0.01)
            for number in range(1, epochs + 1):
                events.append(runs.epoch(cell["name"], seed, number, **_metrics(draw, end, number)))
            events.append(runs.end(cell["name"], seed))
    return runs.write(root, study, events)


def _metrics(draw: np.random.Generator, end: float, number: int) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for split in ("train", "val", "test"):
        accuracy = end - 0.4 * 0.8**number + draw.normal(0, 0.005)
        metrics |= {f"{split}_accuracy": accuracy, f"{split}_balanced_accuracy": accuracy - 0.01}
        metrics |= {f"{split}_{name}": 2 * (1 - accuracy) for name in ("loss", "ce", "reference")}
    return metrics
