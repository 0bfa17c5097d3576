"""Networks of torchvision and timm by name: their counts are the libraries' own; channels, classes and sizes fit."""

import sys

import pytest
import torch
from torch import nn
from torchvision import models

from datasets.base import DatasetInfo
from engine.planning.config_checks import meta_network
from trainables.config import ConfigError, resolve
from trainables.models.libraries import names as library_names
from trainables.models.libraries.cost import cost
from trainables.models.libraries.image_sizes import size_fault
from trainables.models.libraries.models import TimmModel, TorchvisionModel
from trainables.models.libraries.weightless import without_memory
from trainables.registry import MODELS

NAMES = sorted(models.list_models(module=models))
TIMM = ("vit_tiny_patch16_224", "convnext_atto", "mobilenetv3_small_100")
FEW = {"resnet18", "squeezenet1_1", "regnet_x_400mf", "vit_b_32"}


def named(names):
    return [name if name in FEW else pytest.param(name, marks=pytest.mark.matrix) for name in names]


def info(side, classes=4, channels=3):
    names = tuple(f"c{number}" for number in range(classes))
    counts = {"train": (8,) * classes, "val": (2,) * classes, "test": (2,) * classes}
    zeros = (0.5,) * channels
    return DatasetInfo("made", names, (channels, side, side), counts, zeros, zeros, "f00d")


def test_every_classification_network_of_torchvision_has_a_name():
    assert len(NAMES) >= 80
    assert library_names.torchvision_names() == set(NAMES)


@pytest.mark.parametrize("name", named(NAMES))
def test_parameters_and_multiply_adds_are_those_that_torchvision_publishes(name):
    settings = TorchvisionModel(name=f"torchvision:{name}")
    published = next(iter(models.get_model_weights(name))).meta
    side = next(iter(models.get_model_weights(name))).transforms().crop_size[0]
    network = without_memory(lambda: settings.build((3, side, side), 1000))
    found = cost(network, (3, side, side))
    heads = 0  # torchvision counts Inception's auxiliary head, which is not built
    if name == "inception_v3":
        with torch.device("meta"):
            heads = sum(value.numel() for value in models.inception_v3(init_weights=False).AuxLogits.parameters())
    assert found.parameters == published["num_params"] - heads
    assert round(found.multiply_adds / 1e9, 3) == published["_ops"]


@pytest.mark.parametrize("name", named(NAMES))
def test_every_network_plans_at_64_or_says_what_it_needs(name):
    config = resolve({"dataset.name": "digits", "model.name": f"torchvision:{name}"})
    network, faults = meta_network(config, info(64))
    if name in ("inception_v3", "maxvit_t", "vit_h_14"):
        assert network is None
        assert "needs pictures" in faults[0]
    else:
        assert faults == []
        head = network.get_submodule(config.model.heads(network)[0])
        assert head.weight.shape[0] == 4


@pytest.mark.parametrize("name", ["resnet18", "vit_b_32", *(pytest.param(n, marks=pytest.mark.matrix) for n in NAMES)])
def test_one_channel_and_any_number_of_classes_fit(name):
    settings = TorchvisionModel(name=f"torchvision:{name}")
    side = settings.usual[0]
    network = without_memory(lambda: settings.build((1, side, side), 5)).eval()
    assert network(torch.zeros(2, 1, side, side, device="meta")).shape == (2, 5)
    assert network.train()(torch.zeros(2, 1, side, side, device="meta")).shape == (2, 5)


@pytest.mark.parametrize(
    ("name", "side", "said"),
    [
        pytest.param(
            "inception_v3", 64, "needs pictures of at least 75 × 75 pixels, not 64 × 64", marks=pytest.mark.matrix
        ),
        ("alexnet", 48, "needs pictures of at least 63 × 63 pixels, not 48 × 48"),
        pytest.param("maxvit_t", 64, "needs pictures of 224 × 224 pixels, not 64 × 64", marks=pytest.mark.matrix),
        ("vit_b_32", 65, "needs pictures of 64 × 64 or 96 × 96 pixels, not 65 × 65"),
    ],
)
def test_a_size_that_does_not_fit_names_the_nearest_that_does(name, side, said):
    config = resolve({"dataset.name": "digits", "model.name": f"torchvision:{name}"})
    assert meta_network(config, info(side))[1] == [f"model.name: torchvision:{name} {said}"]


def test_a_network_that_takes_no_size_at_all_gets_no_wrong_advice():
    class Broken(TorchvisionModel):
        def bare(self, image_shape, outputs, points):
            return nn.Sequential(nn.Flatten(), nn.Linear(7, outputs))

    assert size_fault(Broken(name="torchvision:resnet18"), (3, 64, 64), 4) is None


@pytest.mark.parametrize("name", ["torchvision:resnet19", "torchvision:", "timm:convnext_ato", "timm:resnet18.a9_in1k"])
def test_an_unknown_name_is_refused_with_the_nearest_in_a_line(name):
    if name.startswith("timm"):
        pytest.importorskip("timm")
    with pytest.raises(ConfigError) as caught:
        resolve({"dataset.name": "digits", "model.name": name})
    (fault,) = caught.value.faults
    assert fault.startswith(f"model.name: {name.partition(':')[0]} has no classification network")
    assert ("did you mean" if name != "torchvision:" else "; such as: alexnet, ") in fault
    assert len(fault) < 3 * 130


@pytest.mark.parametrize("name", ["torchvision.py:Net", "timm/timm.py:Net", "torchvision.models:resnet18"])
def test_a_file_or_module_called_nearly_as_a_library_is_the_user_s_own(name):
    assert MODELS.find(name) is MODELS.own
    assert MODELS.find("torchvisio.x:Net") is None


def test_weights_of_no_architecture_name_the_nearest_of_the_libraries():
    settings = {"model.name": "torchvision:resnet18", "model.weights_file.efficientnet_bo": "weights.pth"}
    with pytest.raises(ConfigError, match="unknown architecture 'efficientnet_bo'; did you mean 'efficientnet_b0'"):
        resolve({"dataset.name": "digits", **settings})


def test_of_names_as_near_as_each_other_the_first_is_told():
    fault = library_names.unknown("efficientnet_bo", "torchvision", library_names.torchvision_names())
    assert "did you mean 'efficientnet_b0'? near: efficientnet_b0, efficientnet_b1, " in fault


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("efficientnet_b0", "did you mean 'torchvision:efficientnet_b0'"),
        ("torchvison:resnet18", "did you mean 'torchvision:NAME'?"),
        ("Timm:convnext_atto", "did you mean 'timm:NAME'?"),
        ("mine.py", "stage1, torchvision:NAME, timm:NAME, FILE.py:NAME"),
    ],
)
def test_a_library_s_network_that_is_named_nearly_right_is_told_its_name(name, said):
    with pytest.raises(ConfigError) as caught:
        resolve({"dataset.name": "digits", "model.name": name})
    assert said in caught.value.faults[0]


def test_without_timm_its_names_say_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    library_names.timm_names.cache_clear()
    with pytest.raises(ConfigError, match="pip install timm"):
        resolve({"dataset.name": "digits", "model.name": "timm:convnext_atto"})
    monkeypatch.undo()
    library_names.timm_names.cache_clear()


def test_bn_and_dropout_are_placed_by_the_names_that_layers_lists():
    settings = {"model.bn_after": ["features.1.0.block.0"], "model.dropout_after": ["avgpool"]}
    config = resolve({"dataset.name": "digits", "model.name": "torchvision:efficientnet_b0", **settings})
    network, faults = meta_network(config, info(64))
    assert faults == []
    assert isinstance(network.get_submodule("avgpool.dropout"), nn.Dropout)
    wrong = resolve({"dataset.name": "digits", "model.name": "torchvision:resnet18", "model.bn_after": ["layer5"]})
    assert "no layer 'layer5'" in meta_network(wrong, info(64))[1][0]


@pytest.mark.parametrize("name", TIMM)
def test_timm_adapts_channels_classes_and_image_size(name):
    pytest.importorskip("timm")
    settings = TimmModel(name=f"timm:{name}")
    network = without_memory(lambda: settings.build((1, 64, 64), 5))
    assert network.eval()(torch.zeros(2, 1, 64, 64, device="meta")).shape == (2, 5)
    assert [network.get_submodule(head).weight.shape[0] for head in settings.heads(network)] == [5]
    assert settings.usual == (224, 1000)


def test_attention_is_counted_whether_it_is_fused_or_not():
    layers = pytest.importorskip("timm.layers")
    settings = TimmModel(name="timm:vit_tiny_patch16_224")
    counts = set()
    try:
        for fused in (True, False):
            layers.set_fused_attn(fused)
            for build in (without_memory, lambda make: make()):
                counts.add(cost(build(lambda: settings.build((3, 64, 64), 10)), (3, 64, 64)).multiply_adds)
    finally:
        layers.set_fused_attn(True)
    assert len(counts) == 1
    tokens, width, blocks = 17, 192, 12
    attention = 2 * tokens * tokens * width
    linear = tokens * (4 + 8) * width * width
    assert counts == {blocks * (attention + linear) + 16 * 16 * 16 * 3 * width + width * 10}


def test_counting_changes_nothing_of_a_network():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.Flatten(), nn.Linear(2 * 36, 3))
    network[1].eval()
    before, drawn = {key: value.clone() for key, value in network.state_dict().items()}, torch.get_rng_state()
    found = cost(network, (1, 8, 8))
    assert found.layers == {"0": 9 * 2 * 36, "4": 2 * 36 * 3}
    assert found.multiply_adds == sum(found.layers.values())
    assert all(value.equal(before[key]) for key, value in network.state_dict().items())
    assert torch.get_rng_state().equal(drawn)
    assert [module.training for module in network] == [True, False, True, True, True]
