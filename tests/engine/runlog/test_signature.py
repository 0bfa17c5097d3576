"""study.json is signed by a key that only this user has; whatever is changed in it then shows."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from analysis.records.run_directory import RunDirectory
from engine.runlog.signature import BYTES, is_valid, key_file, signed, unavailable
from engine.runlog.study_file import claim, read_request, rewrite
from tests.analysis import runs

REQUEST: dict[str, Any] = {"request": {"study": {"name": "a"}, "options": {}}}
RECORD: dict[str, Any] = {"name": "näme\ud800", "cells": [{"name": "a", "lr": 0.1}], "seeds": (1, 2), "by": {3: None}}


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without a key."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


def test_of_drivers_that_start_at_once_all_get_one_key_that_others_cannot_read() -> None:
    with ThreadPoolExecutor(8) as pool:
        records = list(pool.map(signed, [RECORD] * 16))
    assert len({record["signature"] for record in records}) == 1
    assert (key_file().stat().st_mode & 0o777, key_file().stat().st_size) == (0o600, BYTES)
    assert [file.name for file in key_file().parent.iterdir()] == ["key"]


def test_a_record_is_valid_wherever_and_in_whatever_order_it_is_read() -> None:
    text = json.dumps(signed(RECORD), indent=1)
    assert is_valid(json.loads(text))
    assert is_valid(dict(reversed(json.loads(text).items())))


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["cells"][0].update(lr=0.2),
        lambda record: record["cells"][0].update(lr="0.1"),
        lambda record: record.update(more=None),
        lambda record: record.pop("by"),
        lambda record: record["seeds"].reverse(),
        lambda record: record.update(signature=record["signature"][:-1]),
        lambda record: record.update(signature=""),
        lambda record: record.update(signature="é"),
        lambda record: record.update(signature=[record["signature"]]),
        lambda record: record.pop("signature"),
    ],
)
def test_any_change_shows(change: Any) -> None:
    record = json.loads(json.dumps(signed(RECORD)))
    change(record)
    assert not is_valid(record)


def test_another_user_s_signature_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    record = signed(RECORD)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another"))
    assert not is_valid(record)
    assert not key_file().exists()  # reading makes none
    assert is_valid(signed(record))


def test_every_write_signs(tmp_path: Path) -> None:
    run = claim(tmp_path / "run", runs.study() | REQUEST)
    assert is_valid(read_request(run.root)[1])
    rewrite(run, runs.study(name="other") | REQUEST, resumed_at="now")
    assert is_valid(read_request(run.root)[1])


@pytest.mark.parametrize(("damage", "said"), [("folder", "cannot be kept"), ("key", "holds 3 bytes and not 32")])
def test_without_a_key_a_run_starts_and_the_reason_is_one_line(damage: str, said: str, config: Path) -> None:
    if damage == "folder":
        config.write_text("in the way")
    else:
        key_file().parent.mkdir(parents=True)
        key_file().write_bytes(b"abc")
    told = unavailable() or ""
    assert said in told
    assert "\n" not in told
    made = runs.study() | REQUEST
    record = read_request(claim(config.parent / "run", made).root)[1]
    assert record == made
    assert not is_valid(record)


def test_a_relative_xdg_folder_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "config")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert key_file() == tmp_path / ".config" / "vision-ablation" / "key"


def test_a_copied_run_stays_one_s_own(tmp_path: Path) -> None:
    claim(tmp_path / "run", runs.study() | REQUEST).root.rename(tmp_path / "moved")
    assert is_valid(read_request(RunDirectory(tmp_path / "moved").root)[1])
