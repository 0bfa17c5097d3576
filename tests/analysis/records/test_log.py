"""A log is readable at any moment of its life, and can be appended to after any tear."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.records.log import _start_of_last_line, read_log, repair_tail
from tests.analysis import runs

NEXT = {"event": "session", "command": ["resume"]}
texts = st.text(max_size=12)
events = st.builds(lambda name, value: {"event": "epoch", "trial": name, "x": value}, texts, texts | st.integers())


@given(st.lists(events, max_size=5), st.data())
@settings(max_examples=200, deadline=None)
def test_any_byte_prefix_keeps_every_whole_line_and_takes_the_next_one(logged, data):
    whole = runs.lines(logged)
    cut = data.draw(st.integers(0, len(whole)))
    complete = whole[:cut].count(b"\n")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        path.write_bytes(whole[:cut])
        assert list(read_log(path)) == logged[:complete]
        removed = repair_tail(path)
        assert path.read_bytes() == whole[: cut - removed] == runs.lines(logged[:complete])
        with path.open("ab") as file:
            file.write(runs.lines([NEXT]))
        assert [json.loads(line) for line in path.read_bytes().splitlines()] == [*logged[:complete], NEXT]


def test_every_prefix_of_a_real_trial_is_readable(tmp_path):
    logged = runs.trial("größe=ü", 0, 0.5)[:4]
    whole = runs.lines(logged)
    path = tmp_path / "log.jsonl"
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        assert list(read_log(path)) == logged[: whole[:cut].count(b"\n")]


def test_a_last_line_that_ends_in_a_newline_but_is_no_json_is_torn_too(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(runs.lines([NEXT]) + b'{"event": "epo\x00\x00\n')
    assert list(read_log(path)) == [NEXT]
    assert repair_tail(path) == 17
    assert path.read_bytes() == runs.lines([NEXT])


@pytest.mark.parametrize("bad", [b"{torn\n", b"\n", b"[1]\n", b'{"trial": "a"}\n', b"\xff\n"])
def test_a_bad_line_before_the_last_is_an_error_naming_file_and_line(tmp_path, bad):
    path = tmp_path / "log.jsonl"
    path.write_bytes(runs.lines([NEXT]) + bad + runs.lines([NEXT]))
    with pytest.raises(ValueError, match=r"log\.jsonl:2: "):
        list(read_log(path))


def test_a_missing_and_an_empty_log_hold_nothing_and_need_no_repair(tmp_path):
    path = tmp_path / "log.jsonl"
    assert list(read_log(path)) == []
    assert repair_tail(path) == 0
    path.touch()
    assert list(read_log(path)) == []
    assert repair_tail(path) == 0


def test_repair_leaves_a_whole_log_as_it_is(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(runs.lines([NEXT, NEXT]))
    assert repair_tail(path) == 0
    assert path.read_bytes() == runs.lines([NEXT, NEXT])


def test_the_last_line_is_found_across_blocks(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"ab\n" + b"c" * 100 + b"\n")
    with path.open("rb") as file:
        assert _start_of_last_line(file.fileno(), 104, block=7) == 3
