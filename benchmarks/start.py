"""How long a user waits beside the training: from Enter to the first epoch, to the table, to the end; and for a report.

`run_search.py run digits/long-tail --seeds 1 --epochs 1` (four trials of a second in all) at a terminal, against the
floor `python -c "import torch, ray; ray.init()"`, whole commands in turns on a warm machine: the data is in the cache,
and one run of each came before. `ratio` takes ours until the first epoch's row stands in the log, `ratio_whole` until
its exit, with the report. All moments are seen from outside (`watch`), so that what is timed is what a user starts;
phases inside the program come from further runs, in which `core.activity` is noted.

`report_seconds` is `run_search.py report` on the demo's run (four cells, five seeds) without a report, with a cache
that has seen another run's report and not this one's. Its own part leaves out the start of Python and imports.
"""

import json
import shutil
import statistics
import tempfile
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import python, seconds, summary
from benchmarks.watch import HEAD, Watched, processes_below, watch

FLOOR = "import torch, ray; ray.init()"
DEMO = "digits/long-tail"
MOMENTS = {
    "begun": "the first trial began",
    "epoch": "its first epoch in the log",
    "trials": "the last trial ended",
    "table": "the table on screen",
    "report": "the report written",
    "exit": "exit",
}
NODE = "Ray's node"
WORKERS = "Ray's workers, until the first trial began"

# Notes the activities that the program shows: their text, and when they began and ended on the clock of time.time.
NOTED = """
import json, runpy, sys, time
from core.activity import WATCH
notes = open(sys.argv[1], "a", buffering=1)
class Noted(list):
    def note(self, what, activity):
        text = activity.text if isinstance(activity.text, str) else "training"
        print(json.dumps([what, id(activity), text, time.time()]), file=notes)
    def append(self, activity):
        self.note("begins", activity)
        super().append(activity)
    def remove(self, activity):
        super().remove(activity)
        self.note("ends", activity)
WATCH.stack = Noted(WATCH.stack)
sys.argv = ["run_search.py", *sys.argv[2:]]
runpy.run_path("run_search.py", run_name="__main__")
"""

OWN = """
import sys, time
from pathlib import Path
from analysis.report.build import write_report
began = time.perf_counter()
write_report(Path(sys.argv[1]))
print(time.perf_counter() - began)
"""


def run(pairs: int = 5, noted: int = 2, reports: int = 3, run_dir: Path | None = None) -> dict[str, Any]:
    """`noted`: further runs for the phases; `run_dir`: a run to report, of which a copy is, instead of the demo's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _ours(folder, "warm"), _floor()
        found = [(_ours(folder, f"run{i}"), _floor()) for i in range(pairs)]
        phases = [_phases(folder, f"noted{i}") for i in range(noted)]
        report = _reports(folder, run_dir, reports) if reports else {}
    return _result(found, phases, report)


def _floor() -> float:
    return watch(["-c", FLOOR]).seconds


def _ours(folder: Path, name: str) -> dict[str, float]:
    """`MOMENTS` of one run."""
    out = folder / name
    return moments(watch(["run_search.py", *_arguments(folder, out)], out / "log.jsonl"))


def _arguments(folder: Path, out: Path) -> list[str]:
    return ["run", DEMO, "--seeds", "1", "--epochs", "1", "--out", str(out), "--cache-dir", str(folder / "cache")]


def moments(seen: Watched) -> dict[str, float]:
    """Seconds from Enter to each of `MOMENTS`; RuntimeError where one did not come."""
    found = {
        "begun": seen.first("start"),
        "epoch": seen.first("epoch"),
        "trials": seen.last("end"),
        "table": seen.shown_at(HEAD),
        "report": seen.shown_at(b"report: "),
        "exit": seen.seconds,
    }
    if missing := [MOMENTS[name] for name, at in found.items() if at is None]:
        raise RuntimeError(f"not seen: {', '.join(missing)}\n{seen.text[-2000:]}")
    return {name: at for name, at in found.items() if at is not None}


def _phases(folder: Path, name: str) -> dict[str, tuple[float, float]]:
    """When each activity and each kind of Ray's processes began and ended."""
    out, notes = folder / name, folder / f"{name}.notes"
    begins: dict[str, float] = {}

    def look(pid: int, seen: Watched) -> None:
        for each in processes_below(pid):
            if each.is_node or each.is_worker:
                begins.setdefault(NODE if each.is_node else WORKERS, each.began - seen.began)

    seen = watch(["-c", NOTED, str(notes), *_arguments(folder, out)], out / "log.jsonl", look)
    found = activities(map(json.loads, notes.read_text().splitlines()), seen.began)
    earliest = min((begin for begin, _ in found.values()), default=0.0)
    ends = {NODE: seen.seconds, WORKERS: moments(seen)["begun"]}
    return {"Python and the command line": (0.0, earliest), **found, **{n: (at, ends[n]) for n, at in begins.items()}}


def activities(notes: Iterable[Sequence[Any]], began: float) -> dict[str, tuple[float, float]]:
    """(begin, end) by text, in seconds since `began`, of the activities noted; from the first to the last of a text."""
    open_, found = dict[int, float](), dict[str, tuple[float, float]]()
    for what, key, text, at in notes:
        if what == "begins":
            open_[key] = at - began
        else:
            first = open_.pop(key)
            found[text] = (min(first, found.get(text, (first, 0.0))[0]), at - began)
    return found


def _reports(folder: Path, run_dir: Path | None, times: int) -> dict[str, float]:
    """Medians of the seconds that the report of a run takes: the first one's, its own part, the same once more."""
    source = folder / "demo"
    if run_dir is not None:
        shutil.copytree(run_dir, source)
    else:  # with a cache of its own: that of the reports has not seen this run
        python(
            "run_search.py", "run", DEMO, "--out", source, "--cache-dir", folder / "apart", CACHE_DIR=folder / "apart"
        )
    python("run_search.py", "report", folder / "warm", CACHE_DIR=folder / "cache")
    found: dict[str, list[float]] = {"report_seconds": [], "report_again_seconds": [], "report_own_seconds": []}
    for i in range(times):
        for kind in ("whole", "own"):
            shutil.copytree(source, folder / f"{kind}{i}", ignore=shutil.ignore_patterns("report"))
            shutil.copytree(folder / "cache", folder / f"cache-{kind}{i}")
        whole, own = ({"CACHE_DIR": folder / f"cache-{kind}{i}"} for kind in ("whole", "own"))
        for name in ("report_seconds", "report_again_seconds"):
            found[name].append(seconds(partial(python, "run_search.py", "report", folder / f"whole{i}", **whole)))
        found["report_own_seconds"].append(float(python("-c", OWN, folder / f"own{i}", **own)))
    return {name: statistics.median(values) for name, values in found.items()}


def _result(
    found: Sequence[tuple[dict[str, float], float]],
    phases: Sequence[dict[str, tuple[float, float]]],
    report: dict[str, float],
) -> dict[str, Any]:
    def against_floor(moment: str) -> dict[str, Any]:
        case = f"until {MOMENTS[moment]}"
        return summary(case, [(own[moment], floor) for own, floor in found], f'python -c "{FLOOR}"')

    first, begun, whole = map(against_floor, ("epoch", "begun", "exit"))
    at = {name: statistics.median(own[name] for own, _ in found) for name in MOMENTS}
    after = statistics.median(own["table"] - own["trials"] for own, _ in found)
    spans = {
        name: [statistics.median(each[name][end] for each in phases if name in each) for end in (0, 1)]
        for name in dict.fromkeys(name for each in phases for name in each)
    }
    notes = [
        "seconds from Enter: " + ", ".join(f"{MOMENTS[name]} {at[name]:.2f}" for name in MOMENTS),
        f"the table stands {after:.2f} s after the last trial's end",
        *(
            f"{name}: from {begin:.2f} to {end:.2f} s"
            for name, (begin, end) in sorted(spans.items(), key=lambda x: x[1])
        ),
    ]
    if report:
        notes.append(
            "the demo's report, {report_seconds:.2f} s the whole command; {report_own_seconds:.2f} s of its own; "
            "{report_again_seconds:.2f} s once more".format(**report)
        )
    fields = {
        "ratio_begun": begun["ratio"],
        "ratio_whole": whole["ratio"],
        "moments": at,
        "table_after_trials": after,
        "phases": spans,
    }
    return {
        **first,
        **fields,
        **report,
        "name": "start",
        "case": first["name"],
        "cases": [begun, whole],
        "notes": notes,
    }
