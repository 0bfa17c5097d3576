"""Batch norm and dropout stand exactly where they were asked for, or the request is refused with every reason."""

import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm

from trainables.models.base import Model
from trainables.models.placement import Placed, PlacementError, place
from trainables.models.resnet import ResNet18
from trainables.models.small_cnn import SmallCNN
from trainables.models.vgg import VGG19

SHAPE = (1, 8, 8)


def placed(settings: Model) -> nn.Module:
    network = settings.build(SHAPE, 10)
    place(network, settings, SHAPE)
    return network


def refused(settings: Model) -> list[str]:
    network = settings.build(SHAPE, 10)
    with pytest.raises(PlacementError) as caught:
        place(network, settings, SHAPE)
    assert not any(isinstance(module, Placed) for module in network.modules())
    return caught.value.faults


def children(network: nn.Module, site: str) -> list[str]:
    return [name for name, _ in network.get_submodule(site).named_children()]


def test_nothing_asked_for_changes_nothing() -> None:
    assert str(placed(SmallCNN())) == str(SmallCNN().build(SHAPE, 10))


def test_batch_norm_after_a_convolution_has_its_channels_in_two_dimensions() -> None:
    network = placed(SmallCNN(bn_after=("conv2",)))
    assert children(network, "conv2") == ["layer", "bn"]
    norm = network.get_submodule("conv2.bn")
    assert type(norm) is nn.BatchNorm2d
    assert norm.num_features == 32
    assert sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()) == 1


@pytest.mark.parametrize(("site", "features"), [("fc1", 64), ("flatten", 128)])
def test_batch_norm_after_a_flat_layer_has_one_dimension(site: str, features: int) -> None:
    norm = placed(SmallCNN(bn_after=(site,))).get_submodule(f"{site}.bn")
    assert type(norm) is nn.BatchNorm1d
    assert norm.num_features == features


def test_the_order_is_layer_batch_norm_dropout() -> None:
    network = placed(SmallCNN(bn_after=("conv1",), dropout_after=("conv1",), dropout_rate=0.25))
    assert children(network, "conv1") == ["layer", "bn", "dropout"]
    assert network.get_submodule("conv1.dropout").p == 0.25


def test_a_placed_layer_computes_batch_norm_of_the_layer() -> None:
    conv = placed(SmallCNN(bn_after=("conv1",))).get_submodule("conv1").train()
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    bare = conv.layer(images)
    assert conv(images).allclose(batch_norm(bare, None, None, training=True), atol=1e-6)


def test_dropout_drops_in_training_and_scales_what_stays() -> None:
    sequence = placed(SmallCNN(dropout_after=("flatten",), dropout_rate=0.75)).get_submodule("flatten").train()
    given = sequence(torch.ones(64, 1, 16, 16))
    assert set(given.unique().tolist()) == {0.0, 4.0}
    assert float((given == 0).float().mean()) == pytest.approx(0.75, abs=0.02)
    assert (sequence.eval()(torch.ones(64, 1, 16, 16)) == 1).all()


def test_an_unknown_layer_is_refused_with_the_nearest_name() -> None:
    assert "did you mean 'conv1'?" in refused(SmallCNN(bn_after=("conv_1",)))[0]
    assert "no layer 'conv_1'" in refused(SmallCNN(dropout_after=("conv_1",)))[0]


@pytest.mark.parametrize(
    ("settings", "near"),
    [
        (ResNet18(bn_after=("layer1.0.conv3",)), "'layer1.0.conv2'"),
        (ResNet18(dropout_after=("nothing_like_it",)), "62 more"),
        (VGG19(batch_norm=True, bn_after=("features.99",)), "--set model.batch_norm=true`"),
        (SmallCNN(channels=(4,) * 30, bn_after=("conv99",)), "--set 'model.channels=[4, 4"),
    ],
    ids=["near", "far", "of a form", "of a large small one"],
)
def test_a_wrong_layer_of_a_large_network_is_a_short_fault_that_names_the_command(settings: Model, near: str) -> None:
    shape = (3, 32, 32)
    with torch.device("meta"):
        network = settings.build(shape, 10)
        with pytest.raises(PlacementError) as caught:
            place(network, settings, shape)
    (fault,) = caught.value.faults
    assert len(fault) < 3 * 110 + 90 * isinstance(settings, SmallCNN)  # whose command repeats thirty channels
    assert near in fault
    assert f"python run_search.py layers {settings.name} --image-size 32" in fault


def test_a_layer_that_one_pass_uses_twice_is_refused() -> None:
    assert "'layer1.0.relu' is used 2 times in one pass" in refused(ResNet18(dropout_after=("layer1.0.relu",)))[0]


def test_every_fault_is_reported_at_once() -> None:
    faults = refused(SmallCNN(bn_after=("convv1", "conv1", "nonsense"), dropout_after=("flaten",)))
    assert [fault.split("'")[1] for fault in faults] == ["convv1", "nonsense", "flaten"]
    assert [fault.split(":")[0] for fault in faults] == ["model.bn_after", "model.bn_after", "model.dropout_after"]


def test_a_nested_layer_and_a_container_can_be_followed() -> None:
    network = placed(ResNet18(bn_after=("layer1.0.conv1",), dropout_after=("layer2",)))
    assert children(network, "layer1.0.conv1") == ["layer", "bn"]
    assert children(network, "layer2") == ["layer", "dropout"]
    assert network(torch.zeros(2, *SHAPE)).shape == (2, 10)


@pytest.mark.parametrize("sites", [("layer1", "layer1.0.conv1"), ("layer1.0.conv1", "layer1")])
def test_a_container_and_a_layer_inside_it_can_both_be_followed(sites: tuple[str, ...]) -> None:
    network = placed(ResNet18(dropout_after=sites))
    assert {module.site for module in network.modules() if isinstance(module, Placed)} == set(sites)
    assert network(torch.zeros(2, *SHAPE)).shape == (2, 10)


def test_placing_works_without_memory_for_the_weights() -> None:
    with torch.device("meta"):
        network = placed(ResNet18(bn_after=("layer1.0.conv1",), dropout_after=("layer4",)))
        assert network(torch.zeros(2, *SHAPE)).shape == (2, 10)
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}


def test_placing_leaves_the_network_in_its_mode_and_the_running_statistics_untouched() -> None:
    network = placed(ResNet18(dropout_after=("layer1",)))
    assert network.training
    assert int(network.bn1.num_batches_tracked) == 0


def test_every_layer_of_the_small_network_can_be_followed() -> None:
    names = [name for name, _ in SmallCNN().build(SHAPE, 10).named_children()]
    network = placed(SmallCNN(bn_after=tuple(names), dropout_after=tuple(names)))
    assert [children(network, name) for name in names] == [["layer", "bn", "dropout"]] * len(names)
    assert network(torch.zeros(2, *SHAPE)).shape == (2, 10)
