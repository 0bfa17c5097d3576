"""A row of layers against torch's own."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.small_trials import small_learner
from trainables.models.networks.chain import Chain
from trainables.training.diagnostics import layer_rows, weights_of


def layers() -> list[nn.Module]:
    return [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3), nn.ReLU(), nn.MaxPool2d(3)]


def test_outputs_and_gradients_are_those_of_a_plain_sequence_to_the_bit() -> None:
    torch.manual_seed(0)
    ours = Chain(*layers())
    plain = nn.Sequential(*copy.deepcopy(list(ours)))
    images = torch.randn(16, 3, 21, 18).contiguous(memory_format=torch.channels_last)
    images[:4] = images[:4].round()  # ties within a window
    images[4:8] = -1.0  # windows without a positive value
    found = []
    for network in (ours, plain):
        given = images.clone().requires_grad_()
        outputs = network(given)
        outputs.square().sum().backward()
        found.append([outputs, given.grad, *(parameter.grad for parameter in network.parameters())])
    for mine, theirs in zip(*found, strict=True):
        assert torch.equal(mine, theirs)


def test_the_relu_works_on_what_pooling_leaves_unless_it_is_watched(monkeypatch) -> None:
    sizes: list[int] = []
    forward = nn.ReLU.forward

    def counted(self: nn.ReLU, values: Tensor) -> Tensor:
        sizes.append(values.shape[-1])
        return forward(self, values)

    monkeypatch.setattr(nn.ReLU, "forward", counted)
    network = Chain(*layers())
    network(torch.randn(2, 3, 20, 20))
    assert sizes == [10, 2]
    sizes.clear()
    seen: list[Tensor] = []
    network[1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    network(torch.randn(2, 3, 20, 20))
    assert sizes == [20, 2]
    assert seen[0].shape[-1] == 20


@pytest.mark.parametrize(
    "placed", [{}, {"model.dropout_after": ["relu1"]}, {"model.bn_after": ["relu1", "relu2"]}], ids=str
)
def test_training_and_its_diagnostics_come_to_the_bits_of_a_plain_sequence(
    placed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained() -> tuple[Any, ...]:
        learner = small_learner({"diagnostics": True, **placed})
        before = weights_of(learner.network)
        metrics = learner.train_epoch(), learner.evaluate("val")
        return (*metrics, layer_rows(learner, before)), learner.network.state_dict()

    ours, weights = trained()
    monkeypatch.setattr(Chain, "forward", nn.Sequential.forward)
    plain, plain_weights = trained()
    assert ours == plain
    assert all(torch.equal(weights[name], plain_weights[name]) for name in plain_weights)
