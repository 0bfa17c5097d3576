"""Batch norm and dropout can follow the layers of every network, and a training step still passes through them."""

from typing import Any

import pytest
import torch
from torch import nn

from tests.trainables.models.model_cases import case, logits_of
from trainables.models.googlenet import GoogLeNet
from trainables.models.initializers import initialize
from trainables.models.placement import Placed, PlacementError, place
from trainables.registry import MODELS

SOURCES_SITES: list[tuple[str, dict[str, Any], dict[str, tuple[str, ...]]]] = [
    (
        "stage3",
        {},
        {
            "bn_after": ("conv1_1", "conv2_1", "conv2_2", "conv3_1", "conv3_2"),
            "dropout_after": ("flatten", "flatten_cls"),
        },
    ),
    ("stage1", {}, {"bn_after": ("conv1_1", "conv2_2", "conv3_2"), "dropout_after": ("flatten",)}),
    ("nin", {}, {"bn_after": ("conv1", "cccp1", "cccp7"), "dropout_after": ("relu_cccp6", "pool1")}),
    ("vgg19", {}, {"bn_after": ("features.0", "classifier.0"), "dropout_after": ("features.36", "avgpool")}),
    ("googlenet", {"batch_norm": False}, {"bn_after": ("conv1.conv", "inception5b"), "dropout_after": ("avgpool",)}),
    ("expression_cnn", {}, {"bn_after": ("conv1", "conv3"), "dropout_after": ("flatten", "relu_fc1")}),
    ("resnet34", {}, {"bn_after": ("layer3.5.conv2",), "dropout_after": ("avgpool", "layer1.0.bn2")}),
    ("ultranet18", {}, {"bn_after": ("layer2.0.se",), "dropout_after": ("layer1.0.conv3", "layer4.1.relu2")}),
]


def trains(network: nn.Module, pictures: torch.Tensor, settings: Any) -> bool:
    """Whether one pass back reaches every parameter; without memory, so only what autograd checks is checked."""
    outputs = logits_of(network.train()(pictures), settings)
    torch.stack([output.sum() for output in outputs]).sum().backward()
    return all(value.grad is not None for value in network.parameters())


@pytest.mark.parametrize(("name", "settings", "sites"), SOURCES_SITES, ids=lambda value: value if value else "")
def test_the_sites_of_the_sources_can_be_placed_and_trained(
    name: str, settings: dict[str, Any], sites: dict[str, tuple[str, ...]]
) -> None:
    tried = case(name, **settings, **sites)
    with torch.device("meta"):
        network = tried.build()
        place(network, tried.settings, tried.shape)
    placed = {module.site for module in network.modules() if isinstance(module, Placed)}
    assert placed == {*sites["bn_after"], *sites["dropout_after"]}
    assert trains(network, tried.blank(4), tried.settings)


@pytest.mark.parametrize("relu_on_output", [False, pytest.param(True, marks=pytest.mark.matrix)])
@pytest.mark.parametrize("name", MODELS)
def test_every_convolution_and_linear_layer_of_every_network_can_be_followed(name: str, relu_on_output: bool) -> None:
    bare = case(name).meta()
    sites = tuple(
        name
        for name, module in bare.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and not name.startswith("aux")
    )
    tried = case(name, bn_after=sites, dropout_after=sites, relu_on_output=relu_on_output)
    with torch.device("meta"):
        network = tried.build()
        place(network, tried.settings, tried.shape)
    assert sum(isinstance(module, Placed) for module in network.modules()) == len(sites) > 3
    assert trains(network, tried.blank(4), tried.settings)


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("vgg19", "resnet34", "resnet50")])
def test_a_placed_network_s_initial_weights_are_those_of_the_bare_one(name: str) -> None:
    bare = case(name)
    site = bare.settings.output_layers[-1]
    placed = case(name, dropout_after=(site,), bn_after=(site,))
    states = []
    for tried in (bare, placed):
        network = tried.build()
        initialize(network, tried.settings, 0)
        place(network, tried.settings, tried.shape)
        states.append({key.replace(".layer.", "."): value for key, value in network.state_dict().items()})
    assert set(states[0]) < set(states[1])
    assert all(value.equal(states[1][key]) for key, value in states[0].items())


def test_auxiliary_heads_work_in_training_only_and_cannot_be_followed() -> None:
    settings = GoogLeNet(dropout_after=("aux1.fc1",))
    with torch.device("meta"), pytest.raises(PlacementError, match=r"model\.dropout_after: no layer 'aux1.fc1'"):
        place(settings.build((3, 64, 64), 5), settings, (3, 64, 64))
