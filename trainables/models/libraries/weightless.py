"""Builds networks without memory for their weights: on the meta device, where tensors have shapes but no values."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks


def without_memory(build: Callable[[], nn.Module]) -> nn.Module:
    """The network that `build` makes, its parameters and buffers on the meta device.

    Some constructors read values back (RegNet's widths): then only parameters and buffers go there, as they are
    registered, and the constructor computes with real tensors.
    """
    try:
        with torch.device("meta"):
            return build()
    except RuntimeError as error:
        if "meta" not in str(error):
            raise
    kept = [
        hooks.register_module_parameter_registration_hook(_empty),  # type: ignore[arg-type]
        hooks.register_module_buffer_registration_hook(_empty),  # type: ignore[arg-type]
    ]
    try:
        return build()
    finally:
        for handle in kept:
            handle.remove()


def _empty(module: nn.Module, name: str, value: Tensor | None) -> Tensor | None:
    if value is None or nn.parameter.is_lazy(value) or value.is_meta:
        return value
    if isinstance(value, nn.Parameter):
        return nn.Parameter(value.detach().to("meta"), value.requires_grad)
    return value.to("meta")
