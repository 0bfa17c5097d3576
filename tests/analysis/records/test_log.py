"""A log is readable at any moment of its life, and can be appended to after any tear."""

import json
import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.records.epoch_rows import read_rows
from analysis.records.log import _start_of_last_line, read_log, repair_tail
from analysis.records.log_lines import written
from tests.analysis import runs

NEXT = {"event": "session", "command": ["resume"]}
texts = st.text(st.characters(exclude_categories=["C"]), max_size=12)
events = st.builds(
    lambda name, value: {"event": "later", "name": name, "x": value}, texts, texts | st.integers(-(2**62), 2**62)
)


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


BAD = {
    b"{torn": "is no JSON",
    b"": "is blank",
    b"\0\0\0": "holds 3 NUL bytes",
    b"\xef\xbb\xbf{}": "begins with a byte order mark",
    b"[1]": "is no JSON object",
    b"\xff": "is no UTF-8",
    b'{"trial": "a"}': "not a JSON object with an `event`",
    b'{"event": "epoch", "trial": "aaaaaaaaaaaa", "epoch": 1, "x": NaN}': "NaN is no number",
    b'{"event": "epoch", "trial": "../../../../x", "epoch": 1}': "is no trial's key",
    b'{"event": "start", "trial": "aaaaaaaaaaaa", "cell": "\\u001b[1m", "seed": 0, "config": {}}': "control characters",
    b'{"event": "start", "trial": "aaaaaaaaaaaa", "cell": "a", "seed": 9223372036854775808, "config": {}}': "seed: ",
    b'{"event": "later", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}": "is nested more than",
    b'{"event": "later", "x": ' + b"9" * 5000 + b"}": "a whole number of more than",
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_line_is_found_with_its_number_and_the_others_are_read(tmp_path, bad):
    path = tmp_path / "log.jsonl"
    path.write_bytes(runs.lines([NEXT]) + bad + b"\n" + runs.lines([NEXT]))
    log = read_log(path)
    assert list(log) == [NEXT, NEXT]
    (found,) = log.findings
    assert str(found).startswith(f"{path}:2: ")
    assert BAD[bad] in str(found)


TRIAL = runs.trial("baseline", 0, 0.5)
KEY = runs.trial_id("baseline", 0)


def whole(*events):
    return [written(event, number) for number, event in enumerate(events, 1)]


def found(path, lines):
    path.write_bytes(b"".join(lines))
    log = read_log(path)
    quick, rows = read_rows(path)
    epochs = [event for event in log if event["event"] == "epoch"]
    assert quick.findings == log.findings
    assert quick.events == [event for event in log if event["event"] != "epoch"]
    assert rows.to_dict("records") == epochs
    return [(Path(each.place).name, each.what, each.trial) for each in log.findings]


@pytest.fixture
def lines():
    return whole(NEXT, *TRIAL, *runs.trial("baseline", 1, 0.25))


def test_a_log_as_it_was_written_is_whole(tmp_path, lines):
    assert found(tmp_path / "log.jsonl", lines) == []
    assert read_log(tmp_path / "log.jsonl").lines == len(lines)
    assert list(read_log(tmp_path / "log.jsonl")) == [NEXT, *TRIAL, *runs.trial("baseline", 1, 0.25)]


def test_any_changed_byte_is_found_and_costs_at_most_its_trial(tmp_path, lines):
    path, random = tmp_path / "log.jsonl", Random(0)
    for _ in range(300):
        at = random.randrange(len(lines) - 1)  # a torn last line is no damage
        place = random.randrange(len(lines[at]) - 1)
        changed = bytearray(lines[at])
        changed[place] ^= 1 << random.randrange(8)
        if changed[place] == ord("\n"):
            continue
        told = found(path, [*lines[:at], bytes(changed), *lines[at + 1 :]])
        assert told, (at, place)
        assert told[0][0] == f"log.jsonl:{at + 1}"
        own = TRIAL if 0 < at <= len(TRIAL) else []
        assert read_log(path).damaged <= {KEY if own else runs.trial_id("baseline", 1)}


def test_a_lost_line_is_told_and_the_trial_that_lacks_an_epoch_or_its_start(tmp_path, lines):
    path = tmp_path / "log.jsonl"
    assert found(path, [*lines[:3], *lines[4:]]) == [
        ("log.jsonl:4", "1 line is missing before it", None),
        ("log.jsonl", "1 of its 10 epochs is missing", KEY),
    ]
    assert found(path, [lines[0], *lines[2:]])[1] == ("log.jsonl", "has no start event before its others", KEY)
    lost_end = [*lines[:12], *lines[13:]]
    assert found(path, lost_end) == [("log.jsonl:13", "1 line is missing before it", None)]
    assert KEY in {event["trial"] for event in read_log(path) if event["event"] == "start"}


def test_repeated_and_moved_lines_are_told_and_cost_nothing(tmp_path, lines):
    path = tmp_path / "log.jsonl"
    assert found(path, [*lines[:4], lines[3], *lines[4:]]) == [("log.jsonl:5", "repeats line 4, and is left out", None)]
    moved = [*lines[:4], lines[5], lines[4], *lines[6:]]
    assert [what for _, what, _ in found(path, moved)] == ["1 line is missing before it", "is line 5, out of its place"]
    assert list(read_log(path)) == [NEXT, *TRIAL, *runs.trial("baseline", 1, 0.25)]


def test_lines_without_numbers_are_read_before_lines_that_carry_them_and_not_after(tmp_path, lines):
    path = tmp_path / "log.jsonl"
    plain = [runs.lines([event]) for event in (NEXT, *TRIAL)]
    assert found(path, [*plain, *lines[len(plain) :]]) == []
    assert found(path, [*lines, *plain[3:5], runs.lines([NEXT])])[0] == (
        f"log.jsonl:{len(lines) + 1}",
        "carries no checksum, and lines before it do",
        KEY,
    )


def test_what_was_damaged_before_a_trial_began_anew_counts_no_more(tmp_path, lines):
    path = tmp_path / "log.jsonl"
    damaged = [*lines[:4], lines[4].replace(b"0.", b"1."), *lines[5:]]
    assert found(path, damaged)[0][2] == KEY
    log = read_log(path)
    again = [{"event": "anew", "trials": [KEY]}, *TRIAL]
    more = [written(event, number) for number, event in enumerate(again, log.lines + 1)]
    assert found(path, [*damaged, *more]) == []
    assert [event["epoch"] for event in read_log(path) if event["event"] == "epoch" and event["trial"] == KEY] == [
        *range(1, runs.EPOCHS + 1)
    ]


def test_a_missing_and_an_empty_log_hold_nothing_and_need_no_repair(tmp_path):
    path = tmp_path / "log.jsonl"
    assert list(read_log(path)) == []
    assert repair_tail(path) == 0
    path.touch()
    assert list(read_log(path)) == []
    assert repair_tail(path) == 0


def test_a_line_without_end_costs_its_beginning_alone(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    monkeypatch.setattr("analysis.records.log.LONGEST", 100)
    monkeypatch.setattr("analysis.records.epoch_rows.LARGEST", 0)
    for length in (99, 100, 101, 199, 200, 201, 1000):
        path.write_bytes(runs.lines([NEXT]) + b"x" * length + b"\n" + runs.lines([NEXT]))
        assert [what for _, what, _ in found(path, [path.read_bytes()])] == [
            "is no JSON (Expecting value: line 1 column 1 (char 0))"
        ]
        assert list(read_log(path)) == [NEXT, NEXT]


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
