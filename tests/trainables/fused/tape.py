"""What a CUDA graph does with a call, on the CPU: its operations are recorded, undone, and repeated on the same memory.

As with a graph nothing that Python does is repeated, new tensors stay where they were when it was recorded, and reading
a number back is an error.
"""

import contextlib
from collections.abc import Callable, Iterable
from typing import Any, ClassVar
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# What waits for the device, as it reads a number back or makes a tensor whose size depends on one.
READS = {
    f"aten::{name}"
    for name in (
        "_local_scalar_dense",
        "bincount",
        "equal",
        "is_nonzero",
        "item",
        "masked_select",
        "nonzero",
        "repeat_interleave",
        "unique_dim",
        "_unique2",
    )
}
METHODS = ("cpu", "numpy", "tolist")  # that do, and leave no trace on a CPU
COPIES = {"aten::lift_fresh"}  # of what Python holds


def storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


class Recorder(TorchDispatchMode):
    def __init__(self, host: Iterable[Tensor]) -> None:
        super().__init__()
        self.host = {storage(tensor) for tensor in host}
        self.calls: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self.before: dict[int, tuple[Tensor, Tensor]] = {}  # what is written to, and what it was
        self.made: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if given and all(storage(tensor) in self.host for tensor in given):
            return func(*args, **kwargs)
        masks = [t for t in given[1:] if t.dtype == torch.bool] if func._schema.name.startswith("aten::index") else []
        if masks or func._schema.name in READS:
            raise RuntimeError(f"{func} reads a number back")
        if func._schema.name in COPIES:
            raise RuntimeError(f"{func} takes Python's numbers to the device")
        for argument, value in [*zip(func._schema.arguments, args, strict=False), *self._named(func, kwargs)]:
            if argument.alias_info is not None and argument.alias_info.is_write:
                for tensor in tree_leaves(value):
                    self._keep(tensor)
        if "batch_norm" in func._schema.name:  # its schema does not say that it writes to running statistics
            for tensor in given:
                self._keep(tensor)
        made = func(*args, **kwargs)
        old = {storage(tensor) for tensor in given}
        new = [leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor) and storage(leaf) not in old]
        self.made |= {storage(tensor) for tensor in new}
        self.calls.append((func, args, kwargs, [] if func._schema.name.startswith("aten::empty") else new))
        return made

    @staticmethod
    def _named(func: Any, kwargs: dict[str, Any]) -> list[tuple[Any, Any]]:
        return [(argument, kwargs[argument.name]) for argument in func._schema.arguments if argument.name in kwargs]

    def _keep(self, tensor: Any) -> None:
        if isinstance(tensor, Tensor) and storage(tensor) not in self.made | set(self.before):
            whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
            self.before[storage(tensor)] = (whole, whole.clone())


class Tape:
    """Has the place of `cuda_graphs.CapturedGraph`; `host` are tensors that are not on the device with a real one."""

    host: ClassVar[list[Tensor]] = []
    taken = 0
    replayed = 0

    def __init__(self, call: Callable[[], None], stream: object) -> None:
        assert stream is None
        state = torch.default_generator.get_state()
        with contextlib.ExitStack() as stack:
            for name in METHODS:
                stack.enter_context(patch.object(Tensor, name, self.refuse))
            recorder = stack.enter_context(Recorder(self.host))
            call()
        with torch.no_grad():
            for whole, old in recorder.before.values():
                whole.copy_(old)
        torch.default_generator.set_state(state)
        self.calls = recorder.calls
        type(self).taken += 1

    @staticmethod
    def refuse(*_: object) -> None:
        raise RuntimeError("a tensor reads a number back")

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, made in self.calls:
            again = func(*args, **kwargs)
            fresh = [leaf for leaf in tree_leaves(again) if isinstance(leaf, Tensor)]
            old = {storage(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
            for place, value in zip(made, [leaf for leaf in fresh if storage(leaf) not in old], strict=False):
                place.copy_(value)
        type(self).replayed += 1
