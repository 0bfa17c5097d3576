"""A checkpoint is whole or absent: torn, damaged and half-written files read as none."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainables.small_trials import EVERYTHING, run_epochs, small_spec
from trainables.trial import checkpoint_file

STATE: dict[str, Any] = {
    "learner": {"model": {"weight": torch.arange(6.0)}, "epoch": 3},
    "rows": [{"epoch": 1, "val_loss": None}],
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoints" / "last.pt"
    checkpoint_file.save(STATE, path)
    return path


def test_what_was_saved_is_loaded(file: Path) -> None:
    loaded = checkpoint_file.load(file)
    assert str(loaded) == str(STATE)


def test_torch_reads_the_file_without_us_and_without_pickled_code(file: Path) -> None:
    assert str(torch.load(file, weights_only=True)) == str(STATE)


def test_a_missing_an_empty_and_a_foreign_file_read_as_none(file: Path) -> None:
    assert checkpoint_file.load(file.with_name("absent.pt")) is None
    for content in (b"", b"PK", b"x" * 100):
        file.write_bytes(content)
        assert checkpoint_file.load(file) is None


def test_a_flipped_bit_anywhere_reads_as_none(file: Path) -> None:
    whole = file.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        file.write_bytes(damaged)
        assert checkpoint_file.load(file) is None, f"byte {place} of {len(whole)}"


def test_a_file_cut_anywhere_reads_as_none(file: Path) -> None:
    whole = file.read_bytes()
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        assert checkpoint_file.load(file) is None, f"{length} bytes of {len(whole)}"
    file.write_bytes(whole + b"\0")
    assert checkpoint_file.load(file) is None


def test_every_file_that_a_trial_leaves_loads_without_pickled_code(tmp_path: Path) -> None:
    run_epochs(small_spec(tmp_path, EVERYTHING), 2)
    files = sorted((tmp_path / "checkpoints").rglob("*.pt"))
    assert {file.name for file in files} >= {"last.pt", "previous.pt", "best.pt"}
    for file in files:
        assert torch.load(file, weights_only=True).keys() & {"model", "learner"}
