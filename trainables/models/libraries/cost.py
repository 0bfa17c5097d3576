"""What a network costs: its parameters, and the multiply-adds of one image.

Counted by torch's own formulas (`torch.utils.flop_counter`): matrix products, convolutions and attention, as
torchvision counts the numbers it publishes. Biases, norms, activations, pooling and other element-wise operations count
nothing.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from trainables.training.rng import RngContext


@dataclass(frozen=True)
class Cost:
    parameters: int
    multiply_adds: int
    """of one image, in evaluation mode"""
    layers: dict[str, int]
    """multiply-adds by the name of each layer that has any; a container's include those of its layers"""


def cost(network: nn.Module, image_shape: tuple[int, ...]) -> Cost:
    """The cost of a network for one (C, H, W) image, by a pass on its own device; the network stays as it is."""
    device = next(network.parameters()).device
    with (
        _evaluating(network),
        RngContext(torch.device("cpu") if device.type == "meta" else device),
        _Counter(network) as counter,
    ):
        network(torch.zeros(1, *image_shape, device=device))
    size = sum(value.numel() for value in network.parameters())
    return Cost(size, counter.counts[""], {name: n for name, n in counter.counts.items() if name})


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """In evaluation mode without gradients, and with attention as matrix products: fused kernels have no formula."""
    modes, fast = {module: module.training for module in network.modules()}, torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            network.eval()
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, mode in modes.items():
            module.training = mode


class _Counter(TorchDispatchMode):
    """Counts multiply-adds by the layers that are at work. Not torch's FlopCounterMode, which imports its compiler."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.counts, self.within, self.hooks = network, Counter[str](), [""], ExitStack()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __enter__(self) -> "_Counter":
        for name, module in self.network.named_modules():
            if name:
                before = module.register_forward_pre_hook(lambda *_, name=name: self.within.append(name))
                after = module.register_forward_hook(self._leave, always_call=True)
                self.hooks.callback(before.remove)
                self.hooks.callback(after.remove)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.hooks.close()

    def _leave(self, *_: object) -> None:
        self.within.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        from torch.utils.flop_counter import flop_registry  # which imports triton

        if formula := flop_registry.get(func._overloadpacket):
            operations = formula(*args, **(kwargs or {}), out_val=result)
            for name in dict.fromkeys(self.within):
                self.counts[name] += operations // 2
        return result
