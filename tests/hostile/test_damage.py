"""log.jsonl and study.json with bytes and lines flipped, cut, repeated and removed anywhere: what matters is found."""

import json
import random
from pathlib import Path

import pytest

from analysis.records.epoch_rows import read_rows
from analysis.records.log import read_log
from analysis.records.log_lines import written
from analysis.records.run_directory import RunDirectory
from analysis.records.study_json import RecordError, read_study
from engine.runlog.signature import is_valid, signed
from tests.analysis import runs
from tests.hostile.scene import KEPT

CASES = 1500


def flipped(text: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(text))
    return text[:place] + bytes([text[place] ^ 1 << rng.randrange(8)]) + text[place + 1 :]


def removed(text: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(text))
    return text[:place] + text[place + rng.choice([1, 1, 2, 40, 4096]) :]


def repeated(text: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(text))
    return text[:place] + text[place : place + rng.choice([1, 8, 300])] + text[place:]


def zeroed(text: bytes, rng: random.Random) -> bytes:
    place, length = rng.randrange(len(text)), rng.choice([1, 64, 512])
    return (text[:place] + bytes(length) + text[place + length :])[: len(text)]


def cut(text: bytes, rng: random.Random) -> bytes:
    return text[: rng.randrange(len(text))]


def lines_moved(text: bytes, rng: random.Random) -> bytes:
    lines = text.splitlines(keepends=True)
    at, what = rng.randrange(len(lines)), rng.choice(["remove", "repeat", "swap", "blank"])
    if what == "remove":
        del lines[at]
    elif what == "swap":
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines.insert(rng.randrange(len(lines)), lines[at] if what == "repeat" else b"\n")
    return b"".join(lines)


DAMAGES = (flipped, removed, repeated, zeroed, cut, lines_moved)


def test_a_damaged_log_never_tells_what_was_not_written(tmp_path: Path) -> None:
    """Each event that counts was written; where one is lost, that is found, or the log ends before it."""
    events = [event for cell in ("a", "b") for seed in (0, 1) for event in runs.trial(cell, seed, 0.5)]
    text = b"".join(written(event, number) for number, event in enumerate(events, 1))
    file, rng = tmp_path / "log.jsonl", random.Random(1)
    file.write_bytes(text)
    whole = read_log(file)
    assert (whole.events, whole.findings) == (events, [])
    for number in range(CASES):
        damage = DAMAGES[number % len(DAMAGES)]
        file.write_bytes(damage(text, rng))
        log = read_log(file)
        written_ones = iter(events)
        assert all(event in written_ones for event in log.events), (number, damage)  # and in their order
        if not log.findings:
            assert log.events == events[: len(log.events)], (number, damage)
            # Only the last line may be damaged then, as where the power failed while it was written.
            before = b"\n".join(file.read_bytes().removesuffix(b"\n").split(b"\n")[:-1])
            assert log.events == events or text.startswith(before), (number, damage)
        if number % 10 == 0:
            quick, rows = read_rows(file)
            assert quick.findings == log.findings, (number, damage)
            assert len(rows) == sum(event["event"] == "epoch" for event in log.events), (number, damage)


def test_a_damaged_study_is_refused_or_no_more_this_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    record = signed(json.loads((KEPT / "study.json").read_text(encoding="utf-8")))
    text, rng = json.dumps(record, indent=1).encode(), random.Random(2)
    run, refused, kept = RunDirectory(tmp_path), 0, 0
    for number in range(CASES // 3):
        run.study.write_bytes(DAMAGES[number % len(DAMAGES)](text, rng))
        try:
            found = read_study(run)
        except RecordError as error:
            refused += len(error.faults) == 1 and str(run.study) in str(error)
            continue
        assert found == record or not is_valid(found), number
        kept += 1
    assert refused + kept == CASES // 3
    assert refused > CASES // 6
