"""A trial's process imports what its driver permits: a checkpoint or a population's record may name other code."""

from dataclasses import replace
from pathlib import Path

import pytest

from core.user_code.references import permit
from tests.trainables.small_trials import finish, run_epochs, small_spec
from trainables.config import ConfigError
from trainables.trial import checkpoint_file
from trainables.trial.trial import Trial

EVIL = "open({!r}, 'w')\ndef loss(outputs, targets): return outputs.mean(1)\n"


@pytest.fixture
def evil(tmp_path: Path) -> str:
    (tmp_path / "evil.py").write_text(EVIL.format(str(tmp_path / "executed")))
    return f"{tmp_path / 'evil.py'}:loss"


def test_what_a_checkpoint_names_is_not_executed(evil: str, tmp_path: Path) -> None:
    first = {"training.epochs": 2, "selection.rule": "epoch", "selection.epoch": 1}
    spec = replace(small_spec(tmp_path / "run", first), permitted=[])
    run_epochs(spec, 1)
    file = tmp_path / "run" / "checkpoints" / spec.trial / "best.pt"
    best = checkpoint_file.load(file)
    assert best
    checkpoint_file.save({**best, "config": {**best["config"], "loss": {"name": evil}}}, file)
    with pytest.raises(ConfigError, match="is not executed"):
        finish(spec)
    assert not (tmp_path / "executed").exists()


def test_nor_what_a_record_makes_of_its_settings(evil: str, tmp_path: Path) -> None:
    spec = replace(small_spec(tmp_path / "run", {}), permitted=["mine.py:loss"])
    with pytest.raises(ConfigError, match="is not executed"):
        Trial(replace(spec, config={**spec.config, "loss": {"name": evil}}))
    assert not (tmp_path / "executed").exists()


def test_what_is_permitted_is(evil: str, tmp_path: Path) -> None:
    permit(None)
    spec = replace(small_spec(tmp_path / "run", {}), permitted=[evil])
    Trial(replace(spec, config={**spec.config, "loss": {"name": evil}}))
    assert (tmp_path / "executed").exists()
