"""PReLU (He et al. 2015) with one weight, trained on a CPU at a third of what torch's own gradient takes."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu


class PReLU(nn.PReLU):
    """torch's layer, its outputs and its gradients; only how they are computed differs, and only in training on a CPU.

    There a batch of 64 crops of 112 × 112 spent a third of a stage-3 step in torch's gradient of PReLU, which fills a
    tensor of the activations' size with what each contributes to the weight before it sums them.
    """

    def forward(self, images: Tensor) -> Tensor:
        if self.training and images.device.type == "cpu" and torch.is_grad_enabled() and self.weight.numel() == 1:
            return _SharedSlope.apply(images, self.weight)  # type: ignore[no-any-return,no-untyped-call]
        return super().forward(images)


class _SharedSlope(torch.autograd.Function):
    """A leaky ReLU whose slope is learned."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(images, weight)
        return leaky_relu(images, float(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        images, weight = ctx.saved_tensors
        below = (images.clamp(max=0) * gradient).sum(dtype=weight.dtype).reshape(weight.shape)
        return torch.ops.aten.leaky_relu_backward(gradient, images, float(weight), False), below
