"""The exponential moving average of the weights against a loop by hand: what it averages, and who uses it."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core.value_words import shown
from tests.trainables.small_trials import EVERYTHING, small_learner
from trainables.config import ConfigError, resolve
from trainables.training import diagnostics, verification
from trainables.training.averaging import Averaged
from trainables.training.learner import Learner
from trainables.trial import checkpoint_file

Patch = pytest.MonkeyPatch
State = dict[str, Tensor]
EMA = {"training.ema": 0.8}
NORMED = {"model.bn_after": ["conv1", "fc1"], "optimizer.momentum": 0.9}


def trained(settings: dict[str, Any], epochs: int = 2) -> Learner:
    learner = small_learner(settings)
    for _ in range(epochs):
        learner.train_epoch()
    return learner


def copied(network: nn.Module) -> State:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(mine: State, theirs: State) -> bool:
    return mine.keys() == theirs.keys() and all(value.equal(theirs[name]) for name, value in mine.items())


def by_hand(learner: Learner, decay: float, epochs: int) -> State:
    """Trains, and averages whatever has a fraction after every step."""
    average, step = State(), learner.step

    def spied(*arguments: Any) -> Tensor:
        loss = step(*arguments)
        for name, value in copied(learner.network).items():
            blend = name in average and value.is_floating_point()
            average[name] = decay * average[name] + (1 - decay) * value if blend else value
        return loss

    learner.step = spied  # type: ignore[method-assign]
    for _ in range(epochs):
        learner.train_epoch()
    return average


@pytest.mark.parametrize("settings", [{}, NORMED, EVERYTHING], ids=["plain", "batch norm", "everything on"])
@pytest.mark.parametrize("decay", [0.3, 0.8, 0.999])
def test_the_average_is_that_of_a_loop_by_hand(decay: float, settings: dict[str, Any]) -> None:
    learner = small_learner({**settings, "training.ema": decay})
    expected, found = by_hand(learner, decay, 3), learner.evaluated.state_dict()
    assert expected.keys() == found.keys() == learner.network.state_dict().keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert found[name].allclose(value, rtol=1e-4, atol=1e-6), name
    assert not same(found, learner.network.state_dict())


def test_batch_norm_counts_its_batches_in_the_averaged_network_too() -> None:
    state = trained({**NORMED, "training.ema": 0.99}, epochs=3).evaluated.state_dict()
    assert [int(value) for name, value in state.items() if name.endswith("num_batches_tracked")] == [9, 9]


@pytest.mark.parametrize("settings", [{}, NORMED, EVERYTHING], ids=["plain", "batch norm", "everything on"])
def test_training_is_bit_for_bit_that_of_a_trial_without_an_average(settings: dict[str, Any]) -> None:
    raw, learner = small_learner(settings), small_learner({**settings, **EMA})
    for _ in range(3):
        assert learner.train_epoch() == raw.train_epoch()
        assert learner.evaluate("val") != raw.evaluate("val")
        assert same(copied(learner.network), copied(raw.network))
    assert raw.average is None
    assert same(raw.evaluated.state_dict(), copied(raw.network))


@pytest.mark.parametrize("settings", [NORMED, EVERYTHING], ids=["batch norm", "everything on"])
def test_metrics_outputs_and_predictions_are_those_of_a_plain_network_with_the_averaged_weights(
    settings: dict[str, Any],
) -> None:
    learner, plain = trained({**settings, **EMA}), small_learner(settings)
    plain.network.load_state_dict(learner.evaluated.state_dict())
    for split in ("train", "val", "test"):
        assert learner.evaluate(split) == plain.evaluate(split)
        assert same(learner.predictions(split), plain.predictions(split))
        pairs = zip(learner.outputs(split), plain.outputs(split), strict=True)
        assert all(mine.equal(theirs) for (mine, _), (theirs, _) in pairs)
    plain.network.load_state_dict(learner.network.state_dict())
    assert learner.evaluate("test") != plain.evaluate("test")


@pytest.mark.parametrize("average", [{}, EMA], ids=["off", "on"])
def test_an_evaluated_state_is_evaluated_again_wherever_it_is_loaded(average: dict[str, Any], tmp_path: Path) -> None:
    settings = {**NORMED, **average}
    learner = trained(settings, epochs=1)
    checkpoint_file.save({"model": learner.evaluated.state_dict()}, tmp_path / "best.pt")
    best = learner.predictions("test")
    learner.train_epoch()
    raw = copied(learner.network)
    assert not same(learner.predictions("test"), best)
    saved = checkpoint_file.load(tmp_path / "best.pt")
    assert saved is not None
    learner.evaluated.load_state_dict(saved["model"])
    assert same(learner.predictions("test"), best)
    assert same(copied(learner.network), raw) == bool(average)
    other = small_learner(settings)
    other.evaluated.load_state_dict(saved["model"])
    assert same(other.predictions("test"), best)


@pytest.mark.parametrize("epoch", [1, 2, 3])
@pytest.mark.parametrize("settings", [{}, NORMED, EVERYTHING], ids=["plain", "batch norm", "everything on"])
def test_a_learner_restored_from_its_checkpoint_continues_bit_for_bit(
    settings: dict[str, Any], epoch: int, tmp_path: Path
) -> None:
    settings = {**settings, **EMA, "training.clip_norm": 0.5, "training.epochs": 4}
    undisturbed, dropped = trained(settings, epoch), trained(settings, epoch)
    checkpoint_file.save(dropped.state_dict(), tmp_path / "last.pt")
    state, resumed = checkpoint_file.load(tmp_path / "last.pt"), small_learner(settings)
    assert state is not None
    resumed.load_state_dict(state)
    assert resumed.evaluate("val") == undisturbed.evaluate("val")
    for _ in range(epoch, 4):
        assert resumed.train_epoch() == undisturbed.train_epoch()
        assert resumed.evaluate("val") == undisturbed.evaluate("val")
    assert same(copied(resumed.network), copied(undisturbed.network))
    assert same(resumed.evaluated.state_dict(), undisturbed.evaluated.state_dict())
    assert resumed.average is not None
    assert int(resumed.average.n_averaged) == 12


def test_a_fork_takes_its_parent_s_average_over_and_starts_one_from_its_weights_where_there_is_none() -> None:
    parent, stranger = trained(EMA), trained({})
    child = small_learner({"training.ema": 0.5})
    child.load_state_dict(copy.deepcopy(parent.state_dict()))
    assert same(child.evaluated.state_dict(), parent.evaluated.state_dict())
    child.load_state_dict(copy.deepcopy(stranger.state_dict()))
    assert same(child.evaluated.state_dict(), copied(stranger.network))
    plain = small_learner()
    plain.load_state_dict(copy.deepcopy(parent.state_dict()))
    assert same(plain.evaluated.state_dict(), copied(parent.network))


def faults_of(learner: Learner, epochs: int = 1) -> list[str]:
    initial = {name: value.detach().clone() for name, value in learner.network.named_parameters()}
    for _ in range(epochs):
        learner.train_epoch()
    return verification.after_first_epoch(learner, initial)


@pytest.mark.parametrize("decay", [1e-9, 0.5, 0.9, 0.9999, 0.9999999])
@pytest.mark.parametrize("settings", [{}, EVERYTHING, {"training.batch_size": 96}], ids=["plain", "all", "one step"])
def test_an_average_that_works_verifies(decay: float, settings: dict[str, Any]) -> None:
    assert faults_of(small_learner({**settings, "training.ema": decay})) == []


def never_updated(patch: Patch) -> None:
    patch.setattr(Averaged, "update_parameters", lambda self, model: None)


def another_decay(patch: Patch) -> None:
    patch.setattr("trainables.training.learner.Averaged", lambda network, decay: Averaged(network, 0.95))


def only_copied(patch: Patch) -> None:
    patch.setattr("trainables.training.learner.Averaged", lambda network, decay: Averaged(network, 0.0))


def not_evaluated(patch: Patch) -> None:
    patch.setattr(Learner, "evaluated", property(lambda self: self.network))


def never_made(patch: Patch) -> None:
    made = Learner.__init__

    def forgetful(self: Learner, *arguments: Any) -> None:
        made(self, *arguments)
        self.average = None

    patch.setattr(Learner, "__init__", forgetful)


# sabotage: what the fault says
SABOTAGE: dict[Callable[[Patch], None], str] = {
    never_updated: "0 of 3 steps were averaged",
    another_decay: "0.8 was asked for, the average keeps 0.95 of itself a step",
    only_copied: "0.8 was asked for, the average keeps 0 of itself a step",
    not_evaluated: "evaluation does not use the averaged weights",
    never_made: "no average of the weights was kept",
}


@pytest.mark.parametrize("sabotage", SABOTAGE, ids=lambda sabotage: sabotage.__name__)
def test_an_average_that_does_nothing_is_a_fault(sabotage: Callable[[Patch], None], monkeypatch: Patch) -> None:
    sabotage(monkeypatch)
    assert f"training.ema: {SABOTAGE[sabotage]}" in faults_of(small_learner(EMA))


@pytest.mark.parametrize("value", [-1e3, float("nan")])
def test_training_that_stands_still_or_diverged_is_no_idle_average(value: float) -> None:
    learner = small_learner({**EMA, **NORMED})
    with torch.no_grad():
        learner.network.get_parameter("conv2.bias").fill_(value)
        learner.network.get_parameter("fc1.layer.bias").fill_(value)
    assert [fault for fault in faults_of(learner) if "training.ema" in fault] == []


def test_verifying_leaves_the_average_and_its_hooks_as_they_were() -> None:
    learner = trained({**EMA, **NORMED}, epochs=1)
    before = copied(learner.evaluated), copied(learner.network)
    verification.after_first_epoch(learner, copied(learner.network))
    assert same(before[0], copied(learner.evaluated))
    assert same(before[1], copied(learner.network))
    assert not learner.evaluated._forward_hooks


def test_an_average_over_more_steps_than_the_trial_had_is_noted() -> None:
    assert verification.notes(trained({"training.ema": 0.99})) == [
        "training.ema 0.99: averages over about 100 steps, of which there were 6"
    ]
    assert verification.notes(trained({"training.ema": 0.8})) == []


def test_diagnostics_are_those_of_the_trained_weights() -> None:
    rows = []
    for settings in ({}, EMA):
        learner = trained({**NORMED, **settings}, epochs=1)
        before = diagnostics.weights_of(learner.network)
        learner.train_epoch()
        learner.evaluate("val")
        rows.append(diagnostics.layer_rows(learner, before))
    assert rows[0] == rows[1]


def test_no_update_reads_a_number_back_from_the_device() -> None:
    """Tensors on "meta" have no values, so that reading one raises."""
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).to("meta")
    average = Averaged(network, 0.9)
    for _ in range(2):
        average.update_parameters(network)
    with pytest.raises(RuntimeError):
        float(average.module[0].bias.detach()[0])


@pytest.mark.parametrize("value", [-0.1, 1.0, "0.9", True])
def test_a_decay_that_is_none_is_refused_by_name_and_value(value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve({"dataset.name": "digits", "model.name": "small_cnn", "training.ema": value})
    (fault,) = caught.value.faults
    assert fault.startswith("training.ema: ")
    assert shown(value) in fault
