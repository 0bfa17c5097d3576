"""Initial weights of every network: its source's distribution, one seed a layer, and a ReLU on the last layer."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model

from tests.trainables.models.model_cases import CLASSES, LARGE, Case, case, choices, form, logits_of
from trainables.models.initializers import initialize
from trainables.registry import MODELS

LARGEST = 5_000_000  # parameters of a layer that these tests draw: VGG's two hidden layers hold 120 million
LAYERS: list[tuple[str, dict[str, Any]]] = [("vgg19", {"batch_norm": True}), ("googlenet", {"batch_norm": False})]
FORMS: list[Any] = [
    pytest.param(name, settings, marks=[pytest.mark.matrix] if name in LARGE else [])
    for name, settings in [*((name, {}) for name in MODELS), *LAYERS]
]


def drawn(tried: Case, seed: int = 0, classes: int = CLASSES) -> nn.Module:
    """The network with its initial weights; layers above `LARGEST` stay without memory."""
    network = tried.meta(classes)
    for module in network.modules():
        if sum(value.numel() for value in module.parameters(recurse=False)) <= LARGEST:
            module.to_empty(device="cpu", recurse=False)
            for value in module.parameters(recurse=False):
                nn.init.constant_(value, math.nan)  # so that what initialization leaves out shows
    initialize(network, tried.settings, seed)
    return network


def values(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in network.named_parameters() if not value.is_meta}


def layers(network: nn.Module, *kinds: type[nn.Module]) -> dict[str, Any]:
    found: dict[str, Any] = {name: module for name, module in network.named_modules() if isinstance(module, kinds)}
    return {name: module for name, module in found.items() if not module.weight.is_meta}


@pytest.mark.parametrize(("name", "settings"), [form(*each) for each in [*choices(), *LAYERS]], ids=str)
def test_every_parameter_is_drawn_from_the_seed_and_the_layer_s_name_alone(name: str, settings: dict[str, Any]) -> None:
    tried = case(name, **settings)
    first = values(drawn(tried))
    torch.rand(100)
    again, other = values(drawn(tried)), values(drawn(tried, seed=1))
    assert [key for key in first if not first[key].isfinite().all() or not first[key].equal(again[key])] == []
    matrices = [key for key in first if first[key].ndim > 1]
    assert matrices
    assert [key for key in matrices if first[key].equal(other[key])] == []
    assert len({first[key].flatten()[0].item() for key in matrices}) == len(matrices)


@pytest.mark.parametrize(("name", "settings"), FORMS, ids=str)
def test_the_number_of_classes_moves_no_weight_of_other_layers(name: str, settings: dict[str, Any]) -> None:
    tried = case(name, **settings)
    few, many = (values(drawn(tried, classes=classes)) for classes in (CLASSES, 9))
    unequal = {key.rpartition(".")[0] for key in few if not few[key].equal(many[key])}
    heads = {"aux1.fc2", "aux2.fc2"} if name == "googlenet" else set()
    assert unequal == {layer for layer in tried.settings.output_layers if layer != "ip3"} | heads


def test_stage_1_and_stage_3_share_their_initial_weights() -> None:
    one, three = (values(drawn(case(name))) for name in ("stage1", "stage3"))
    assert set(one) < set(three)
    assert all(one[key].equal(three[key]) for key in one)


@pytest.mark.parametrize("form", [{"batch_norm": False}, {"true_5x5": True}], ids=str)
def test_googlenet_s_forms_share_what_has_the_same_shape_under_truncated_normal(form: dict[str, Any]) -> None:
    plain, other = (
        values(drawn(case("googlenet", initial_weights="truncated_normal", **settings))) for settings in ({}, form)
    )
    same = [key for key in plain if key in other and plain[key].shape == other[key].shape]
    assert len(same) > 50
    assert all(plain[key].equal(other[key]) for key in same)


def spread(weight: Tensor, expected: float) -> bool:
    """Whether standard deviation and mean fit a sample of this size, six standard errors allowed."""
    error, weight = 6 * expected / math.sqrt(weight.numel()), weight.detach()
    return abs(float(weight.std()) - expected) <= error and abs(float(weight.mean())) <= error


def fan_out(module: nn.Conv2d) -> int:
    return module.weight.shape[0] * module.weight[0, 0].numel()


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "vgg19"])
def test_convolutions_start_from_torchvision_s_normal_distribution(name: str) -> None:
    for network in (drawn(case(name, 3)), None if name == "vgg19" else get_model(name, weights=None)):
        for module in layers(network, nn.Conv2d).values() if network else ():
            assert spread(module.weight, math.sqrt(2 / fan_out(module)))
            assert module.bias is None or not module.bias.any()


@pytest.mark.parametrize("name", ["resnet50", "ultranet18"])
def test_a_resnet_s_last_layer_starts_as_torch_s(name: str) -> None:
    fc = layers(drawn(case(name)), nn.Linear)["fc"]
    bound = 1 / math.sqrt(fc.in_features)
    assert 0.9 * bound < float(fc.weight.detach().abs().max()) <= bound
    assert 0 < float(fc.bias.detach().abs().max()) <= bound


def test_ultranet18_starts_as_torchvision_s_resnet_starts_its_convolutions() -> None:
    convolutions = layers(drawn(case("ultranet18", 3)), nn.Conv2d)
    assert all(spread(module.weight, math.sqrt(2 / fan_out(module))) for module in convolutions.values())


def test_vgg19_s_linear_layers_start_small_with_zero_biases() -> None:
    last = layers(drawn(case("vgg19"), classes=100), nn.Linear)["classifier.6"]
    assert spread(last.weight, 0.01)
    assert not last.bias.any()


def test_googlenet_starts_from_torchvision_s_truncated_normal() -> None:
    theirs = get_model("googlenet", weights=None, aux_logits=True, init_weights=True)
    for network in (drawn(case("googlenet", 3)), theirs):
        found = layers(network, nn.Conv2d, nn.Linear)
        assert len(found) == 57 + 2 + 5
        if network is theirs:  # of which torch before 2.12 puts one number in 2^24 at the cut
            assert all(spread(module.weight[module.weight.abs() < 1], 0.01) for module in found.values())
        else:
            assert all(spread(module.weight, 0.01) for module in found.values())
        assert all(module.bias.any() for module in layers(network, nn.Linear).values())  # torch's, not set to zero


def test_googlenet_without_batch_norm_starts_as_torch_s_layers() -> None:
    for module in layers(drawn(case("googlenet", batch_norm=False)), nn.Conv2d).values():
        bound = 1 / math.sqrt(module.weight[0].numel())
        assert 0.9 * bound < float(module.weight.detach().abs().max()) <= bound
        assert module.bias.any()


def test_nin_starts_as_its_authors_drew_it() -> None:
    found = layers(drawn(case("nin", 3)), nn.Conv2d)
    small = {name for name, module in found.items() if spread(module.weight, 0.01)}
    assert small == {"conv1", "conv3", "cccp8"}
    assert all(spread(module.weight, 0.05) for name, module in found.items() if name not in small)
    assert not any(module.bias.any() for module in found.values())


@pytest.mark.parametrize(("name", "settings"), FORMS, ids=str)
def test_batch_norm_and_prelu_start_as_torch_s(name: str, settings: dict[str, Any]) -> None:
    network = drawn(case(name, initial_weights="truncated_normal", **settings))
    for norm in layers(network, nn.BatchNorm2d).values():
        assert (norm.weight == 1).all()
        assert not norm.bias.any()
        assert not norm.running_mean.any()
        assert (norm.running_var == 1).all()
    assert all((prelu.weight == 0.25).all() for prelu in layers(network, nn.PReLU).values())


@pytest.mark.parametrize(("name", "settings"), FORMS, ids=str)
def test_truncated_normal_weights_lie_within_their_cut_with_zero_biases(name: str, settings: dict[str, Any]) -> None:
    network = drawn(case(name, initial_weights="truncated_normal", **settings))
    found = layers(network, nn.Conv2d, nn.Linear)
    assert found
    for module in found.values():
        assert float(module.weight.detach().abs().max()) <= 2
        assert spread(module.weight, 0.01)
        assert module.bias is None or not module.bias.any()


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("vgg19", "resnet34", "resnet50")])
def test_a_relu_on_the_output_cuts_off_what_is_negative_and_changes_no_weight(name: str) -> None:
    plain, rectified = (case(name, relu_on_output=on) for on in (False, True))
    pictures = plain.pictures(4)
    with torch.no_grad():
        networks = [tried.build() for tried in (plain, rectified)]
        for network, tried in zip(networks, (plain, rectified), strict=True):
            initialize(network, tried.settings, 0)
            if name != "nin":  # its maps are rectified before they are averaged
                network.get_submodule(tried.settings.output_layers[-1]).bias[0] = -1.0
        assert list(networks[0].state_dict()) == list(networks[1].state_dict())
        assert all(
            mine.equal(theirs) for mine, theirs in zip(*(n.state_dict().values() for n in networks), strict=True)
        )
        bare, cut = (logits_of(n.eval()(pictures), plain.settings) for n in networks)
    assert any((output < 0).any() for output in bare)
    for before, after in zip(bare, cut, strict=True):
        assert (after >= 0).all()
        assert name == "nin" or after.equal(before.relu())


def test_a_relu_on_the_output_works_without_memory_for_the_weights() -> None:
    tried = case("vgg19", relu_on_output=True)
    network = tried.meta()
    assert network(tried.blank()).shape == (2, CLASSES)
    assert type(network.get_submodule("classifier.6")).__name__ == "RectifiedLinear"
