"""A trial's metrics of whole splits are what one computes from its predictions, and change nothing else."""

from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import cohen_kappa_score, f1_score

from core.user_code.references import UserCodeError
from tests.own_metrics import Write, write
from tests.trainables.small_trials import finish, run_epochs, small_spec, timeless
from trainables.metrics.field import FIELD
from trainables.training.batches import DeviceData
from trainables.trial.trial import Trial

__all__ = ["write"]

ALL = sorted(FIELD)
RATE = {"optimizer.lr": 0.5}


def ended(spec: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(all rows, end) of a trial from wherever it stands."""
    trial, end = Trial(spec), None
    while end is None:
        end = trial.advance()["end"]
    return [timeless(row) for row in trial.rows], end


def test_they_are_computed_from_the_predictions_and_leave_all_else_as_it_was(tmp_path: Path) -> None:
    plain = finish(small_spec(tmp_path / "plain", RATE))
    asked = finish(small_spec(tmp_path / "asked", {**RATE, "metrics": ALL}))
    columns = {f"{split}_{name}" for split in ("val", "test") for name in ALL}
    assert [row.keys() - columns for row in asked.rows] == [row.keys() for row in plain.rows]
    assert [{key: row[key] for key in row if key not in columns} for row in asked.rows] == plain.rows
    assert plain.predictions is not None
    assert plain.predictions.equals(asked.predictions)
    (row,) = (row for row in asked.rows if row["epoch"] == asked.selected_epoch)
    scores = plain.predictions.filter(regex=r"score_\d").to_numpy()
    target, guess = plain.predictions["target"], scores.argmax(1)
    assert row["test_f1_macro"] == f1_score(target, guess, average="macro", zero_division=0)
    assert row["test_kappa"] == cohen_kappa_score(target, guess)
    for name in ALL:
        assert row[f"test_{name}"] == FIELD[name](scores, target.to_numpy())


def test_no_picture_goes_through_the_network_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = DeviceData.for_evaluation, list[int]()
    monkeypatch.setattr(DeviceData, "for_evaluation", lambda *given: (seen.append(len(given[2])), real(*given))[1])
    counts = []
    for name, settings in (("plain", {}), ("asked", {"metrics": ALL})):
        seen.clear()
        run_epochs(small_spec(tmp_path / name, settings), 2)
        counts.append(sum(seen))
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_resumed_trial_says_why_a_value_is_missing_as_an_undisturbed_one(epoch: int, tmp_path: Path) -> None:
    settings = {"metrics": ["auroc", "brier"], "dataset.limit_eval": 1}
    rows, end = ended(small_spec(tmp_path / "whole", settings))
    assert [row["val_auroc"] for row in rows] == [None] * 3
    assert None not in [row["test_brier"] for row in rows]
    said = [f"metrics: {split}_auroc is null in 3 of 3 epochs: one class alone occurs" for split in ("test", "val")]
    assert (end["status"], end["notes"]) == ("finished", said)
    cut = small_spec(tmp_path / "cut", settings)
    run_epochs(cut, epoch)
    again, its_end = ended(cut)
    assert (again, its_end["notes"]) == (rows, said)


def test_one_s_own_is_recorded_and_selects_by_its_direction(write: Write, tmp_path: Path) -> None:
    write("def cost(scores, targets):\n    return np.abs(scores[np.arange(len(targets)), targets]).mean()")
    found = {}
    for maximise in (True, False):
        entry = {"name": "mine.py:cost", "maximise": maximise, "as": f"cost_{maximise}"}
        settings = {**RATE, "metrics": [entry], "selection.metric": f"val_cost_{maximise}"}
        found[maximise] = finish(small_spec(tmp_path / str(maximise), settings))
        values = [row[f"val_cost_{maximise}"] for row in found[maximise].rows]
        assert found[maximise].selected_epoch == 1 + values.index(max(values) if maximise else min(values))
    assert found[True].selected_epoch != found[False].selected_epoch


def test_one_that_fails_in_training_fails_the_trial_with_its_line(write: Write, tmp_path: Path) -> None:
    file = write("def f(scores, targets):\n    return [][len(targets)]")
    spec = small_spec(tmp_path, {"metrics": [{"name": "mine.py:f", "maximise": True}]})
    with pytest.raises(UserCodeError) as caught:
        finish(spec)
    assert f"mine.py:f: fails on scores (64, 10) and targets (64,): {file}, line 4: IndexError" in str(caught.value)


def test_a_trial_that_diverges_has_diverged_whatever_it_records(write: Write, tmp_path: Path) -> None:
    write("def f(scores, targets):\n    assert np.isfinite(scores).all()\n    return 1.0")
    metrics = [*ALL, {"name": "mine.py:f", "maximise": True}]
    spec = small_spec(tmp_path, {"metrics": metrics, "optimizer.lr": 1e30, "training.epochs": 2})
    _, end = ended(spec)
    assert end["status"] == "diverged"
