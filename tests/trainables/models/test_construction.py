"""What a network's constructor does to its weights stays; what its layers drew by themselves is drawn by name."""

import math
import random
from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from core.seeds import derive_seed
from tests.trainables.models.model_cases import case
from tests.trainables.small_trials import SMALL, prepared_digits
from trainables.config import resolve
from trainables.models.base import Model
from trainables.models.build import build_network
from trainables.models.construction import constructed, follow
from trainables.models.initializers import initialize
from trainables.models.resnet import ResNet18
from trainables.registry import MODELS

SHAPE = (3, 16, 16)
Build = Callable[[], nn.Module]


class Own(Model):
    """A network of the test's: `make` builds it."""

    name: Literal["own"] = "own"

    def bare(self, image_shape: tuple[int, int, int], outputs: int, points: int) -> nn.Module:
        return MAKE[-1]()


MAKE: list[Build] = []


def started(make: Build, seed: int = 0, **settings: str) -> tuple[nn.Module, list[str]]:
    """The network with its initial weights, and the parameters that no layer's draw by name covers."""
    MAKE.append(make)
    torch.manual_seed(1)
    network = Own(**settings).build(SHAPE, 10)  # type: ignore[arg-type]
    initialize(network, Own(**settings), seed)  # type: ignore[arg-type]
    return network, constructed(network).unpaired


def trial_s(make: Build, seed: int) -> nn.Module:
    """The network as a trial of this seed begins with it."""
    MAKE.append(make)
    return build_network(resolve(SMALL).model_copy(update={"model": Own()}), prepared_digits().info, seed)


def by_name(layer: nn.Module, name: str, seed: int = 0) -> nn.Module:
    """A layer as it is drawn by its name."""
    torch.manual_seed(derive_seed(seed, "initial weights", name))
    layer.reset_parameters()  # type: ignore[operator]
    return layer


def equal(one: nn.Module, other: nn.Module) -> bool:
    return all(a.equal(b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def layers(**named: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(named))


def zero_conv() -> nn.Module:
    network = layers(first=nn.Conv2d(3, 4, 3), zero=nn.Conv2d(4, 4, 1))
    nn.init.zeros_(network.zero.weight)
    nn.init.zeros_(network.zero.bias)
    return network


def test_a_zero_initialized_convolution_stays_zero_and_the_others_are_drawn_by_name() -> None:
    network, unpaired = started(zero_conv)
    assert not network.zero.weight.any()
    assert not network.zero.bias.any()
    assert equal(network.first, by_name(nn.Conv2d(3, 4, 3), "first"))
    assert unpaired == ["zero.weight", "zero.bias"]


def through_data() -> nn.Module:
    network = layers(fc=nn.Linear(4, 4))
    network.fc.weight.data.zero_()
    return network


def through_a_view() -> nn.Module:
    network = layers(fc=nn.Linear(4, 4))
    with torch.no_grad():
        network.fc.weight[:] = 0
    return network


def by_replacing() -> nn.Module:
    network = layers(fc=nn.Linear(4, 4))
    network.fc.weight = nn.Parameter(torch.zeros(4, 4))
    return network


def by_loading() -> nn.Module:
    network = layers(fc=nn.Linear(4, 4))
    network.load_state_dict({"fc.weight": torch.zeros(4, 4), "fc.bias": network.fc.bias.detach()})
    return network


def by_apply() -> nn.Module:
    return layers(fc=nn.Linear(4, 4)).apply(lambda m: nn.init.zeros_(m.weight) if isinstance(m, nn.Linear) else None)


@pytest.mark.parametrize("make", [through_data, through_a_view, by_replacing, by_loading, by_apply])
def test_however_a_weight_was_set_it_stays_and_the_bias_beside_it_is_drawn_by_name(make: Build) -> None:
    network, unpaired = started(make)
    assert not network.fc.weight.any()
    assert network.fc.bias.equal(by_name(nn.Linear(4, 4), "fc").bias)
    assert unpaired == ["fc.weight"]


def test_a_prior_in_a_bias_stays() -> None:
    prior = -math.log(0.99 / 0.01)

    def detector() -> nn.Module:
        network = layers(conv=nn.Conv2d(3, 4, 3), head=nn.Linear(4, 10))
        nn.init.constant_(network.head.bias, prior)
        return network

    network, unpaired = started(detector)
    assert (network.head.bias == torch.tensor(prior)).all()
    assert network.head.weight.equal(by_name(nn.Linear(4, 10), "head").weight)
    assert unpaired == ["head.bias"]


def test_the_zeroed_last_gamma_of_each_block_stays_zero() -> None:
    network, unpaired = started(lambda: resnet18(zero_init_residual=True))
    gammas = [key for key, value in network.state_dict().items() if key.endswith("weight") and not value.any()]
    assert gammas == [f"layer{i}.{j}.bn2.weight" for i in (1, 2, 3, 4) for j in (0, 1)]
    assert set(gammas) < set(unpaired)
    assert not any(key.endswith("bias") or "bn1" in key for key in unpaired)  # set to what they were


def test_a_loop_over_the_convolutions_draws_under_the_trial_s_seed() -> None:
    one, again, other = (trial_s(lambda: resnet18(num_classes=10), seed) for seed in (3, 3, 4))
    assert equal(one, again)
    convolutions = [m for m in zip(one.modules(), other.modules(), strict=True) if isinstance(m[0], nn.Conv2d)]
    assert len(convolutions) == 20
    assert not any(equal(*pair) for pair in convolutions)
    assert abs(float(one.layer4[1].conv2.weight.detach().std()) - math.sqrt(2 / 9 / 512)) < 1e-3  # kaiming, fan_out


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.empty(1, 5, 8).normal_(std=0.02))
        self.attention = nn.MultiheadAttention(8, 2)
        self.head = nn.Linear(8, 10)


def test_parameters_of_modules_that_cannot_redraw_themselves_stay_as_constructed() -> None:
    network, unpaired = started(Attention)
    torch.manual_seed(1)
    assert network.pos_embedding.equal(Attention().pos_embedding)
    assert unpaired == [
        "pos_embedding",
        "attention.in_proj_weight",
        "attention.in_proj_bias",
        "attention.out_proj.bias",
    ]
    assert equal(network.head, by_name(nn.Linear(8, 10), "head"))


def test_what_stays_as_constructed_depends_on_the_trial_s_seed_alone() -> None:
    def noisy() -> nn.Module:
        network = layers(a=nn.Linear(2, 2), b=nn.Linear(2, 2), c=nn.Linear(2, 2))
        with torch.no_grad():
            network.a.weight.normal_()
            network.b.weight.copy_(torch.from_numpy(np.random.rand(2, 2)))
            network.c.weight.fill_(random.random())
        return network

    built = []
    for seed in (3, 3, 4):
        torch.rand(7), random.random(), np.random.rand()
        built.append(trial_s(noisy, seed))
    one, again, other = built
    assert equal(one, again)
    assert not any(one.get_parameter(f"{key}.weight").equal(other.get_parameter(f"{key}.weight")) for key in "abc")


def test_tied_weights_stay_tied_and_are_drawn_as_the_layer_that_drew_them() -> None:
    def tied() -> nn.Module:
        network = layers(head=nn.Linear(8, 20), embedding=nn.Embedding(20, 8))
        network.head.weight = network.embedding.weight
        return network

    network, unpaired = started(tied)
    assert network.head.weight is network.embedding.weight
    assert network.embedding.weight.equal(by_name(nn.Embedding(20, 8), "embedding").weight)
    assert network.head.bias.equal(by_name(nn.Linear(8, 20), "head").bias)
    assert unpaired == []


@pytest.mark.parametrize("copied", [deepcopy, lambda layer: loaded(layer)], ids=["deepcopy", "load_state_dict"])
def test_copies_stay_copies(copied: Callable[[nn.Module], nn.Module]) -> None:
    def student_and_teacher() -> nn.Module:
        student = layers(conv=nn.Conv2d(3, 4, 3), bn=nn.BatchNorm2d(4))
        return layers(student=student, teacher=copied(student))

    network, unpaired = started(student_and_teacher)
    assert equal(network.student, network.teacher)
    assert equal(network.student.conv, by_name(nn.Conv2d(3, 4, 3), "student.conv"))
    assert unpaired == []


def loaded(layer: nn.Module) -> nn.Module:
    other = layers(conv=nn.Conv2d(3, 4, 3), bn=nn.BatchNorm2d(4))
    other.load_state_dict(layer.state_dict())
    return other


def test_a_transformer_s_copied_layers_keep_what_attention_drew() -> None:
    def encoder() -> nn.Module:
        return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)

    network, unpaired = started(encoder)
    assert equal(network.layers[0].linear1, by_name(nn.Linear(8, 16), "layers.0.linear1"))
    assert equal(network.layers[0], network.layers[1])  # as torch copies them
    assert {key.partition("self_attn.")[2] for key in unpaired} == {"in_proj_weight", "in_proj_bias", "out_proj.bias"}


def test_a_copy_that_was_changed_keeps_the_change() -> None:
    def changed() -> nn.Module:
        network = layers(a=nn.Linear(4, 4))
        network.b = deepcopy(network.a)
        nn.init.zeros_(network.b.weight)
        return network

    network, unpaired = started(changed)
    assert not network.b.weight.any()
    assert equal(network.a, by_name(nn.Linear(4, 4), "a"))
    assert unpaired == ["b.weight"]


@pytest.mark.parametrize(
    "wrap",
    [
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.orthogonal,
        nn.utils.parametrizations.spectral_norm,
    ],
)
def test_parametrized_weights_stay_as_constructed(wrap: Callable[[nn.Module], nn.Module]) -> None:
    network, unpaired = started(lambda: layers(fc=wrap(nn.Linear(6, 6))))
    torch.manual_seed(1)
    assert network.fc.weight.equal(layers(fc=wrap(nn.Linear(6, 6))).fc.weight)
    assert [key for key in unpaired if "parametrizations" in key]


def test_a_layer_that_resets_itself_twice_is_drawn_by_name() -> None:
    def twice() -> nn.Module:
        network = layers(fc=nn.Linear(4, 4))
        network.fc.reset_parameters()
        return network

    network, unpaired = started(twice)
    assert equal(network.fc, by_name(nn.Linear(4, 4), "fc"))
    assert unpaired == []


class ZeroConv(nn.Conv2d):
    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)


def test_a_class_s_own_initialization_is_what_is_drawn_and_that_of_another_class_is_not() -> None:
    def both() -> nn.Module:
        network = layers(own=ZeroConv(3, 4, 1, bias=False), set=nn.Conv2d(3, 4, 1, bias=False))
        nn.init.zeros_(network.set.weight)
        return network

    network, unpaired = started(both)
    assert not any(value.any() for value in network.parameters())
    assert unpaired == ["set.weight"]


def test_lazy_layers_are_built_and_drawn_by_name() -> None:
    network, unpaired = started(lambda: layers(conv=nn.LazyConv2d(4, 3), flatten=nn.Flatten(), fc=nn.LazyLinear(10)))
    assert equal(network.conv, by_name(nn.Conv2d(3, 4, 3), "conv"))
    assert equal(network.fc, by_name(nn.Linear(4 * 14 * 14, 10), "fc"))
    assert unpaired == []
    assert network.training


class Whole(nn.Module):
    """Its own initialization draws a parameter and its child's."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(3))
        self.inner, self.last = nn.Linear(3, 3), nn.Linear(3, 3)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.scale)
        nn.init.normal_(self.last.weight)


def test_a_module_that_draws_its_children_does_not_draw_what_was_set_afterwards() -> None:
    def net() -> nn.Module:
        network = layers(whole=Whole())
        nn.init.zeros_(network.whole.last.weight)
        return network

    network, unpaired = started(net)
    assert not network.whole.last.weight.any()
    assert equal(network.whole.inner, by_name(nn.Linear(3, 3), "whole.inner"))
    assert network.whole.scale.equal(by_name(Whole(), "whole").scale)
    assert unpaired == ["whole.last.weight"]


def test_statistics_that_the_network_set_stay() -> None:
    def normalizing() -> nn.Module:
        network = layers(bn=nn.BatchNorm2d(3))
        network.bn.running_mean.copy_(torch.tensor([0.4, 0.5, 0.6]))
        return network

    assert started(normalizing)[0].bn.running_mean.tolist() == pytest.approx([0.4, 0.5, 0.6])


@pytest.mark.parametrize("make", [zero_conv, Attention, by_loading, lambda: resnet18(zero_init_residual=True)])
def test_the_meta_device_tells_the_same_and_no_follower_stays_on_the_layers(make: Build) -> None:
    real = started(make)[1]
    with torch.device("meta"):
        network, unpaired = started(make)
    assert unpaired == real != []
    assert not any("reset_parameters" in vars(module) for module in network.modules())


def test_truncated_normal_is_asked_for_all_convolutions_and_linear_layers() -> None:
    network, unpaired = started(zero_conv, initial_weights="truncated_normal")
    assert 0 < float(network.zero.weight.detach().abs().max()) < 0.1
    assert unpaired == []


def test_a_network_class_below_a_built_in_one_keeps_what_it_sets_and_the_rest_is_the_built_in_one_s() -> None:
    class Quiet(ResNet18):
        def bare(self, image_shape: tuple[int, int, int], outputs: int, points: int) -> nn.Module:
            network = super().bare(image_shape, outputs, points)
            nn.init.zeros_(network.layer1[0].conv2.weight)
            return network

    states = []
    for settings in (ResNet18(), Quiet()):
        network = settings.build(SHAPE, 10)
        initialize(network, settings, 0)
        states.append(network.state_dict())
    unequal = [key for key in states[0] if not states[0][key].equal(states[1][key])]
    assert unequal == ["layer1.0.conv2.weight"]
    assert not states[1]["layer1.0.conv2.weight"].any()


def test_a_class_that_draws_its_own_layers_draws_all_of_them() -> None:
    class Drawing(Own):
        def bare(self, image_shape: tuple[int, int, int], outputs: int, points: int) -> nn.Module:
            return zero_conv()

        def initialize(self, module: nn.Module, name: str) -> None:
            nn.init.constant_(module.weight, 5.0)  # type: ignore[arg-type]

    network = Drawing().build(SHAPE, 10)
    initialize(network, Drawing(), 0)
    assert (network.zero.weight == 5).all()
    assert constructed(network).unpaired == []


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_of_every_network_of_ours_is_paired(name: str) -> None:
    assert constructed(case(name).meta()).unpaired == []


def test_a_network_within_a_network_is_followed_once() -> None:
    network = follow(lambda: layers(inner=follow(zero_conv, SHAPE)), SHAPE)
    assert constructed(network).unpaired == ["inner.zero.weight", "inner.zero.bias"]


def test_a_freed_storage_is_not_taken_for_another() -> None:
    def replaced() -> nn.Module:
        network = layers(**{f"fc{i}": nn.Linear(4, 4, bias=False) for i in range(40)})
        for layer in network:
            layer.weight = nn.Parameter(torch.from_numpy(np.ones((4, 4), dtype="float32")))
        return network

    network, unpaired = started(replaced)
    assert len(unpaired) == 40
    assert all(bool((layer.weight == 1).all()) for layer in network)
