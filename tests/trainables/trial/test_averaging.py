"""A whole trial with averaged weights: what it saves, selects and predicts, and what a restart makes of it."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from tests.trainables.small_trials import EVERYTHING, finish, run_epochs, small_learner, small_spec, timeless
from trainables.trial import checkpoint_file
from trainables.trial.trial import Trial

AVERAGED = {**EVERYTHING, "training.ema": 0.8, "training.clip_norm": 0.5, "training.epochs": 4}


def test_the_averaged_weights_are_what_a_trial_evaluates_saves_and_predicts_with(tmp_path: Path) -> None:
    outcome = finish(small_spec(tmp_path, {**AVERAGED, "diagnostics": True}))
    assert (outcome.status, outcome.verified) == ("finished", True)
    best = checkpoint_file.load(tmp_path / "checkpoints" / "0123456789ab" / "best.pt")
    assert best is not None
    assert best["epoch"] == outcome.selected_epoch
    plain = small_learner(EVERYTHING)
    plain.network.load_state_dict(best["model"])
    row = outcome.rows[best["epoch"] - 1]
    assert {f"test_{name}": value for name, value in plain.evaluate("test").items()}.items() <= row.items()
    assert outcome.predictions is not None
    scores = torch.tensor(outcome.predictions[[f"score_{i}" for i in range(10)]].to_numpy())
    assert scores.equal(plain.predictions("test")["scores"])
    features = pd.read_parquet(tmp_path / "artifacts" / "0123456789ab" / "features.parquet")
    assert len(features) == 96 + 64 + 64


@pytest.mark.parametrize("lost", ["", "last.pt", "best.pt"])
@pytest.mark.parametrize("epoch", [1, 2, 3, 4])
@pytest.mark.matrix
def test_a_trial_of_averaged_weights_dropped_after_an_epoch_ends_as_if_it_had_not_been(
    epoch: int, lost: str, tmp_path: Path
) -> None:
    undisturbed, spec = finish(small_spec(tmp_path / "whole", AVERAGED)), small_spec(tmp_path / "dropped", AVERAGED)
    run_epochs(spec, epoch)
    if lost:
        (tmp_path / "dropped" / "checkpoints" / spec.trial / lost).unlink()
    assert finish(spec) == undisturbed


def test_a_fork_of_a_trial_s_state_goes_on_like_the_trial(tmp_path: Path) -> None:
    parent, child = (Trial(small_spec(tmp_path / name, AVERAGED)) for name in ("parent", "child"))
    parent.advance()
    checkpoint_file.save(parent.state_dict(), tmp_path / "fork.pt")
    state: Any = checkpoint_file.load(tmp_path / "fork.pt")
    child.load_state_dict(state)
    child.reported = len(child.rows)
    assert [timeless(row) for row in child.advance()["rows"]] == [timeless(row) for row in parent.advance()["rows"]]
