"""Networks as lanes of one program, held against the same networks alone."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from tests.trainables.small_trials import small_config, small_dataset
from trainables.fused.stacked_model import StackedModel, UnfusableError, check
from trainables.models.build import build_network
from trainables.registry import MODELS

PLACED = {"model.bn_after": ["conv1", "fc1"], "model.dropout_after": ["conv2", "relu_fc1"], "model.dropout_rate": 0.3}


def digits_network(seed: int, settings: dict[str, Any]) -> nn.Module:
    network = build_network(small_config(settings), small_dataset().info, seed)
    return network.to(memory_format=torch.channels_last).train()


def loss_of(outputs: Any) -> Tensor:
    parts = outputs if isinstance(outputs, tuple) else (outputs,)
    return torch.stack([part.square().mean() for part in parts]).sum()


def close(ours: Tensor, theirs: Tensor) -> None:
    """Within 1e-5 of the largest number, in float32."""
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * max(1.0, float(theirs.abs().max())))


@pytest.mark.parametrize("settings", [{}, PLACED], ids=["plain", "placed"])
def test_a_step_gives_what_each_network_gives_alone(settings: dict[str, Any]) -> None:
    """Outputs, gradients, batch-norm statistics, dropped units; each lane has pictures and weights of its own."""
    lanes = 3
    alone = [digits_network(seed, settings) for seed in range(lanes)]
    together = [digits_network(seed, settings) for seed in range(lanes)]
    fused = StackedModel(together[0], lanes)
    for lane, network in enumerate(together):
        fused.enter(lane, network)
    fused.program.train()
    fused.draw_from(range(10, 10 + lanes))
    images = torch.rand(lanes, 16, 1, 8, 8)
    outputs = fused(list(images))
    loss_of(tuple(outputs)).backward()
    for lane, network in enumerate(alone):
        torch.manual_seed(10 + lane)
        expected = network(images[lane].contiguous(memory_format=torch.channels_last))
        loss_of(expected).backward()
        close(outputs[lane].detach(), expected.detach())
        for ours, theirs in zip(together[lane].parameters(), network.parameters(), strict=True):
            assert ours.grad is not None
            assert theirs.grad is not None
            close(ours.grad, theirs.grad)
        for ours, theirs in zip(together[lane].buffers(), network.buffers(), strict=True):
            close(ours, theirs)


@pytest.mark.parametrize(
    ("name", "shape", "points", "lanes"),
    [
        ("stage3", (1, 112, 112), 10, 4),
        pytest.param("resnet18", (3, 32, 32), 0, 2, marks=pytest.mark.matrix),
        pytest.param("nin", (3, 48, 48), 0, 2, marks=pytest.mark.matrix),
    ],
)
def test_networks_of_the_studies_fuse(name: str, shape: tuple[int, int, int], points: int, lanes: int) -> None:
    network = MODELS[name]().build(shape, 2, points).to(memory_format=torch.channels_last)
    check(network, shape, lanes)


class Concatenated(nn.Module):
    """Two branches joined by torch.cat, which puts a lane's channels apart."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(1, 3, 1), nn.Conv2d(1, 3, 1)
        self.last = nn.Linear(6, 2)

    def forward(self, images: Tensor) -> Tensor:
        joined = torch.cat([self.left(images), self.right(images)], 1)
        return self.last(joined.mean((2, 3)))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (Concatenated(), "mixes channels"),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.LocalResponseNorm(2), nn.Flatten(), nn.Linear(144, 2)), "mixes channels"),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(144, 2)), "GroupNorm"),
        (nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular")), "padded by circular"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 2), nn.Softmax(1)), "mixes channels"),
    ],
    ids=["cat", "lrn", "group-norm", "circular", "softmax"],
)
def test_a_network_that_lanes_would_mix_in_is_refused(network: nn.Module, why: str) -> None:
    with pytest.raises(UnfusableError, match=why):
        check(network, (1, 8, 8))


def test_lanes_that_vectors_of_a_sum_lie_across_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As 12 channels of 3 lanes, which are no whole number of vectors, and of which some versions of torch sum the last
    in another order."""

    def uneven(values: Tensor, *rest: Any) -> Tensor:
        whole = values.shape[1] // 8 * 8
        last = 1 + 1e-6 * (torch.arange(values.shape[1]) >= whole)
        return batch_norm(values, *rest) * last[:, None, None]

    monkeypatch.setattr("trainables.fused.stacked_model.batch_norm", uneven)
    network = digits_network(0, {"model.bn_after": ["conv1"]})
    with pytest.raises(UnfusableError, match="which of 3 lanes it is in would show"):
        check(network, (1, 8, 8), lanes=3, pictures=32)
    check(network, (1, 8, 8), lanes=4, pictures=32)


def test_a_lane_of_nan_leaves_the_others_bits_alone() -> None:
    def outputs(broken: bool) -> list[Tensor]:
        networks = [digits_network(seed, PLACED) for seed in range(3)]
        if broken:
            with torch.no_grad():
                for parameter in networks[1].parameters():
                    parameter.fill_(float("nan"))
        fused = StackedModel(networks[0], 3)
        for lane, network in enumerate(networks):
            fused.enter(lane, network)
        fused.program.train()
        fused.draw_from(range(3))
        torch.manual_seed(0)
        found = fused(list(torch.rand(3, 16, 1, 8, 8)))
        loss_of(tuple(found)).backward()
        gradients = [value.grad for lane in (0, 2) for value in networks[lane].parameters() if value.grad is not None]
        return [found[0].detach(), found[2].detach(), *gradients, *networks[0].buffers(), *networks[2].buffers()]

    for ours, theirs in zip(outputs(broken=True), outputs(broken=False), strict=True):
        assert torch.equal(ours, theirs)


def test_who_left_has_memory_of_its_own_and_leaves_zeros() -> None:
    network = digits_network(0, PLACED)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fused = StackedModel(network, 2)
    fused.enter(1, network)
    fused.leave(1, network)
    for parameter in fused.program.parameters():
        assert not parameter.any()
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
        assert value.untyped_storage().nbytes() == value.nbytes
    assert all(parameter.grad is None for parameter in network.parameters())
