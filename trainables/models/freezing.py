"""Which layers a network trains: all, the output layers and the stage before them, or the output layers alone.

A frozen parameter has no gradient. A frozen batch norm stays in evaluation mode, so that its statistics stay those of
the pretraining too; dropout, and what `bn_after` and `dropout_after` place, are as in any training.
"""

from collections.abc import Collection
from functools import cache

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.models.base import Model

WHOLE = 0.9  # of the backbone's parameters: a module with more is the backbone itself, and its last part is asked for


def freeze(network: nn.Module, settings: Model) -> None:
    """Freezes the layers of the bare network that `model.trainable` leaves out."""
    if settings.trainable == "all":
        return
    heads = settings.heads(network)
    trained = (*heads, *(last_stage(network, heads) if settings.trainable == "last_block" else ()))
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(within(name, trained))
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm) and not within(name, trained):
            module.__class__ = _frozen(type(module))
            module.eval()


def last_stage(network: nn.Module, heads: Collection[str]) -> list[str]:
    """The modules of the last stage before the output layers, with the norms behind it.

    The last child of the network that has parameters; of one that holds nearly all of them (`features`, `blocks`) its
    own last child, and so on.
    """

    def size(name: str, module: nn.Module) -> int:
        own = ((f"{name}.{key}", value) for key, value in module.named_parameters())
        return sum(value.numel() for key, value in own if not within(key, heads))

    path, found = "", list[str]()
    total = sum(value.numel() for key, value in network.named_parameters() if not within(key, heads))
    while True:
        parts = network.get_submodule(path).named_children()
        named = [(f"{path}.{key}" if path else key, child) for key, child in parts]
        children = [(name, child, held) for name, child in named if (held := size(name, child))]
        while len(children) > 1 and _is_norm(children[-1][1]):
            found.append(children.pop()[0])
        if not children:
            return [*found, path] if path else found
        path, child, held = children[-1]
        if held <= WHOLE * total or not any(size(path, part) for part in child.children()):
            return [*found, path]


def within(name: str, parents: Collection[str]) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


def _is_norm(module: nn.Module) -> bool:
    return all(value.ndim == 1 for value in module.parameters())


@cache
def _frozen(kind: type[nn.Module]) -> type[nn.Module]:
    """The class of a batch norm of this class that no `train()` takes out of evaluation mode."""

    def train(self: nn.Module, mode: bool = True) -> nn.Module:
        return kind.train(self, False)

    return type(f"Frozen{kind.__name__}", (kind,), {"train": train, "__module__": __name__})
