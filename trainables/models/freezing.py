"""Which layers a network trains: all, the output layers and the stage before them, or the output layers alone.

A frozen parameter has no gradient. A frozen batch norm stays in evaluation mode, so that its statistics stay those of
the pretraining too; dropout, and what `bn_after` and `dropout_after` place, are as in any training.
"""

from collections.abc import Collection
from functools import cache

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.models.base import Model

WHOLE = 0.95  # of the backbone's parameters: a module with more is the backbone itself, and its last part is asked for


def freeze(network: nn.Module, settings: Model) -> None:
    """Freezes the layers of the bare network that `model.trainable` leaves out."""
    if settings.trainable == "all":
        return
    heads = settings.heads(network)
    auxiliary = getattr(settings, "untrained", ())
    trained = (*heads, *(last_stage(network, (*heads, *auxiliary)) if settings.trainable == "last_block" else ()))
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(within(name, trained))
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm) and not within(name, trained):
            module.__class__ = _frozen(type(module))  # type: ignore[arg-type, assignment]
            module.eval()


def last_stage(network: nn.Module, heads: Collection[str]) -> list[str]:
    """The modules of the last stage before the output layers, with the norms behind it.

    The last child of the network that has parameters; of one that holds nearly all of them (`features`, `blocks`) its
    own last child, and so on.
    """
    backbone = {name: value for name, value in network.named_parameters() if not within(name, heads)}

    def held(name: str) -> list[Tensor]:
        return [value for key, value in backbone.items() if within(key, (name,))]

    path, found = "", list[str]()
    total = sum(value.numel() for value in backbone.values())
    while True:
        names = [f"{path}.{key}" if path else key for key, _ in network.get_submodule(path).named_children()]
        parts = [name for name in names if held(name)]
        while len(parts) > 1 and all(value.ndim == 1 for value in held(parts[-1])):
            found.append(parts.pop())
        if not parts:
            return [*found, path] if path else found
        path = parts[-1]
        children = [name for name, _ in network.get_submodule(path).named_children() if held(f"{path}.{name}")]
        if not children or sum(value.numel() for value in held(path)) <= WHOLE * total:
            return [*found, path]


def within(name: str, parents: Collection[str]) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


@cache
def _frozen(kind: type[nn.Module]) -> type[nn.Module]:
    """The class of a batch norm of this class that no `train()` takes out of evaluation mode."""

    def train(self: nn.Module, mode: bool = True) -> nn.Module:
        return kind.train(self, False)

    return type(f"Frozen{kind.__name__}", (kind,), {"train": train, "__module__": __name__})
