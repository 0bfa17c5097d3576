"""What a network gives: a tensor, or tuples and lists of them."""

from collections.abc import Callable
from typing import Any

from torch import Tensor


def mapped(outputs: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """`change` on every tensor of a network's outputs."""
    if isinstance(outputs, Tensor):
        return change(outputs)
    return type(outputs)(mapped(part, change) for part in outputs)


def detached(outputs: Any) -> Any:
    return mapped(outputs, lambda tensor: tensor.detach())


def in_float32(outputs: Any) -> Any:
    return mapped(outputs, lambda tensor: tensor.float())
