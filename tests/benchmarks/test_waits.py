"""What a user waits for, as the benchmarks see it from outside a command: a terminal, the log, activities."""

import json
import os
import sys

import pytest
from click.testing import CliRunner

from benchmarks import __main__ as program
from benchmarks import start
from benchmarks.measure import described
from benchmarks.watch import HEAD, Watched, ancestors, watch

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
def test_the_process_that_started_another_is_above_it():
    assert next(ancestors(os.getpid())) == os.getppid()
    assert list(ancestors(2**22 + 1)) == []


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


def test_an_option_is_refused_by_a_benchmark_that_has_no_use_for_it():
    done = CliRunner().invoke(program.main, ["data", "--work", "faces48"])
    assert done.exit_code == 2
    assert "data takes no --work" in done.output
