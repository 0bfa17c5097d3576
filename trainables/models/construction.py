"""Finds what a network's constructor did to its weights: which of them are as the layers' own initialization left them.

While a network is built, each storage has a mark: an operation that writes it gives it a new one, a fill that of its
value, a copy that of what was copied. No value is read, so it costs as little for a large network, and works on the
meta device as well.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules import module as hooks
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
FILLS = (aten.fill_.Scalar, aten.zero_.default)
COPIES = (aten.clone.default, aten._to_copy.default)


@dataclass
class Constructed:
    """What `initialize` must know of how a network was built; names are those of the bare network."""

    kept: frozenset[str] = frozenset()
    """parameters and buffers that stay as constructed"""
    unpaired: list[str] = field(default_factory=list)
    """the parameters among them that are not tied to one which is drawn"""
    original: dict[str, str] = field(default_factory=dict)
    """by a layer that is a copy, the layer of whose weights it has a copy"""
    unfilled: list[str] = field(default_factory=list)
    """layers that pretrained weights left as drawn; none where no weights were asked for"""


_following: ContextVar["_Marks | None"] = ContextVar("_following", default=None)
_constructed: "WeakKeyDictionary[nn.Module, Constructed]" = WeakKeyDictionary()


def constructed(network: nn.Module) -> Constructed:
    """How `follow` saw the network being built; of one built elsewhere, nothing is kept."""
    return _constructed.get(network) or Constructed()


def follow(bare: Callable[[], nn.Module], image_shape: tuple[int, ...]) -> nn.Module:
    """The network that `bare` builds; `constructed` knows it. Lazy layers get their shape from a blank image."""
    if _following.get():
        return bare()  # a part of a network that is already followed
    marks = _Marks()
    with marks.followed():
        network = bare()
        if any(is_lazy(value) for value in network.parameters()):
            training = network.training
            with torch.no_grad():
                network.eval()(torch.zeros(2, *image_shape))
            network.train(training)
        _constructed[network] = marks.result(network)
    return network


def drawn_by_name(network: nn.Module) -> nn.Module:
    """Declares that the settings' `initialize` draws what `network`'s constructor has drawn in its layers so far."""
    if marks := _following.get():
        for module in network.modules():
            marks.note(module)
    return network


class _Marks(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        # A weak reference frees the memory, but not the address, so that no other storage is taken for it.
        self.marks: dict[int, tuple[StorageWeakRef, Hashable]] = {}
        self.own: set[tuple[type, str, Hashable]] = set()
        """(class, parameter, mark) that layers' own initializations left"""
        self.watched: list[nn.Module] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would otherwise import its compiler, in seconds

    @contextmanager
    def followed(self) -> Iterator[None]:
        with ExitStack() as stack:
            token = _following.set(self)
            stack.callback(_following.reset, token)
            for register in (
                hooks.register_module_parameter_registration_hook,
                hooks.register_module_buffer_registration_hook,
            ):
                stack.callback(register(_watch).remove)
            stack.enter_context(self)
            yield

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func in COPIES:
            self._set(result, self._of(args[0]) if _whole(args[0]) else object())
        elif func in FILLS and _whole(args[0]):
            self._set(args[0], float(args[1]) if len(args) > 1 else 0.0)
        elif func is aten.copy_.default and args[0].shape == args[1].shape and _whole(args[0]) and _whole(args[1]):
            self._set(args[0], self._of(args[1]))
        elif func._schema.is_mutable:
            given = dict(zip((argument.name for argument in func._schema.arguments), args, strict=False)) | kwargs
            for argument in func._schema.arguments:
                if argument.alias_info and argument.alias_info.is_write:
                    written = given.get(argument.name)
                    for value in written if isinstance(written, list | tuple) else (written,):
                        if isinstance(value, Tensor):
                            self._set(value, object())
        return result

    def note(self, module: nn.Module) -> None:
        """What the layer holds now is what its own initialization left."""
        self.own.update((_kind(module), key, self._of(value)) for key, value in own_values(module))

    def result(self, network: nn.Module) -> Constructed:
        for module in chain(self.watched, network.modules()):
            module.__dict__.pop("reset_parameters", None)
        kept, drawn, original = set[str](), set[int](), dict[str, str]()
        first: dict[Hashable, str] = {}
        parameters = dict(network.named_parameters(remove_duplicate=False))
        for name, module in network.named_modules():
            marks: list[tuple[str, Hashable]] = []
            for key, value in own_values(module):
                full, mark = full_name(name, key), self._of(value)
                if hasattr(module, "reset_parameters") and (_kind(module), key, mark) in self.own:
                    marks.append((key, mark))
                    drawn.add(id(value))
                else:
                    kept.add(full)
            if any(not isinstance(mark, float) for _, mark in marks):  # a fill is no copy
                original[name] = first.setdefault((_kind(module), *marks), name)
        unpaired = [key for key, value in parameters.items() if key in kept and id(value) not in drawn]
        return Constructed(frozenset(kept), unpaired, original)

    def _of(self, value: Tensor) -> Hashable:
        storage = value.untyped_storage()
        return self.marks.setdefault(storage._cdata, (StorageWeakRef(storage), object()))[1]

    def _set(self, value: Tensor, mark: Hashable) -> None:
        storage = value.untyped_storage()
        self.marks[storage._cdata] = (StorageWeakRef(storage), mark)


def _watch(module: nn.Module, name: str, value: Tensor) -> None:
    """As a parameter is registered, before the layer's constructor draws it: follow the layer's own initialization."""
    marks = _following.get()
    if marks and hasattr(type(module), "reset_parameters") and "reset_parameters" not in module.__dict__:
        module.__dict__["reset_parameters"] = partial(_reset, module)  # copied with the layer, for its copy
        marks.watched.append(module)


def _reset(module: nn.Module) -> None:
    type(module).reset_parameters(module)  # type: ignore[attr-defined]
    if marks := _following.get():
        marks.note(module)


def _kind(module: nn.Module) -> type:
    """A lazy layer counts as what it becomes."""
    return getattr(module, "cls_to_become", None) or type(module)


def full_name(module: str, key: str) -> str:
    return f"{module}.{key}" if module else key


def own_values(module: nn.Module) -> list[tuple[str, Tensor]]:
    """The module's own parameters and buffers."""
    own = chain(module._parameters.items(), module._buffers.items())
    return [(key, value) for key, value in own if value is not None and not is_lazy(value)]


def _whole(value: Tensor) -> bool:
    """Whether a tensor is all of its storage, in a usual order."""
    ordered = value.is_contiguous() or (value.ndim == 4 and value.is_contiguous(memory_format=torch.channels_last))
    return ordered and value.numel() * value.element_size() == value.untyped_storage().nbytes()
