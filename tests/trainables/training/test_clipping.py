"""Clipping of the gradient norm against a gradient scaled by hand; what it records, and that no step waits for it."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from core.value_words import shown
from tests.trainables.small_trials import EVERYTHING, finish, run_epochs, small_learner, small_spec
from trainables.config import ConfigError, resolve
from trainables.training import verification
from trainables.training.clipping import GradientClip
from trainables.training.learner import Learner
from trainables.trial import checkpoint_file
from trainables.trial.trial import Trial, VerificationError

LIMIT = 0.2  # below most of these trials' norms
CLIPPED = {"training.clip_norm": LIMIT}


def gradient(network: nn.Module, learner: Learner, rows: Tensor) -> list[Tensor]:
    loss = cross_entropy(network(learner.inputs("train", rows)), learner.labels["train"][rows])
    return list(torch.autograd.grad(loss, list(network.parameters())))


def norm(gradients: list[Tensor]) -> float:
    return float(torch.cat([part.flatten() for part in gradients]).double().square().sum().sqrt())


@pytest.mark.parametrize("limit", [0.01, 0.2, 100.0])
def test_a_step_follows_the_gradient_scaled_to_the_limit_and_leaves_a_shorter_one_alone(limit: float) -> None:
    learner, rows = small_learner({"training.clip_norm": limit, "optimizer.lr": 0.5}), torch.arange(32)
    before = copy.deepcopy(learner.network)
    wanted = gradient(before, learner, rows)
    learner.step(learner.draw_batch(rows, 0), learner.task.totals())
    scale = min(1.0, limit / norm(wanted))
    assert (scale < 1) == (limit < 1)
    for old, new, part in zip(before.parameters(), learner.network.parameters(), wanted, strict=True):
        assert new.allclose(old - 0.5 * scale * part, rtol=1e-4, atol=1e-7)


def test_the_largest_norms_before_and_after_clipping_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = small_learner(CLIPPED)
    before, after, step, clip = list[float](), list[float](), learner.optimizer.step, learner.clip
    gradients = lambda: [value.grad for value in learner.network.parameters()]  # noqa: E731
    monkeypatch.setattr(learner.optimizer, "step", lambda: [after.append(norm(gradients())), step()])
    monkeypatch.setattr(learner, "clip", lambda given: [before.append(norm(gradients())), clip(given)])
    learner.train_epoch()
    learner.train_epoch()
    assert len(before) == clip.steps == 6
    assert max(before) > LIMIT
    assert clip.largest.tolist() == pytest.approx([max(before), max(after)], rel=1e-5)
    assert max(after) == pytest.approx(LIMIT, rel=1e-4)


@pytest.mark.parametrize("settings", [{}, EVERYTHING], ids=["plain", "everything on"])
def test_a_limit_that_is_never_reached_changes_no_bit_and_is_noted(settings: dict[str, Any], tmp_path: Path) -> None:
    off = finish(small_spec(tmp_path / "off", settings))
    assert finish(small_spec(tmp_path / "far", {**settings, "training.clip_norm": 1e4})) == off
    assert finish(small_spec(tmp_path / "near", {**settings, **CLIPPED})) != off
    learner = small_learner({**settings, "training.clip_norm": 1e4})
    learner.train_epoch()
    (note,) = verification.notes(learner)
    assert note.startswith("training.clip_norm 10000: not reached, the largest gradient norm was ")


def test_a_limit_that_was_reached_is_not_noted(tmp_path: Path) -> None:
    trial = Trial(small_spec(tmp_path, {**CLIPPED, "training.epochs": 1}))
    end = trial.advance()["end"]
    assert end["verified"]
    assert end["notes"] == []


@pytest.mark.parametrize("settings", [{}, EVERYTHING], ids=["plain", "everything on"])
def test_a_resumed_trial_ends_with_the_bits_and_the_record_of_an_undisturbed_one(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**settings, **CLIPPED, "training.epochs": 4}
    undisturbed = finish(small_spec(tmp_path / "undisturbed", settings))
    spec = small_spec(tmp_path / "dropped", settings)
    run_epochs(spec, 2)
    assert finish(spec) == undisturbed
    records = [
        checkpoint_file.load(tmp_path / name / "checkpoints" / spec.trial / "last.pt")
        for name in ("undisturbed", "dropped")
    ]
    whole, resumed = (record["learner"]["clip"] for record in records if record)
    assert whole["steps"] == resumed["steps"] == 12
    assert whole["largest"].equal(resumed["largest"])
    assert (whole["largest"] > 0).all()


def test_a_fork_with_another_limit_is_not_judged_by_its_parent_s_norms() -> None:
    parent, child = small_learner({"training.clip_norm": 5.0}), small_learner(CLIPPED)
    parent.train_epoch()
    child.load_state_dict(parent.state_dict())
    child.train_epoch()
    assert child.clip is not None
    assert child.clip.steps == 3
    assert 0 < child.clip.largest[1] < 1.001 * LIMIT
    child.load_state_dict(small_learner().state_dict())


def no_scaling(patch: pytest.MonkeyPatch) -> None:
    from torch.nn.utils import get_total_norm

    patch.setattr(
        "trainables.training.clipping.clip_grad_norm_",
        lambda given, limit: get_total_norm([value.grad for value in given]),
    )


def never_called(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(GradientClip, "__call__", lambda self, given: None)


def never_made(patch: pytest.MonkeyPatch) -> None:
    made = Learner.__init__

    def forgetful(self: Learner, *arguments: Any) -> None:
        made(self, *arguments)
        self.clip = None

    patch.setattr(Learner, "__init__", forgetful)


@pytest.mark.parametrize("sabotage", [no_scaling, never_called, never_made])
def test_clipping_that_does_nothing_is_a_fault(
    sabotage: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert finish(small_spec(tmp_path / "sound", CLIPPED)).verified
    sabotage(monkeypatch)
    with pytest.raises(VerificationError, match=r"not verified: training\.clip_norm: "):
        finish(small_spec(tmp_path / "sabotaged", CLIPPED))


def test_clipping_that_fails_in_a_later_epoch_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = small_learner(CLIPPED)
    learner.train_epoch()
    assert verification.at_end(learner, []) == []
    no_scaling(monkeypatch)
    learner.train_epoch()
    (fault,) = verification.at_end(learner, [])
    assert fault.startswith("training.clip_norm: 0.2 was asked for, a gradient of norm ")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_ends_the_trial_as_diverged(value: float, tmp_path: Path) -> None:
    trial = Trial(small_spec(tmp_path, CLIPPED))
    with torch.no_grad():
        trial.learner.network.conv1.weight.fill_(value)
    assert trial.advance()["end"]["status"] == "diverged"


@pytest.mark.parametrize("settings", [{}, EVERYTHING], ids=["plain", "everything on"])
def test_a_rate_without_hope_is_recorded_as_divergence_whether_clipped_or_not(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    hopeless = {**settings, **CLIPPED, "optimizer.lr": 1e12, "schedule.name": "constant"}
    outcome = finish(small_spec(tmp_path, hopeless))
    assert outcome.status == "diverged"
    assert not outcome.verified


def test_no_step_reads_a_number_back_from_the_device() -> None:
    """Tensors on "meta" have no values, so that reading one raises."""
    weight = nn.Parameter(torch.zeros(3, device="meta"))
    weight.grad = torch.zeros(3, device="meta")
    clip = GradientClip(1.0, torch.device("meta"))
    clip([weight])
    with pytest.raises(RuntimeError):
        float(clip.largest[0])


@pytest.mark.parametrize("value", [-0.1, "1", True, None])
def test_a_limit_that_is_none_is_refused_by_name_and_value(value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve({"dataset.name": "digits", "model.name": "small_cnn", "training.clip_norm": value})
    (fault,) = caught.value.faults
    assert fault.startswith("training.clip_norm: ")
    assert shown(value) in fault
