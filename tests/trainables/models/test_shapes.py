"""What every network takes, gives and refuses, and how many parameters it has."""

from typing import Any

import pytest
import torch
import torchvision
from pydantic import ValidationError
from torch import nn

from tests.trainables.models.model_cases import CLASSES, POINTS, case, logits_of
from trainables.models.base import Model
from trainables.models.googlenet import GoogLeNet
from trainables.models.networks.stage3 import Stage3Network
from trainables.models.nin import NiN
from trainables.models.resnet import ResNet18, ResNet34, ResNet50
from trainables.models.stage3 import Stage1, Stage3
from trainables.models.ultranet import UltraNet18
from trainables.models.vgg import VGG19
from trainables.registry import MODELS

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in MODELS),
    ("resnet50", {"stem": "imagenet"}),
    ("ultranet18", {"stem": "small"}),
    ("vgg19", {"batch_norm": True}),
    ("googlenet", {"batch_norm": False}),
    ("googlenet", {"true_5x5": True}),
    ("nin", {"last_width": 0}),
]


def parameters(network: nn.Module) -> int:
    return sum(value.numel() for value in network.parameters())


def shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in network.state_dict().items()}


def on_meta(settings: Model, shape: tuple[int, int, int], classes: int, points: int = 0) -> nn.Module:
    with torch.device("meta"):
        return settings.build(shape, classes, points)


def torchvision_s(architecture: str, classes: int = 1000, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return torchvision.models.get_model(architecture, weights=None, num_classes=classes, **options)


@pytest.mark.parametrize("channels", [1, 3, 13])
@pytest.mark.parametrize(("name", "settings"), VARIANTS, ids=str)
def test_every_network_takes_any_channels_and_gives_logits_and_points(
    name: str, settings: dict[str, Any], channels: int
) -> None:
    tried = case(name, channels, **settings)
    outputs = tried.meta().eval()(tried.blank(3))
    wanted = [(3, CLASSES)] if tried.settings.classifies else []
    wanted += [(3, POINTS)] if tried.settings.landmarks else []
    assert [tuple(output.shape) for output in logits_of(outputs, tried.settings)] == wanted


@pytest.mark.parametrize(("name", "settings"), VARIANTS, ids=str)
def test_every_network_trains_its_last_layers_under_the_names_it_states(name: str, settings: dict[str, Any]) -> None:
    tried = case(name, **settings)
    network = tried.meta()
    widths = [POINTS if layer == "ip3" else CLASSES for layer in tried.settings.output_layers]
    assert widths
    assert [network.get_submodule(layer).weight.shape[0] for layer in tried.settings.output_layers] == widths


@pytest.mark.parametrize("name", [name for name in MODELS if MODELS[name].smallest > 1])
def test_a_network_with_a_smallest_picture_takes_it_and_refuses_less(name: str) -> None:
    settings = MODELS[name](name=name)
    least = settings.smallest
    assert on_meta(settings, (3, least, least), 4).eval()(torch.zeros(2, 3, least, least, device="meta")).shape == (
        2,
        4,
    )
    for shape in ((3, least - 1, 224), (3, 224, least - 1)):
        with pytest.raises(ValueError, match=f"model.name: {name} needs pictures of at least {least} × {least} pixels"):
            settings.build(shape, 4)
        assert settings.misfit(shape)


@pytest.mark.parametrize("size", [(39, 57), (64, 201), (65, 48), (224, 224)], ids=str)
@pytest.mark.parametrize("name", [name for name in MODELS if not MODELS[name].landmarks])
def test_odd_and_oblong_pictures_are_taken_from_the_smallest_on(name: str, size: tuple[int, int]) -> None:
    settings = MODELS[name](name=name)
    if min(size) < settings.smallest:
        assert settings.misfit((3, *size))
    else:
        assert on_meta(settings, (3, *size), 4).eval()(torch.zeros(2, 3, *size, device="meta")).shape == (2, 4)


@pytest.mark.parametrize("name", [name for name in MODELS if not MODELS[name].landmarks])
def test_a_network_without_landmark_branch_refuses_points_by_its_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"model.name: {name} has no landmark branch"):
        MODELS[name](name=name).build((1, 112, 112), 2, points=42)


@pytest.mark.parametrize("points", [0, 1, 41])
@pytest.mark.parametrize("settings", [Stage1(), Stage3()], ids=lambda settings: settings.name)
def test_a_landmark_network_refuses_to_go_without_pairs_of_coordinates(settings: Model, points: int) -> None:
    with pytest.raises(ValueError, match=f"model.name: {settings.name} needs a data set with landmarks; {points}"):
        settings.build((1, 112, 112), 2, points)


def test_stage_3_gives_two_logits_and_the_landmarks_of_a_112_crop_in_both_modes() -> None:
    network = on_meta(Stage3(), (1, 112, 112), 2, 42)
    for mode in (True, False):
        logits, points = network.train(mode)(torch.zeros(3, 1, 112, 112, device="meta"))
        assert (tuple(logits.shape), tuple(points.shape)) == ((3, 2), (3, 42))


def test_stage_1_gives_the_landmarks_alone() -> None:
    network = on_meta(Stage1(), (1, 112, 112), 2, 136)
    assert network(torch.zeros(3, 1, 112, 112, device="meta")).shape == (3, 136)


def test_stage_3_flattens_80_and_40_maps_of_4_by_4() -> None:
    network = on_meta(Stage3(), (1, 112, 112), 2, 42)
    widths: dict[str, int] = {}
    for name in ("flatten", "flatten_cls"):
        layer = network.get_submodule(name)
        assert type(layer) is nn.Flatten
        layer.register_forward_hook(lambda _, __, output, name=name: widths.update({name: output.shape[1]}))
    network(torch.zeros(1, 1, 112, 112, device="meta"))
    assert widths == {"flatten": 80 * 4 * 4, "flatten_cls": 40 * 4 * 4}


def test_stage_3_has_the_layer_names_of_the_source() -> None:
    layers = [
        "conv1_1",
        "conv2_1",
        "conv2_2",
        "conv3_1",
        "conv3_2",
        "conv4_1",
        "conv4_2",
        "flatten",
        "ip1",
        "ip2",
        "ip3",
    ]
    branch = ["conv4_2_cls", "flatten_cls", "ip1_cls", "ip2_cls", "ip3_cls"]
    kinds = (nn.Conv2d, nn.Linear, nn.Flatten)

    def named(settings: Model) -> list[str]:
        network = on_meta(settings, (1, 112, 112), 2, 42)
        return [name for name, module in network.named_children() if isinstance(module, kinds)]

    assert named(Stage3()) == layers + branch
    assert named(Stage1()) == layers


def test_stage_3_takes_every_side_that_ends_in_4_by_4_and_refuses_all_others() -> None:
    def fits(side: int) -> bool:
        with torch.device("meta"):
            try:
                Stage3Network(1, 2, 42)(torch.zeros(1, 1, side, side))
            except RuntimeError:
                return False
        return True

    sides = range(90, 130)
    assert [side for side in sides if fits(side)] == [
        side for side in sides if Stage3().misfit((1, side, side), 42) is None
    ]
    with pytest.raises(ValueError, match="stage3 needs crops of 112 × 112 pixels"):
        Stage3().build((1, 112, 96), 2, 42)


def test_googlenet_gives_two_auxiliary_logits_in_training_only() -> None:
    network = on_meta(GoogLeNet(), (3, 64, 64), 7)
    pictures = torch.zeros(2, 3, 64, 64, device="meta")
    logits, auxiliary = network.train()(pictures)
    assert [tuple(output.shape) for output in (logits, *auxiliary)] == [(2, 7)] * 3
    assert network.eval()(pictures).shape == (2, 7)
    assert GoogLeNet().auxiliary_weight == 0.3
    assert [name for name in MODELS if MODELS[name].auxiliary_weight] == ["googlenet"]


def test_googlenet_s_outputs_and_heads_are_torchvision_s_and_pictures_are_not_transformed() -> None:
    theirs = torchvision.models.GoogLeNet(5, init_weights=False, dropout=0.0, dropout_aux=0.0)
    ours = GoogLeNet().build((3, 64, 64), 5)
    ours.load_state_dict(theirs.state_dict())
    assert not ours.transform_input
    for network in (ours, theirs):
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    pictures = case("googlenet", 3).pictures()
    with torch.no_grad():
        logits, auxiliary = ours.train()(pictures)
        wanted = theirs.train()(pictures)
        assert logits.equal(wanted.logits)
        assert [head.tolist() for head in auxiliary] == [wanted.aux_logits1.tolist(), wanted.aux_logits2.tolist()]
        assert ours.eval()(pictures).equal(theirs.eval()(pictures))


def test_googlenet_without_batch_norm_has_none_and_a_bias_in_every_convolution() -> None:
    network = on_meta(GoogLeNet(batch_norm=False), (1, 64, 64), 5)
    assert not [name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 3 + 9 * 6 + 2
    assert all(module.bias is not None for module in convolutions)


def test_true_5x5_changes_the_third_branch_of_every_inception_block_and_nothing_else() -> None:
    plain, wide = (shapes(on_meta(GoogLeNet(true_5x5=on), (3, 64, 64), 5)) for on in (False, True))
    changed = {name for name in plain if plain[name] != wide[name]}
    assert changed == {
        f"inception{block}.branch3.1.conv.weight" for block in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
    }
    assert all(plain[name][2:] == (3, 3) and wide[name][2:] == (5, 5) for name in changed)
    network = on_meta(GoogLeNet(true_5x5=True), (3, 64, 64), 5)
    assert network.inception3a.branch3[1].conv.padding == (2, 2)


@pytest.mark.parametrize(
    ("settings", "architecture", "options", "published"),
    [
        (ResNet18(stem="imagenet"), "resnet18", {}, 11_689_512),
        (ResNet34(stem="imagenet"), "resnet34", {}, 21_797_672),
        (ResNet50(stem="imagenet"), "resnet50", {}, 25_557_032),
        (VGG19(), "vgg19", {"init_weights": False}, 143_667_240),
        (VGG19(batch_norm=True), "vgg19_bn", {"init_weights": False}, 143_678_248),
        (GoogLeNet(), "googlenet", {"aux_logits": True, "init_weights": False}, 13_004_888),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_parameters_are_torchvision_s(settings: Model, architecture: str, options: Any, published: int) -> None:
    ours, theirs = on_meta(settings, (3, 224, 224), 1000), torchvision_s(architecture, **options)
    assert shapes(ours) == shapes(theirs)
    assert parameters(ours) == parameters(theirs) == published


def test_googlenet_without_batch_norm_has_a_bias_where_torchvision_has_scale_and_shift() -> None:
    theirs = torchvision_s("googlenet", aux_logits=True, init_weights=False)
    normed = sum(module.num_features for module in theirs.modules() if isinstance(module, nn.BatchNorm2d))
    assert parameters(on_meta(GoogLeNet(batch_norm=False), (3, 64, 64), 1000)) == parameters(theirs) - normed


def conv(fan_in: int, out: int, kernel: int) -> int:
    return (fan_in * kernel**2 + 1) * out


def linear(fan_in: int, out: int) -> int:
    return (fan_in + 1) * out


def test_stage_3_and_stage_1_count_as_by_hand() -> None:
    backbone = (
        conv(1, 8, 5) + conv(8, 16, 3) + conv(16, 16, 3) + conv(16, 24, 3) + conv(24, 24, 3) + conv(24, 40, 3) + 6
    )
    landmarks = conv(40, 80, 3) + linear(80 * 4 * 4, 128) + linear(128, 128) + linear(128, 42) + 3
    classes = conv(40, 40, 3) + linear(40 * 4 * 4, 128) + linear(128, 128) + linear(128, 2) + 3
    assert parameters(on_meta(Stage3(), (1, 112, 112), 2, 42)) == backbone + landmarks + classes == 349_112
    assert parameters(on_meta(Stage1(), (1, 112, 112), 2, 42)) == backbone + landmarks == 235_851


def test_nin_counts_as_by_hand() -> None:
    blocks = [(3, 96, 11), (96, 256, 5), (256, 384, 3)]
    trunk = sum(conv(fan_in, out, kernel) + 2 * conv(out, out, 1) for fan_in, out, kernel in blocks)
    wide = conv(384, 1024, 3) + conv(1024, 1024, 1) + conv(1024, 1000, 1)
    narrow = conv(384, 10, 3) + 2 * conv(10, 10, 1)
    assert parameters(on_meta(NiN(), (3, 224, 224), 1000)) == trunk + wide == 7_595_176
    assert parameters(on_meta(NiN(last_width=0), (3, 224, 224), 10)) == trunk + narrow


def test_nin_brings_224_pixels_down_to_6_by_6_maps_of_the_classes() -> None:
    network = on_meta(NiN(), (3, 224, 224), 10)
    sides: dict[str, int] = {}
    for name in ("conv1", "pool1", "pool2", "pool3", "cccp8"):
        hook = network.get_submodule(name).register_forward_hook
        hook(lambda _, __, output, name=name: sides.update({name: output.shape[-1]}))
    network(torch.zeros(1, 3, 224, 224, device="meta"))
    assert sides == {"conv1": 54, "pool1": 27, "pool2": 13, "pool3": 6, "cccp8": 6}


def test_expression_cnn_counts_as_by_hand() -> None:
    by_hand = conv(1, 32, 3) + conv(32, 64, 3) + conv(64, 128, 3) + linear(128 * 6 * 6, 256) + linear(256, 7)
    built = on_meta(MODELS["expression_cnn"](name="expression_cnn"), (1, 48, 48), 7)
    assert parameters(built) == by_hand == 1_274_375


def ultra_block(fan_in: int, out: int) -> int:
    convolutions = fan_in * out * 9 + out * 9 + out * out
    excitation = conv(out, out // 16, 1) + conv(out // 16, out, 1)
    shortcut = fan_in * out + 2 * out if fan_in != out else 0
    return convolutions + 3 * 2 * out + excitation + shortcut


@pytest.mark.parametrize(("stem", "kernel"), [("imagenet", 7), ("small", 3)])
def test_ultranet18_counts_as_by_hand(stem: str, kernel: int) -> None:
    layers = [(64, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    by_hand = 3 * 64 * kernel**2 + 2 * 64 + sum(ultra_block(*layer) for layer in layers) + linear(512, 10)
    assert parameters(on_meta(UltraNet18.model_validate({"stem": stem}), (3, 64, 64), 10)) == by_hand


def test_ultranet18_has_resnet18_s_layout_with_another_block() -> None:
    ours, theirs = (on_meta(model(stem="imagenet"), (3, 64, 64), 10) for model in (UltraNet18, ResNet18))
    assert [name for name, _ in ours.named_children()] == [name for name, _ in theirs.named_children()]
    assert all(
        mine.downsample is None if its.downsample is None else shapes(mine.downsample) == shapes(its.downsample)
        for layer in ("layer1", "layer2", "layer3", "layer4")
        for mine, its in zip(ours.get_submodule(layer), theirs.get_submodule(layer), strict=True)
    )
    sizes: list[int] = []
    for layer in ("layer1", "layer2", "layer3", "layer4"):
        ours.get_submodule(layer).register_forward_hook(lambda _, __, output: sizes.append(output.shape[-1]))
    ours(torch.zeros(2, 3, 64, 64, device="meta"))
    assert sizes == [16, 8, 4, 2]


@pytest.mark.parametrize(
    "settings",
    [{"name": "nin", "last_width": -1}, {"name": "vgg19", "stem": "small"}, {"name": "resnet34", "stem": "tiny"}],
    ids=str,
)
def test_settings_a_network_lacks_and_values_outside_its_domain_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MODELS[settings["name"]].model_validate(settings)
