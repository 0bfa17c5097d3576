"""Trials side by side: each gives what it gives alone but for the order of sums, and none what another does."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainables.small_trials import EVERYTHING, finish, small_config, small_dataset, small_spec, timeless
from trainables.fused.autotune import ExecutionMode, Measurements, Probe, TrialKind, best_mode, seconds_a_step
from trainables.fused.programs import fusion_key
from trainables.trial.runner import TrialRunner, replay_epoch
from trainables.trial.spec import TrialSpec
from trainables.trial.trial import Trial

DIVERGING = {**EVERYTHING, "optimizer.lr": 1e30}


def specs_of(folder: Path, settings: Sequence[dict[str, Any]]) -> list[TrialSpec]:
    return [replace(small_spec(folder, own, seed), trial=f"{seed:012d}") for seed, own in enumerate(settings)]


def run(
    specs: Sequence[TrialSpec], wanted: Any, begin: Callable[[TrialSpec], Trial] = Trial
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, dict[str, Any]]]:
    """Rows and end of each trial."""
    runner = TrialRunner(begin, wanted)
    runner.put([spec.to_dict() for spec in specs])
    rows: dict[str, list[dict[str, Any]]] = {spec.trial: [] for spec in specs}
    ends: dict[str, dict[str, Any]] = {}
    while runner.busy:
        for report in runner.advance():
            rows[report["trial"]] += [timeless(row) for row in report["rows"]]
            if report["end"]:
                ends[report["trial"]] = report["end"]
    return rows, ends


DIFFERENT: list[dict[str, Any]] = [
    EVERYTHING,
    {**EVERYTHING, "optimizer.lr": 0.003, "model.dropout_rate": 0.2, "training.epochs": 2},
    {**EVERYTHING, "loss.name": "ce", "loss.label_smoothing": 0.1, "augmentation.rotation": 0.0, "training.ema": 0.9},
    {**EVERYTHING, "optimizer.name": "sgd", "optimizer.momentum": 0.9, "training.clip_norm": 1.0},
    {**EVERYTHING, "training.mixup": 0.2, "schedule.name": "constant", "optimizer.weight_decay": 0.001},
]


def test_whole_trials_end_where_they_end_alone(tmp_path: Path) -> None:
    """Five that differ in all that lanes may differ in, four at a time: the fifth takes over a lane."""
    rows, ends = run(specs_of(tmp_path / "fused", DIFFERENT), 4)
    for spec in specs_of(tmp_path / "alone", DIFFERENT):
        alone, found = finish(spec), rows[spec.trial]
        assert ends[spec.trial]["status"] == alone.status == "finished"
        assert ends[spec.trial]["verified"]
        assert ends[spec.trial]["fused"]["lanes"] == 4
        assert [row.pop("lanes") for row in found] == [4] * len(alone.rows)
        assert [row["lr"] for row in found] == [row["lr"] for row in alone.rows]
        for ours, theirs in zip(found, alone.rows, strict=True):
            losses = [{name: value for name, value in row.items() if "accuracy" not in name} for row in (ours, theirs)]
            assert losses[0] == pytest.approx(losses[1], rel=2e-3)
            for name in ("train_accuracy", "val_accuracy", "test_accuracy"):
                # images on the edge between two classes: two on processors with AVX-512, three on others
                assert ours[name] == pytest.approx(theirs[name], abs=3.1 / 64)


def test_a_lane_that_diverges_or_fails_leaves_the_bits_of_the_others(tmp_path: Path) -> None:
    broken = {**small_spec(tmp_path).to_dict(), "fingerprint": "beef"}
    calm = specs_of(tmp_path / "calm", [EVERYTHING, EVERYTHING, EVERYTHING])
    wild = specs_of(tmp_path / "wild", [EVERYTHING, DIVERGING, EVERYTHING])
    expected, _ = run(calm, 4)
    rows, ends = run([*wild, TrialSpec(**broken)], 4)
    assert [end["status"] for end in ends.values()].count("diverged") == 1
    assert ends[broken["trial"]]["status"] == "failed"
    for trial in (wild[0].trial, wild[2].trial):
        assert rows[trial] == expected[trial]
        assert ends[trial]["status"] == "finished"


@pytest.mark.parametrize("part", ["compute_loss", "optimizer_step"])
def test_what_one_lane_raises_fails_its_trial_alone(tmp_path: Path, part: str) -> None:
    """In the second step of its second epoch: the others go on from their checkpoints, and end as if undisturbed."""
    calls = 0

    def begin(spec: TrialSpec) -> Trial:
        trial = Trial(spec)
        if spec.seed == 1:
            work = getattr(trial.learner, part)

            def broken(*given: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == 5:
                    raise ZeroDivisionError("of our making")
                return work(*given)

            setattr(trial.learner, part, broken)
        return trial

    expected, _ = run(specs_of(tmp_path / "calm", [EVERYTHING] * 3), 4)
    rows, ends = run(specs_of(tmp_path / "broken", [EVERYTHING] * 3), 4, begin)
    assert [ends[f"{seed:012d}"]["status"] for seed in range(3)] == ["finished", "failed", "finished"]
    assert "ZeroDivisionError: of our making" in ends[f"{1:012d}"]["error"]
    for seed in (0, 2):
        assert {row["epoch"]: row for row in rows[f"{seed:012d}"]} == {
            row["epoch"]: row for row in expected[f"{seed:012d}"]
        }


def test_what_fails_together_is_done_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, images: Any) -> None:
        raise MemoryError("no room for four")

    specs = specs_of(tmp_path / "run", [EVERYTHING, EVERYTHING])
    runner = TrialRunner(Trial, 4)
    runner.put([spec.to_dict() for spec in specs])
    assert runner.advance()
    with monkeypatch.context() as patch:
        patch.setattr("trainables.fused.stacked_model.StackedModel.__call__", full)
        runner.advance()
    ends = [report["end"] for _ in range(9) if runner.busy for report in runner.advance() if report["end"]]
    assert [end["status"] for end in ends] == ["finished", "finished"]
    assert "--fuse 4: trained alone, as together they failed: no room for four" in ends[0]["notes"]


def test_neither_the_lane_nor_its_company_shows_in_a_trials_numbers(tmp_path: Path) -> None:
    first = specs_of(tmp_path / "first", DIFFERENT[:3])
    second = [replace(spec, directory=str(tmp_path / "second")) for spec in (first[2], first[0])]
    expected, _ = run(first, 4)
    rows, _ = run(second, 4)
    assert rows == {spec.trial: expected[spec.trial] for spec in second}


def test_a_recorded_number_of_lanes_is_replayed_to_the_bit(tmp_path: Path) -> None:
    specs = specs_of(tmp_path / "run", DIFFERENT[:3])
    expected, _ = run(specs, 4)
    for spec in specs:
        trial, rows, end = Trial(replace(spec, directory=str(tmp_path / "again"))), [], None
        while end is None:
            result = replay_epoch(trial, 4)
            rows, end = rows + [timeless(row) for row in result["rows"]], result["end"]
        assert rows == expected[spec.trial]


def test_checkpoints_hold_one_trial_each_and_another_process_goes_on(tmp_path: Path) -> None:
    """After one epoch side by side the process is gone; another goes on, and all end as if nothing had happened."""
    expected, _ = run(specs_of(tmp_path / "whole", DIFFERENT[:2]), 4)
    specs = specs_of(tmp_path / "cut", DIFFERENT[:2])
    runner = TrialRunner(Trial, 4)
    runner.put([spec.to_dict() for spec in specs])
    runner.advance()
    state = torch.load(tmp_path / "cut" / "checkpoints" / specs[0].trial / "last.pt", weights_only=True)
    for value in state["learner"]["model"].values():
        assert value.untyped_storage().nbytes() == value.nbytes
    rows, ends = run(specs, 4)
    assert rows == expected
    assert {end["status"] for end in ends.values()} == {"finished"}


def test_a_network_without_a_fused_form_is_trained_alone_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainables.fused.stacked_model.WIDE", {})
    rows, ends = run(specs_of(tmp_path / "run", DIFFERENT[:2]), 4)
    assert rows[f"{0:012d}"] == finish(specs_of(tmp_path / "alone", DIFFERENT[:1])[0]).rows
    assert "--fuse 4: trained alone, as small_cnn has no fused form" in " ".join(ends[f"{0:012d}"]["notes"])
    assert "fused" not in ends[f"{0:012d}"]


def kind(settings: dict[str, Any]) -> TrialKind:
    return TrialKind(small_config(settings), small_dataset(settings), torch.device("cpu"))


def test_auto_changes_no_number_so_that_on_a_cpu_nothing_is_grouped_or_timed(tmp_path: Path) -> None:
    some, measured = kind({"training.epochs": 300}), Measurements()
    assert best_mode(some, 20, "auto", measured) == ExecutionMode()
    assert best_mode(some, 20, 4, measured) == ExecutionMode(4, "grouped"), "what is asked for is done"
    assert not measured.seconds
    rows, ends = run(specs_of(tmp_path / "auto", DIFFERENT[:2]), "auto")
    for spec in specs_of(tmp_path / "alone", DIFFERENT[:2]):
        assert rows[spec.trial] == finish(spec).rows
        assert "fused" not in ends[spec.trial]


def test_a_probe_takes_steps_of_every_lane() -> None:
    some = kind(EVERYTHING)
    assert 0 < seconds_a_step(some, ExecutionMode(2, "grouped")) < 10
    steps = Probe(some, ExecutionMode(2, "grouped"))
    before = [parameter.clone() for learner in steps.learners.values() for parameter in learner.network.parameters()]
    steps(1)
    after = [parameter for learner in steps.learners.values() for parameter in learner.network.parameters()]
    assert not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_what_may_differ_between_lanes_and_what_not(tmp_path: Path) -> None:
    keys = [fusion_key(small_spec(tmp_path, own, seed).to_dict()) for seed, own in enumerate(DIFFERENT)]
    assert len(set(keys)) == 1
    other: list[dict[str, Any]] = [
        {"training.batch_size": 16},
        {"training.precision": "bf16"},
        {"model.hidden": 8},
        {"model.dropout_after": []},
        {"sampler.name": "uniform"},
        {"dataset.limit_train": 64},
    ]
    for own in other:
        assert fusion_key(small_spec(tmp_path, {**EVERYTHING, **own}).to_dict()) != keys[0]
    assert json.loads(keys[0])
