"""Networks: shapes, parameter counts, and initial weights that depend on seed, layer name and shape alone."""

import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.models.model_cases import by_size, choices, form
from tests.trainables.small_trials import prepared_digits
from trainables.config import resolve
from trainables.models.base import Model
from trainables.models.build import build_network
from trainables.models.initializers import initialize
from trainables.models.resnet import ResNet18
from trainables.models.small_cnn import SmallCNN
from trainables.registry import MODELS

SIDES = (8, 28, 32, 48, 64, 65, 112)
SMALL = {"dataset.name": "digits", "model.name": "small_cnn"}


def points_of(model: Model) -> int:
    return 10 if model.landmarks else 0


def fitting(model: Model, channels: int = 1) -> tuple[int, int, int]:
    """The first shape of pictures that the network takes."""
    shapes = [(channels, side, side) for side in SIDES]
    return next(shape for shape in shapes if model.misfit(shape, points_of(model)) is None)


def network(settings: dict[str, Any], seed: int = 0) -> nn.Module:
    """As a trial on the digits builds it."""
    return build_network(resolve(SMALL, settings), prepared_digits().info, seed)


def started(model: Model, seed: int) -> nn.Module:
    """The network with its initial weights, from parameters that were not even numbers before."""
    with torch.device("meta"):
        built = model.build(fitting(model), 10, points_of(model))
    built.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.fill_(math.nan)
    initialize(built, model, seed)
    return built


def weights(network: nn.Module) -> dict[str, Tensor]:
    """Every parameter by its name in the bare network."""
    return {name.replace(".layer.", "."): value.detach() for name, value in network.named_parameters()}


def agree(mine: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    """Bit-equal wherever both have a parameter of that name."""
    names = set(mine) & set(theirs)
    assert names
    return all(mine[name].equal(theirs[name]) for name in names)


def test_the_registry_of_networks_is_not_empty() -> None:
    assert MODELS
    assert all(model().name == name for name, model in MODELS.items())


@pytest.mark.parametrize(
    ("name", "settings"), [form(*each) for each in choices() if "initial_weights" not in each[1]], ids=str
)
def test_every_network_takes_every_size_that_it_says_it_takes(name: str, settings: dict[str, Any]) -> None:
    model = MODELS[name].model_validate(settings)
    shapes = [(3, *size) for size in [*zip(SIDES, SIDES, strict=True), (9, 31)]]  # channels: test_models_shapes.py
    points, taken = points_of(model), 0
    for shape in shapes:
        with torch.device("meta"):
            if fault := model.misfit(shape, points):
                with pytest.raises(ValueError, match=re.escape(fault)):
                    model.build(shape, 7, points)
                continue
            outputs = model.build(shape, 7, points).eval()(torch.zeros(2, *shape))
        given = [tuple(part.shape) for part in (outputs if isinstance(outputs, tuple) else [outputs])]
        assert given == [(2, 7)] * model.classifies + [(2, points)] * model.landmarks
        taken += 1
    assert taken


@pytest.mark.parametrize("name", by_size(MODELS))
def test_every_network_s_rows_are_independent_in_evaluation(name: str) -> None:
    model = MODELS[name]()
    built, images = started(model, 0), torch.rand(3, *fitting(model), generator=torch.Generator().manual_seed(0))
    for norm in [module for module in built.modules() if isinstance(module, nn.BatchNorm2d)]:
        norm.momentum = None  # one training pass sets the running statistics, without which deep networks fade out
    with torch.no_grad():
        built.train()(images)
        built.eval()
        all_three, alone = (torch.cat(_parts(built(rows)), 1) for rows in (images, images[1:2]))
    itself, another = ((all_three[row] - alone[0]).abs().max() for row in (1, 0))
    assert itself < 0.01 * another


def _parts(outputs: Tensor | tuple[Tensor, ...]) -> list[Tensor]:
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def test_resnet18_s_small_stem_keeps_the_picture_s_size() -> None:
    built = ResNet18().build((1, 8, 8), 10)
    stem = nn.Sequential(built.conv1, built.bn1, built.relu, built.maxpool)
    assert stem(torch.zeros(2, 1, 8, 8)).shape == (2, 64, 8, 8)


def test_small_cnn_counts_as_by_hand() -> None:
    by_hand = (1 * 9 + 1) * 16 + (16 * 9 + 1) * 32 + (32 * 2 * 2 + 1) * 64 + (64 + 1) * 10
    assert sum(p.numel() for p in SmallCNN().build((1, 8, 8), 10).parameters()) == by_hand == 13_706


def test_small_cnn_pools_only_while_a_side_is_left() -> None:
    built = SmallCNN(channels=(4, 4, 4, 4, 4)).build((1, 8, 8), 10)
    assert [name for name, _ in built.named_children() if name.startswith("pool")] == ["pool1", "pool2", "pool3"]


def test_placing_batch_norm_and_dropout_moves_no_initial_weight() -> None:
    bare = weights(network({}))
    placed = {"model.bn_after": ["conv1", "fc1"], "model.dropout_after": ["conv2", "relu_fc1"]}
    with_both = weights(network(placed))
    assert set(bare) < set(with_both)
    assert agree(bare, with_both)


def test_placing_inside_a_resnet_moves_no_initial_weight() -> None:
    bare = weights(network({"model.name": "resnet18"}))
    placed = weights(network({"model.name": "resnet18", "model.dropout_after": ["layer1.0.conv1", "layer2"]}))
    assert set(bare) == set(placed)
    assert agree(bare, placed)


def test_widening_one_layer_moves_no_weight_of_layers_whose_shape_stays() -> None:
    narrow, wide = (weights(network({"model.channels": [8, n]})) for n in (16, 24))
    unconcerned = ("conv1", "fc2")
    assert agree(*({k: v for k, v in start.items() if k.startswith(unconcerned)} for start in (narrow, wide)))
    assert narrow["conv2.weight"].shape != wide["conv2.weight"].shape


def test_drawing_initial_weights_leaves_the_global_generator_as_it_was() -> None:
    built = SmallCNN().build((1, 8, 8), 10)
    before = torch.get_rng_state()
    initialize(built, SmallCNN(), seed=3)
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize(("layer", "fan_in"), [("conv1", 9), ("conv2", 16 * 9), ("fc1", 128), ("fc2", 64)])
def test_small_cnn_starts_as_torch_does(layer: str, fan_in: int) -> None:
    """torch's Conv2d and Linear draw from U(−1/√fan_in, 1/√fan_in)."""
    value, bound = weights(network({}))[f"{layer}.weight"], 1 / math.sqrt(fan_in)
    assert bound * 0.95 < float(value.abs().max()) <= bound
    assert float(value.std()) == pytest.approx(bound / math.sqrt(3), rel=0.15)


def test_resnet18_starts_as_torchvision_does() -> None:
    """torchvision draws convolutions from N(0, 2 / fan_out) and starts batch norm as the identity."""
    start = weights(network({"model.name": "resnet18"}))
    for name, value in start.items():
        if value.ndim == 4:
            fan_out = value.shape[0] * value.shape[2] * value.shape[3]
            assert float(value.std()) == pytest.approx(math.sqrt(2 / fan_out), rel=0.1), name
    assert (start["layer1.0.bn1.weight"] == 1).all()
    assert (start["layer1.0.bn1.bias"] == 0).all()
