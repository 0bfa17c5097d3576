"""Networks: shapes, parameter counts, and initial weights that depend on seed, layer name and shape alone."""

import math
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
import torchvision
from torch import Tensor, nn

from trainables.config import resolve
from trainables.initializers import initialize
from trainables.learner import build_network
from trainables.models.base import Model
from trainables.models.resnet import ResNet18
from trainables.models.small_cnn import SmallCNN
from trainables.registry import MODELS


def variants() -> list[Model]:
    """Every registered network by default, and with each other choice of each setting that is a choice of names."""
    made = []
    for model in MODELS.values():
        made.append(model())
        for key, field in model.model_fields.items():
            if get_origin(field.annotation) is Literal:
                made += [model.model_validate({key: value}) for value in get_args(field.annotation)[1:]]
    return made


def network(settings: dict[str, Any], seed: int = 0, shape: tuple[int, int, int] = (1, 8, 8)) -> nn.Module:
    return build_network(resolve({"dataset.name": "digits", **settings}), shape, 10, seed)


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


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (48, 48), (65, 65), (9, 31)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("model", variants(), ids=repr)
def test_every_network_takes_every_size_and_gives_one_logit_a_class(
    model: Model, channels: int, size: tuple[int, int]
) -> None:
    with torch.device("meta"):
        built = model.build((channels, *size), 7)
        assert built.eval()(torch.zeros(2, channels, *size)).shape == (2, 7)
    assert isinstance([module for module in built.modules() if not list(module.children())][-1], nn.Linear)


@pytest.mark.parametrize("model", variants(), ids=repr)
def test_every_network_s_rows_are_independent_in_evaluation(model: Model) -> None:
    built = model.build((1, 8, 8), 4).eval()
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert built(images)[1:2].allclose(built(images[1:2]), atol=1e-6)


def test_resnet18_with_its_published_stem_is_torchvision_s() -> None:
    ours = ResNet18(stem="imagenet").build((3, 224, 224), 1000)
    theirs = torchvision.models.resnet18()
    assert sum(p.numel() for p in ours.parameters()) == 11_689_512
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}


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


@pytest.mark.parametrize("name", MODELS)
def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before(name: str) -> None:
    first = weights(network({"model.name": name}))
    torch.rand(100)
    assert agree(first, weights(network({"model.name": name})))


@pytest.mark.parametrize("name", MODELS)
def test_another_seed_gives_other_weights_in_every_layer(name: str) -> None:
    first, second = (weights(network({"model.name": name}, seed)) for seed in (0, 1))
    matrices = [key for key, value in first.items() if value.ndim > 1]
    assert matrices
    assert [key for key in matrices if first[key].equal(second[key])] == []


@pytest.mark.parametrize("name", MODELS)
def test_no_two_layers_of_one_shape_start_alike(name: str) -> None:
    matrices = [value for value in weights(network({"model.name": name})).values() if value.ndim > 1]
    assert len({value.flatten()[0].item() for value in matrices}) == len(matrices)


def test_placing_batch_norm_and_dropout_moves_no_initial_weight() -> None:
    bare = weights(network({"model.name": "small_cnn"}))
    placed = {"model.bn_after": ["conv1", "fc1"], "model.dropout_after": ["conv2", "relu_fc1"]}
    with_both = weights(network({"model.name": "small_cnn", **placed}))
    assert set(bare) < set(with_both)
    assert agree(bare, with_both)


def test_placing_inside_a_resnet_moves_no_initial_weight() -> None:
    bare = weights(network({"model.name": "resnet18"}))
    placed = weights(network({"model.name": "resnet18", "model.dropout_after": ["layer1.0.conv1", "layer2"]}))
    assert set(bare) == set(placed)
    assert agree(bare, placed)


def test_widening_one_layer_moves_no_weight_of_layers_whose_shape_stays() -> None:
    narrow, wide = (weights(network({"model.name": "small_cnn", "model.channels": [8, n]})) for n in (16, 24))
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
    value, bound = weights(network({"model.name": "small_cnn"}))[f"{layer}.weight"], 1 / math.sqrt(fan_in)
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
