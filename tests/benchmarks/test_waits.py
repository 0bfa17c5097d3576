"""What a user waits for, as the benchmarks see it from outside a command: a terminal, the log, activities."""

import json
import os
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from benchmarks import __main__ as program
from benchmarks import faces48, faces48_peers, live, photos, start, textbook
from benchmarks.measure import described, python
from benchmarks.watch import HEAD, Process, Watched, process, processes_below, watch
from datasets.cache.cache import open_dataset
from engine.planning.plan import make_plan
from engine.planning.run_options import Options
from search_spaces.study_file import read_study
from trainables.models.build import build_network

SPEAKS = """
import json, sys, time
print("terminal", sys.stdout.isatty(), flush=True)
with open(sys.argv[1], "w", buffering=1) as log:
    for event in ("start", "epoch"):
        print(json.dumps({"event": event, "time": "2026-01-01T00:00:00.000+00:00"}), file=log)
        time.sleep(0.6)
    log.write('{"event": "to')
print("───", flush=True)
"""


def test_a_command_is_seen_at_a_terminal_with_its_log(tmp_path):
    seen = watch(["-c", SPEAKS, str(tmp_path / "log")], tmp_path / "log")
    assert "terminal True" in seen.text
    begun, epoch, table = seen.first("start"), seen.first("epoch"), seen.shown_at(HEAD)
    assert 0 < begun < epoch < table < seen.seconds + 0.1
    assert [event["event"] for _, event in seen.events] == ["start", "epoch"]  # the torn line is none


def test_a_command_that_fails_is_told_with_what_it_said():
    with pytest.raises(RuntimeError, match="status 3"):
        watch(["-c", "import sys; sys.exit(3)"])
    with pytest.raises(RuntimeError, match="all is lost"):
        watch(["-c", "raise SystemExit('all is lost')"])


def test_a_sign_in_two_pieces_stands_when_the_second_came():
    seen = Watched(0.0, shown=[(1.0, b"abc" + HEAD[:4]), (2.0, HEAD[4:] + b"more"), (3.0, HEAD)])
    assert seen.shown_at(HEAD) == 2.0
    assert seen.shown_at(b"absent") is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_processes_below_one_come_with_their_processor_time():
    began = time.time()
    child = subprocess.Popen([sys.executable, "-c", "sum(range(10**7)); input()"], stdin=subprocess.PIPE)
    try:
        while not (
            found := [each for each in processes_below(os.getpid()) if each.own > 0.1 and each.pid == child.pid]
        ):
            time.sleep(0.05)
        assert found[0].parent == os.getpid()
        assert found[0].began == pytest.approx(began, abs=1)
        assert not found[0].is_of_ray
        before = process(os.getpid()).reaped
    finally:
        child.communicate(b"\n")
    assert process(os.getpid()).reaped - before > 0.1
    assert process(child.pid) is None
    assert processes_below(2**22 + 1) == []


@pytest.mark.parametrize(
    ("command", "is_worker", "is_of_ray"),
    [
        ("ray::FolderSmallCNN.train ", True, True),
        ("ray::IDLE", True, True),
        ("python /lib/ray/_private/workers/default_worker.py --node-ip", True, True),
        ("ray::DashboardAgent ", False, True),
        ("/lib/ray/core/src/ray/raylet/raylet --socket", False, True),
        ("python -c from analysis.report.build import write_report", False, False),
    ],
)
def test_a_process_is_known_by_its_command(command, is_worker, is_of_ray):
    found = Process(pid=2, parent=1, began=0.0, own=1.0, reaped=0.0, command=command)
    assert (found.is_worker, found.is_of_ray) == (is_worker, is_of_ray)


def test_activities_are_spans_since_enter():
    notes = [
        ["begins", 1, "training", 11.0],
        ["begins", 2, "reading", 12.0],
        ["ends", 2, "reading", 12.5],
        ["ends", 1, "training", 14.0],
        ["begins", 2, "reading", 15.0],
        ["ends", 2, "reading", 16.0],
        ["begins", 3, "never over", 17.0],
    ]
    assert start.activities(notes, began=10.0) == {"reading": (2.0, 6.0), "training": (1.0, 4.0)}


def run_of(epoch: float, whole: float) -> dict[str, float]:
    return {"begun": epoch - 1, "epoch": epoch, "trials": 10.0, "table": 10.5, "report": whole - 1, "exit": whole}


def test_the_start_is_held_against_the_floor_pair_by_pair():
    found = [(run_of(8.0, 20.0), 6.0), (run_of(6.0, 12.0), 6.0), (run_of(12.0, 24.0), 6.0)]
    result = start._result(found, [{"a": (0.0, 2.0)}, {"a": (1.0, 4.0), "b": (2.0, 3.0)}], {})
    assert (result["ratio"], result["ratio_whole"]) == (0.75, 0.3)
    assert result["table_after_trials"] == 0.5
    assert result["phases"] == {"a": [0.5, 3.0], "b": [2.0, 3.0]}
    assert json.loads(json.dumps(result)) == result


def test_a_moment_that_never_came_is_named():
    seen = Watched(0.0, seconds=3.0, events=[(1.0, {"event": "start", "time": "1970-01-01T00:00:01+00:00"})])
    with pytest.raises(RuntimeError, match="its first epoch in the log, the last trial ended, the table on screen"):
        start.moments(seen)


CPUINFO = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu avx512_bf16{more}\n\nprocessor\t: 1\n"


def test_the_processor_is_named_with_what_it_multiplies_in_bf16():
    assert described(CPUINFO.format(more="")) == {"processor": "Some CPU @ 2 GHz", "amx": False, "avx512_bf16": True}
    assert described(CPUINFO.format(more=" amx_bf16 amx_tile"))["amx"] is True
    assert described("")["amx"] == "unknown"
    assert described("CPU implementer : 0x41\nFeatures : bf16\n")["avx512_bf16"] == "unknown"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["data", "--work", "faces48"], "--work is for study"),
        (["report", "--run-dir", "."], "report takes no --run-dir"),
        (["study", "--trials", "64"], "study takes no --trials"),
        (["study", "--work", "faces48", "--trials", "60"], "60 is no multiple of 8"),
    ],
)
def test_an_option_is_refused_by_a_benchmark_that_has_no_use_for_it(given, told):
    done = CliRunner().invoke(program.main, given)
    assert done.exit_code == 2
    assert told in done.output


def test_eight_trials_are_held_against_the_quickest_script():
    def found(fp32: float, joblib: float, bf16: float, memory: float) -> dict[str, faces48.Found]:
        took = {"fp32": fp32, "joblib": joblib, "ray": 90.0, "bf16": bf16, "joblib_memory": memory, "ray_memory": 80.0}
        return {name: {"trials": 8, "epochs": 16, "accuracy": 0.5, "seconds": each} for name, each in took.items()}

    more = {"fp32": 300.0, "bf16": 100.0, "joblib": 450.0}
    many = {name: {"trials": 64, "epochs": 128, "accuracy": 0.5, "seconds": each} for name, each in more.items()}
    rounds = [found(50.0, 60.0, 30.0, 40.0), found(40.0, 60.0, 20.0, 50.0), found(60.0, 60.0, 30.0, 30.0)]
    result = faces48.result(rounds, ("joblib", "ray"), many)
    assert (result["ratio"], result["ratio_fp32"]) == (2.0, 1.2)
    assert (result["ratio_memory"], result["ratio_fp32_memory"]) == (pytest.approx(4 / 3), 0.8)
    assert (result["ratio_64"], result["ratio_fp32_64"]) == (4.5, 1.5)
    assert result["peer"] == "joblib.Parallel"
    assert "ratio_64" not in faces48.result(rounds, ("joblib", "ray"), {})
    assert json.loads(json.dumps(result)) == result


def test_both_sides_of_the_small_faces_train_one_network_on_one_grid(tmp_path):
    root = photos.gratings(tmp_path / "pictures", dict.fromkeys(faces48_peers.SPLITS, 14), 48, 7, grey=True)
    (file := tmp_path / "study.yaml").write_text(json.dumps(faces48.study(2)))
    options = Options(settings={"dataset.path": str(root)}, cache_dir=str(tmp_path))
    plan = make_plan(read_study(file), options, tmp_path / "run")
    theirs = textbook.cnn(48, 7, faces48_peers.CHANNELS, faces48_peers.HIDDEN, True, 0.0, colours=1)
    data = open_dataset(plan.baseline.dataset, plan.factory.data(plan.baseline).path)
    ours = build_network(plan.baseline, data.info, 0)
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
    asked = {tuple(cell.config.optimizer.model_dump()[key] for key in faces48_peers.LEVELS) for cell in plan.cells}
    configs = faces48_peers.grid(16)
    assert asked == {tuple(config[key] for key in faces48_peers.LEVELS) for config in configs}
    assert [config["seed"] for config in configs] == 8 * [0] + 8 * [1]


def test_from_memory_come_the_same_pictures(tmp_path):
    root = photos.gratings(tmp_path, {"test": 14}, 48, 7, grey=True)
    ((files, labels),) = faces48_peers._batches(root, "test", memory=False)()
    ((kept, same),) = faces48_peers._batches(root, "test", memory=True)()
    assert files.equal(kept)
    assert labels.equal(same)


@pytest.mark.matrix
@pytest.mark.parametrize("name", list(faces48_peers.PEERS))
def test_a_script_trains_the_whole_grid_and_prints_it(name, tmp_path):
    root = photos.gratings(tmp_path, dict.fromkeys(faces48_peers.SPLITS, 14), 48, 7, grey=True)
    *printed, last = python("-c", faces48.START, name, root, 8, 1, "--memory").splitlines()
    table = [line for line in printed if line.startswith("lr ")]
    assert len(table) == 8
    assert json.loads(last)["trials"] == 8
    assert len({line.partition("val")[0] for line in table}) == 8


def test_what_runs_beside_the_trials_is_counted_while_they_run():
    events = [(2.0, {"event": "start"}), (8.0, {"event": "epoch"}), (9.0, {"event": "end"}), (20.0, {"event": "end"})]
    read = [
        live.Times(2.1, trials=3.0, page=1.0, driver=5.0),
        live.Times(10.0, trials=20.0, page=2.0, driver=6.0),
        live.Times(20.1, trials=43.0, page=3.0, driver=7.0),
        live.Times(25.0, trials=43.0, page=9.0, driver=12.0),
    ]
    of = live.beside(read, Watched(0.0, events=events))
    assert of == {"seconds": 18.0, "trials": 2, "epochs": 1, "page": 2.0, "driver": 2.0, "training": 40.0}
    result = live.result({"long": of, "short": of | {"page": 0.0}})
    assert (result["share"], result["ratio"], result["driver_ms_trial"]) == (0.05, 20.0, 1000.0)
    assert not result["long_enough"]


DRIVER = """
import subprocess, sys, time
subprocess.run([sys.executable, "-c", "sum(range(10**7))"])
late = subprocess.Popen([sys.executable, "-c", "sum(range(2 * 10**7)); input()"], stdin=subprocess.PIPE)
print("waits", flush=True)
time.sleep(2.5)
late.communicate(b"")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_processes_are_counted_that_are_over_before_anyone_looks():
    clocks = live.Clocks()

    def look(pid: int, seen: Watched) -> None:
        seen.events = seen.events or [(0.0, {"event": "start"})]
        clocks.look(pid, seen)

    watch(["-c", DRIVER], look=look, every=1.0)
    assert clocks.read[-1].page > 3 * 0.08
    assert clocks.read[-1].driver < clocks.read[-1].page
    assert [times.page for times in clocks.read] == sorted(times.page for times in clocks.read)
