"""`training.evaluate_test: selected` leaves out evaluations of the test split, and changes no number that is left."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.trainables.small_trials import EVERYTHING, SMALL, finish, run_epochs, small_config, small_spec, timeless
from trainables.config import ConfigError
from trainables.training.learner import Learner
from trainables.trial.spec import Segment, TrialSpec
from trainables.trial.trial import Trial, evaluated

SELECTED = {"training.evaluate_test": "selected"}
EARLY = {"selection.metric": "val_loss", "training.epochs": 5}
KINDS: dict[str, dict[str, Any]] = {
    "best": {},
    "an early best": {**EARLY, "optimizer.lr": 2.0},
    "last": {"selection.rule": "last"},
    "epoch": {"selection.rule": "epoch", "selection.epoch": 2},
    "draws": {**EVERYTHING, **EARLY},
    "averaged": {**EVERYTHING, **EARLY, "training.ema": 0.8, "training.clip_norm": 0.5},
    "bf16": {**EARLY, "training.precision": "bf16", "model.bn_after": ["conv1"]},
    "metrics": {**EARLY, "metrics": ["auroc", "ece", "kappa"]},
    "patience": {**EARLY, "training.epochs": 12, "training.patience": 2, "optimizer.lr": 2.0},
    "few": {"metrics": ["auroc"], "dataset.limit_eval": 1},
}


def ended(spec: TrialSpec) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(the rows that were reported, of several of an epoch the last; the end) of a trial from wherever it stands."""
    trial, end, rows = Trial(spec), None, dict[int, dict[str, Any]]()
    while end is None:
        result = trial.advance()
        rows |= {row["epoch"]: timeless(row) for row in result["rows"]}
        end = result["end"]
    return [rows[epoch] for epoch in sorted(rows)], end


def without_test(row: dict[str, Any]) -> dict[str, Any]:
    return {name: None if name.startswith("test_") else value for name, value in row.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_selected_epoch_has_the_numbers_that_it_has_when_every_epoch_is_evaluated(
    kind: str, tmp_path: Path
) -> None:
    every, seldom = (small_spec(tmp_path / name, KINDS[kind] | more) for name, more in (("e", {}), ("s", SELECTED)))
    rows, end = ended(every)
    found, its_end = ended(seldom)
    assert found == [row if row["epoch"] == end["selected_epoch"] else without_test(row) for row in rows]
    assert [list(row) for row in found] == [list(row) for row in rows]  # also the order of the columns
    assert timeless(its_end["selected"]) == timeless(end["selected"])
    same = ("status", "selected_epoch", "verified", "error")
    assert [its_end[name] for name in same] == [end[name] for name in same]
    assert its_end["seconds"] == pytest.approx(sum(row["seconds"] for row in Trial(seldom).rows), rel=0.5)
    assert finish(seldom).predictions.equals(finish(every).predictions)  # type: ignore[union-attr]
    early = "early" in kind or kind in ("epoch", "patience")
    assert (end["selected_epoch"] < len(rows)) >= early, "the case tests nothing"


def test_another_value_and_a_choice_by_the_test_split_are_refused() -> None:
    for value, near in (("select", "did you mean 'selected'"), ("all", "every_epoch, selected"), (True, "every_epoch")):
        with pytest.raises(ConfigError, match=f"^training.evaluate_test: .*{near}"):
            small_config({"training.evaluate_test": value})
    with pytest.raises(
        ConfigError, match=r"^selection.metric: 'test_accuracy' is unknown; .*did you mean 'val_accuracy'"
    ):
        small_config(SELECTED | {"selection.metric": "test_accuracy"})


def test_a_metric_without_a_value_is_told_of_the_epochs_that_were_evaluated(tmp_path: Path) -> None:
    _, end = ended(small_spec(tmp_path, KINDS["few"] | SELECTED))
    assert end["notes"] == [
        "metrics: test_auroc is null in 1 of 1 epochs: one class alone occurs",
        "metrics: val_auroc is null in 3 of 3 epochs: one class alone occurs",
    ]


def test_the_test_split_is_evaluated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = Learner.evaluate, list[tuple[str, int]]()

    def counted(self: Learner, split: str, limit: int | None = None) -> dict[str, float]:
        seen.append((split, self.epoch))
        return real(self, split, limit)

    monkeypatch.setattr(Learner, "evaluate", counted)
    outcome = finish(small_spec(tmp_path, KINDS["an early best"] | SELECTED))
    assert [epoch for split, epoch in seen if split == "test"] == [outcome.selected_epoch]
    assert len(seen) == 5 + 1


@pytest.mark.parametrize("lost", [(), ("last.pt",), ("last.pt", "previous.pt", "best.pt")], ids=str)
@pytest.mark.parametrize("epoch", [2, 5])
def test_a_trial_dropped_after_an_epoch_ends_as_if_it_had_not_been(
    epoch: int, lost: tuple[str, ...], tmp_path: Path
) -> None:
    settings = KINDS["averaged"] | SELECTED
    whole, spec = ended(small_spec(tmp_path / "whole", settings)), small_spec(tmp_path / "dropped", settings)
    run_epochs(spec, epoch)
    for name in lost:
        (tmp_path / "dropped" / "checkpoints" / spec.trial / name).unlink(missing_ok=True)
    rows, end = ended(spec)
    assert (rows, timeless(end["selected"])) == (whole[0], timeless(whole[1]["selected"]))


@pytest.mark.parametrize("first", ["every_epoch", "selected"])
@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_a_trial_that_goes_on_under_the_other_value_has_the_same_selected_row(
    first: str, epoch: int, tmp_path: Path
) -> None:
    settings, second = KINDS["an early best"], {"every_epoch": "selected", "selected": "every_epoch"}[first]
    rows, end = ended(small_spec(tmp_path / "whole", settings))
    begun = small_spec(tmp_path / "run", {**settings, "training.evaluate_test": first})
    run_epochs(begun, epoch)
    found, its_end = ended(small_spec(tmp_path / "run", {**settings, "training.evaluate_test": second}))
    chosen = end["selected_epoch"]
    known = range(1, epoch + 1) if first == "every_epoch" else range(epoch + 1, 6)
    assert found == [row if row["epoch"] in {*known, chosen} else without_test(row) for row in rows]
    assert timeless(its_end["selected"]) == timeless(end["selected"])


@pytest.mark.parametrize("first", ["every_epoch", "selected"])
def test_a_trial_of_more_epochs_goes_on_from_one_whose_test_rows_are_null(first: str, tmp_path: Path) -> None:
    """Its selected epoch may be one of the trial before."""
    settings = KINDS["an early best"]
    whole, end = ended(small_spec(tmp_path / "whole", {**settings, "training.epochs": 7}))
    short = small_spec(tmp_path / "run", {**settings, "training.evaluate_test": first})
    finish(short)
    longer = small_spec(tmp_path / "run", {**settings, **SELECTED, "training.epochs": 7})
    found, its_end = ended(replace(longer, trial="larger", segment=Segment(continues=short.trial)))
    assert timeless(its_end["selected"]) == timeless(end["selected"])
    assert [without_test(row) for row in found] == [without_test(row) for row in whole]


@pytest.mark.parametrize("kind", ["an early best", "averaged", "last", "metrics"])
def test_a_trial_that_may_be_stopped_has_test_metrics_wherever_it_is_stopped(kind: str, tmp_path: Path) -> None:
    every = Trial(small_spec(tmp_path / "every", KINDS[kind]))
    seldom = Trial(replace(small_spec(tmp_path / "seldom", KINDS[kind] | SELECTED), stoppable=True))
    for _ in range(KINDS[kind].get("training.epochs", 3)):
        results = [trial.advance() for trial in (every, seldom)]
        ends = [result["end"] or result["end_if_stopped"] for result in results]
        assert timeless(ends[0]["selected"]) == timeless(ends[1]["selected"])
        assert len(results[1]["rows"]) == 1, "a row came twice"


def test_a_trial_whose_stop_was_decided_before_a_kill_has_them_too(tmp_path: Path) -> None:
    """Also where it was not `stoppable` when it began, as a search may be given a trial scheduler later."""
    spec = small_spec(tmp_path, KINDS["an early best"] | SELECTED)
    run_epochs(spec, 4)
    rows, end = ended(replace(spec, segment=Segment(until=4)))
    assert end["status"] == "stopped"
    assert [row["epoch"] for row in rows if evaluated(row)] == [end["selected_epoch"]]
    whole, _ = ended(small_spec(tmp_path / "whole", KINDS["an early best"]))
    assert rows[end["selected_epoch"] - 1] == whole[end["selected_epoch"] - 1]


def test_a_member_that_took_over_another_loss_is_evaluated_by_the_one_of_the_selected_epoch(tmp_path: Path) -> None:
    """As of a population whose perturbations change what `loss` means, after the epoch that stays the best."""
    first = {**SMALL, "loss.name": "focal", "loss.gamma": 0.5, "training.epochs": 4}
    begins = small_spec(tmp_path, first | SELECTED)
    run_epochs(begins, 2)
    worse = {**first, "loss.gamma": 4.0, "optimizer.lr": 1e-12}
    every, _ = ended(small_spec(tmp_path / "every", first))
    rows, end = ended(replace(small_spec(tmp_path, worse | SELECTED), segment=Segment(begins=2)))
    chosen = end["selected_epoch"]
    assert chosen <= 2, "the case tests nothing"
    assert rows[chosen - 1]["test_loss"] == every[chosen - 1]["test_loss"]


@pytest.mark.parametrize("stoppable", [False, True])
def test_a_test_loss_that_is_not_finite_is_divergence_where_it_is_seen(
    stoppable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Learner.evaluate

    def broken(self: Learner, split: str, limit: int | None = None) -> dict[str, float]:
        return real(self, split, limit) | ({"loss": math.nan} if split == "test" else {})

    monkeypatch.setattr(Learner, "evaluate", broken)
    rows, end = ended(replace(small_spec(tmp_path, SELECTED), stoppable=stoppable))
    assert (end["status"], end["selected_epoch"], end["selected"]) == ("diverged", None, None)
    assert len(rows) == (1 if stoppable else 3)
    assert not list(tmp_path.glob("predictions/*"))
    assert end["error"] == f"diverged in epoch {[row['epoch'] for row in rows if evaluated(row)][-1]}"
