"""`model.trainable` and `optimizer.lr_backbone`: what is frozen stays as it was, its batch norms' statistics too."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.trainables.models.model_cases import case
from tests.trainables.small_trials import finish, small_learner, small_spec
from trainables.config import resolve
from trainables.effects import no_effect
from trainables.fused.stacked_model import UnfusableError, check
from trainables.models.freezing import freeze, last_stage
from trainables.models.libraries.models import TorchvisionModel
from trainables.models.libraries.weightless import without_memory
from trainables.training import verification
from trainables.training.learner import Learner
from trainables.trial.trial import VerificationError
from trainables.trial_key import configuration_key

STAGES = [
    ("resnet18", ["layer4"]),
    ("vgg11", ["classifier"]),
    ("vit_b_32", ["encoder.layers.encoder_layer_11", "encoder.ln"]),
    ("convnext_tiny", ["classifier", "features.7"]),
    ("swin_t", ["features.7", "norm"]),
    ("efficientnet_b0", ["features.8"]),
    ("regnet_x_400mf", ["trunk_output.block4"]),
]


def built(settings, side=64):
    return without_memory(lambda: settings.build((3, side, side), 4))


@pytest.mark.parametrize(("name", "stages"), STAGES)
def test_the_last_stage_is_what_stands_before_the_head_with_its_norm(name, stages):
    settings = TorchvisionModel(name=f"torchvision:{name}")
    network = built(settings)
    assert sorted(last_stage(network, settings.heads(network))) == stages


@pytest.mark.parametrize("name", ["small_cnn", "resnet18", "googlenet", "nin", "stage1", "stage3"])
def test_head_is_less_than_the_last_block_which_is_less_than_all(name):
    sizes = []
    for trainable in ("head", "last_block", "all"):
        tried = case(name, trainable=trainable)
        network = tried.meta()
        freeze(network, tried.settings)
        sizes.append(sum(value.numel() for value in network.parameters() if value.requires_grad))
    assert 0 < sizes[0] < sizes[1] < sizes[2]


def test_a_frozen_batch_norm_stays_in_evaluation_mode_in_every_copy():
    import copy

    tried = case("resnet18", trainable="last_block")
    network = tried.build()
    freeze(network, tried.settings)
    for each in (network, copy.deepcopy(network)):
        each.train()
        modes = {name: module.training for name, module in each.named_modules() if isinstance(module, nn.BatchNorm2d)}
        assert {name for name, training in modes.items() if training} == {n for n in modes if n.startswith("layer4")}
        before = each.bn1.running_mean.clone()
        each(tried.pictures(4) + 1)
        assert each.bn1.running_mean.equal(before)
    assert network.state_dict().keys() == tried.build().state_dict().keys()


@pytest.mark.parametrize(
    "settings", [{}, {"training.ema": 0.9, "training.clip_norm": 1.0, "diagnostics": True}], ids=str
)
def test_training_moves_nothing_that_is_frozen(settings):
    own = {"model.channels": [4, 8], "model.hidden": 16, "model.bn_after": ["conv1"], "model.trainable": "head"}
    trained: Learner = small_learner({**own, "training.epochs": 2, **settings})
    before = {name: value.clone() for name, value in trained.network.state_dict().items()}
    trained.train_epoch()
    after = trained.network.state_dict()
    moved = {name for name in before if not before[name].equal(after[name])}
    placed = {name for name in before if name.startswith("conv1.bn")}  # what is placed is new, and trained
    assert moved == {"fc2.weight", "fc2.bias", *placed}
    assert verification.after_first_epoch(trained, before) == []


def test_a_frozen_layer_that_moves_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("trainables.models.build.freeze", lambda network, settings: None)
    with pytest.raises(VerificationError, match=r"model.trainable: head was asked for, and no layer is frozen"):
        finish(small_spec(tmp_path, {"model.trainable": "head"}))


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adam_then_sgd"])
def test_head_and_backbone_have_their_own_rates_which_the_schedule_scales_alike(schedule, optimizer):
    settings = {"optimizer.name": optimizer, "optimizer.lr": 0.02, "optimizer.lr_backbone": 0.002}
    trained: Learner = small_learner({**settings, "schedule.name": schedule, "training.epochs": 4})
    for epoch in range(1, 5):
        trained.train_epoch(most=1)
        rates = {bool(group.get("backbone")): group["lr"] for group in trained.optimizer.param_groups}
        expected = trained.config.optimizer.lr_at(epoch, 4, trained.config.schedule)
        assert trained.lr == rates[False] == expected
        assert rates[True] == pytest.approx(expected / 10)
    heads = [value for name, value in trained.network.named_parameters() if name.startswith("fc2.")]
    groups = [group["params"] for group in trained.optimizer.param_groups if not group.get("backbone")]
    assert [id(value) for part in groups for value in part] == [id(value) for value in heads]


def test_a_backbone_s_rate_that_is_not_used_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    enter = Learner._enter_phase

    def one_rate(self: Learner) -> None:
        enter(self)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr

    monkeypatch.setattr(Learner, "_enter_phase", one_rate)
    with pytest.raises(VerificationError, match=r"optimizer.lr_backbone: gives 0.01"):
        finish(small_spec(tmp_path, {"optimizer.lr": 0.1, "optimizer.lr_backbone": 0.01}))


def test_the_state_of_an_optimizer_fits_with_and_without_a_rate_for_the_backbone():
    plain, own = (small_learner({"optimizer.name": "adam", **more}) for more in ({}, {"optimizer.lr_backbone": 0.001}))
    plain.train_epoch(most=2)
    own.load_state_dict(plain.state_dict())
    shapes = [
        [state["exp_avg"].shape for state in each.optimizer.state_dict()["state"].values()] for each in (plain, own)
    ]
    assert shapes[0] == shapes[1]
    own.train_epoch(most=1)


def test_a_rate_for_a_frozen_backbone_has_no_effect():
    settings = {"dataset.name": "digits", "model.name": "small_cnn", "optimizer.lr_backbone": 0.001}
    assert no_effect(resolve(settings), "optimizer.lr_backbone") is None
    frozen = resolve({**settings, "model.trainable": "head"})
    assert no_effect(frozen, "optimizer.lr_backbone") == 'model.trainable is "head"'


def test_cells_that_were_named_before_these_settings_keep_their_names():
    settings = {"dataset.name": "digits", "model.name": "small_cnn"}
    plain = configuration_key(resolve(settings))
    assert plain == configuration_key(resolve({**settings, "model.trainable": "all", "optimizer.lr_backbone": None}))
    assert plain != configuration_key(resolve({**settings, "model.trainable": "head"}))
    assert plain != configuration_key(resolve({**settings, "optimizer.lr_backbone": 0.1}))


def test_frozen_layers_are_trained_alone():
    tried = case("small_cnn", trainable="head")
    network = tried.build()
    freeze(network, tried.settings)
    with pytest.raises(UnfusableError, match="has no gradient"):
        check(network, (1, 8, 8))


def test_a_network_that_draws_in_its_own_way_is_trained_alone():
    class Noisy(nn.Sequential):
        def forward(self, images):
            outputs = super().forward(images)
            return outputs + 1e-9 * torch.rand(1, device=outputs.device) if self.training else outputs

    with pytest.raises(UnfusableError, match="draws random numbers"):
        check(Noisy(nn.Flatten(), nn.Linear(64, 3)), (1, 8, 8))
