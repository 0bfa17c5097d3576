"""The user's own networks, losses, optimizers and schedules, by reference: `mine.py:Net`, `torch.optim:RAdam`.

They import nothing of ours. What one returns is checked where it is used, so that a plan's first batch finds a fault.
"""

import inspect
import warnings
from collections.abc import Iterable, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from core.component import Range
from core.user_code.component import OwnComponent
from core.user_code.references import FORGET, UserCodeError, fault
from core.value_words import kind_of
from trainables.losses import ClassificationLoss, inverse_frequency
from trainables.models.base import Model
from trainables.optimizers import LearningRate, TorchOptimizer
from trainables.schedules import Schedule

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class OwnModel(OwnComponent, Model):
    """A network of the user's own: a torch.nn.Module class, or a function that returns a module."""

    offered = ("channels", "image_size", "classes", "outputs")
    output_layers = ()
    name: str

    def unfit(self, value: Any) -> str | None:
        from torch import nn

        if isinstance(value, type) and not issubclass(value, nn.Module):
            return "is a class, but no torch.nn.Module"
        if isinstance(value, nn.Module):
            return "is a network made already; name its class, or a function that makes a new one for each trial"
        return super().unfit(value)

    def bare(self, image_shape: tuple[int, int, int], outputs: int, points: int) -> "nn.Module":
        import torch
        from torch import nn

        channels, height, width = image_shape
        side = height if height == width else (height, width)
        network = self.call(channels=channels, image_size=side, classes=outputs, outputs=outputs)
        if not isinstance(network, nn.Module):
            raise self.refused(f"gives {kind_of(network)}, no torch.nn.Module")
        if isinstance(network, torch.jit.ScriptModule):
            raise self.refused(
                "gives a compiled torch.jit.ScriptModule, whose layers cannot be reached; leave that out"
            )
        if hasattr(network, "_output_layer"):
            raise self.refused("gives a network that it gave before; make a new one for each trial")
        if next(network.parameters(), None) is None:
            raise self.refused("gives a network without parameters, in which nothing can be trained")
        network._output_layer = self._last_layer(network, image_shape, outputs)  # type: ignore[assignment]
        return network

    def heads(self, network: "nn.Module") -> tuple[str, ...]:
        """The layer that is called last of those with weights; none in a network without such layers."""
        return tuple(filter(None, [getattr(network, "_output_layer", "")]))

    def _last_layer(self, network: "nn.Module", image_shape: tuple[int, int, int], outputs: int) -> str:
        import torch

        from trainables.models.hooks import watch_outputs

        layers = {
            name: m
            for name, m in network.named_modules()
            if name and next(m.parameters(recurse=False), None) is not None
        }
        called, training = [""], network.training
        with torch.no_grad(), watch_outputs(layers, lambda name, _: called.append(name)):
            try:
                found = network.eval()(torch.zeros(2, *image_shape))
            except (Exception, SystemExit) as error:
                what = f"cannot take pictures of {' × '.join(map(str, image_shape))}"
                raise fault(self.name, what, error, self.object) from error
        network.train(training)
        self.check_scores(found, 2, outputs)
        return called[-1]

    def check_scores(self, found: Any, pictures: int, outputs: int, mode: str = "") -> None:
        """UserCodeError if what the network gave for so many pictures is no tensor of class scores."""
        import torch

        if not isinstance(found, torch.Tensor):
            several = isinstance(found, tuple | list | dict)
            given = f"{len(found)} outputs ({kind_of(found)})" if several else kind_of(found)
            wanted = "one tensor of class scores (B, classes), before any softmax"
            raise self.refused(f"gives {given}{mode} where {wanted} is expected")
        if found.shape != (pictures, outputs):
            per_picture = found.ndim and len(found) == pictures
            shape = f"{('B', *found.shape[1:])}" if per_picture else f"{tuple(found.shape)} for {pictures} pictures"
            given = shape.replace("'", "")
            told = "name `classes` in its signature to be told their number"
            raise self.refused(f"gives {given}{mode} where (B, {outputs}) is expected, a score for each class; {told}")


class OwnLoss(OwnComponent, ClassificationLoss):
    """A loss of the user's own: a function of (outputs, targets) or a torch.nn.Module class; it gives (B,) losses."""

    name: str
    weighting: Literal["none", "inverse"] = "none"
    """`inverse`: an example's loss weighs 1 / the training examples of its class"""

    @classmethod
    def by_position(cls, value: Any) -> int:
        return 0 if isinstance(value, type) else 2

    def unfit(self, value: Any) -> str | None:
        from torch import nn

        if isinstance(value, type) and not issubclass(value, nn.Module):
            return "is a class, but no torch.nn.Module"
        return super().unfit(value)

    def class_weights(self, counts: Sequence[int]) -> list[float] | None:
        return None if self.weighting == "none" else inverse_frequency(counts)

    def terms(self, logits: "Tensor", targets: "Tensor", weights: "Tensor | None") -> "tuple[Tensor, Tensor]":
        """Copies are handed out, so that a loss that writes into its arguments changes no metric."""
        losses = self.losses(logits.clone(), targets.clone())
        if weights is None:
            return losses.sum(), losses.new_full((), len(targets))
        shares = weights[targets]
        return (shares * losses).sum(), shares.sum()

    def losses(self, logits: "Tensor", targets: "Tensor") -> "Tensor":
        import torch

        failing = "fails on a batch"
        if self._module is None:
            found = self.call(logits, targets, failing=failing)
        else:
            try:
                found = self._module.to(logits.device)(logits, targets)
            except Exception as error:
                raise fault(self.name, failing, error) from error
        if not isinstance(found, torch.Tensor) or found.shape != targets.shape:
            given = f"{tuple(found.shape)}" if isinstance(found, torch.Tensor) else kind_of(found)
            remedy = (
                "" if not isinstance(found, torch.Tensor) or found.ndim else "; leave its mean out: reduction='none'"
            )
            found = "one number for the batch" if remedy else given
            raise self.refused(f"gives {found} where ({len(targets)},) is expected, a loss for each example{remedy}")
        return found.float()

    @cached_property
    def _module(self) -> "nn.Module | None":
        if not isinstance(self.object, type):
            return None
        module: nn.Module = self.call()
        if names := [name for name, _ in module.named_parameters()]:
            own = ", ".join(names[:3])
            raise self.refused(f"has parameters of its own ({own}), which nothing would train; put them in the network")
        return module


class OwnOptimizer(OwnComponent, TorchOptimizer):
    """Any torch.optim.Optimizer class, torch's or the user's own."""

    positional = 1
    offered = ("lr", "weight_decay")
    name: str
    lr: LearningRate = 0.001
    weight_decay: Annotated[float | None, Field(ge=0), Range(1e-6, 1e-2, log=True)] = None  # type: ignore[assignment]
    """as the class takes it; null: the class's own default"""

    def build(self, parameters: "Iterable[torch.nn.Parameter | dict[str, Any]]") -> "torch.optim.Optimizer":
        import torch

        given: dict[str, Any] = {"lr": self.lr}
        if self.weight_decay is not None:
            given["weight_decay"] = self.weight_decay
        made = self.call(list(parameters), **given)
        if not isinstance(made, torch.optim.Optimizer):
            raise self.refused(f"gives {kind_of(made)}, no torch.optim.Optimizer")
        if callable(getattr(made, "train", None)):
            raise UserCodeError(f"{self.name}: must be told by train() and eval() when to evaluate, which is not done")
        return made


class OwnSchedule(OwnComponent, Schedule):
    """Any torch.optim.lr_scheduler class or the user's own, stepped once an epoch; also a function that makes one.

    `epochs`, where its signature has it, is the trial's number of epochs without warm-up, `steps_per_epoch` is 1.
    """

    positional = 1
    offered = ("epochs", "steps_per_epoch")
    name: str

    def _lr(self, t: int, epochs: int, base_lr: float) -> float:
        return _rates(self.model_dump_json(), epochs, base_lr)[t]


@cache
def _rates(settings: str, epochs: int, base_lr: float) -> list[float]:
    """The rate of each epoch: the scheduler is stepped beside an optimizer that trains nothing."""
    import torch

    schedule = OwnSchedule.model_validate_json(settings)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base_lr)
    scheduler = schedule.call(optimizer, epochs=epochs, steps_per_epoch=1)
    if not callable(getattr(scheduler, "step", None)):
        raise schedule.refused(f"gives {kind_of(scheduler)}, no scheduler with a step()")
    step = inspect.signature(scheduler.step).parameters.values()
    if needed := [each.name for each in step if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD]:
        raise schedule.refused(f"must be given {', '.join(needed)} at each step, and is stepped by the epoch alone")
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an order of steps that is right here
        for epoch in range(epochs):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            try:
                if epoch < epochs - 1:
                    optimizer.step()
                    scheduler.step()
            except Exception as error:
                raise fault(schedule.name, f"cannot be stepped after epoch {epoch + 1} of {epochs}", error) from error
    return rates


FORGET.append(_rates.cache_clear)
