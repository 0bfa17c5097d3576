"""Our PReLU against torch's own, whose gradient it takes a shorter way to."""

import pytest
import torch
from torch import nn

from trainables.models.networks.prelu import PReLU


@pytest.mark.parametrize("slope", [0.25, 0.0, -0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_outputs_and_gradients_are_torchs(slope: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    images = torch.randn(5, 4, 7, 6, dtype=dtype).contiguous(memory_format=torch.channels_last)
    images[0, 0, 0, :3] = 0.0  # where the gradient is the slope's
    upstream = torch.randn_like(images)
    found = []
    for layer in (PReLU(init=slope).to(dtype), nn.PReLU(init=slope).to(dtype)):
        given = images.clone().requires_grad_()
        outputs = layer(given)
        outputs.backward(upstream)
        found.append((outputs, given.grad, layer.weight.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_under_bf16_the_weights_gradient_is_summed_in_the_weights_precision() -> None:
    torch.manual_seed(0)
    layer = PReLU()
    images = torch.randn(64, 8, 32, 32).to(torch.bfloat16).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = layer(images)
    outputs.sum().backward()
    assert layer.weight.grad is not None
    assert outputs.dtype == torch.bfloat16
    expected = images.detach().double().clamp(max=0).sum()
    assert float(layer.weight.grad) == pytest.approx(float(expected), rel=1e-3)


def test_evaluation_is_torchs_own_layer() -> None:
    layer = PReLU().eval()
    exported = torch.export.export(nn.Sequential(layer), (torch.randn(2, 3, 4, 4),))
    assert any("prelu" in str(node.target) for node in exported.graph.nodes)
