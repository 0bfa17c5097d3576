"""The optimizers: torch's own, with their defaults and the range a search looks in beside each setting.

`at` gives the torch optimizer of an epoch and `lr_at` its rate, so that a switch of optimizers is an optimizer too.
"""

from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from core.component import Component, Needs, Range
from trainables.schedules import Schedule, epochs_of

if TYPE_CHECKING:
    import torch

LearningRate = Annotated[float, Field(gt=0), Range(1e-4, 1.0, log=True)]
WeightDecay = Annotated[float, Field(ge=0), Range(1e-6, 1e-2, log=True)]
Decay = Annotated[float, Field(ge=0, lt=1)]


class Optimizer(Component):
    """What trains the weights, epoch by epoch (counted from 1)."""

    unrecorded = {"lr_backbone": None}

    name: str
    lr: LearningRate
    """learning rate before the schedule"""
    lr_backbone: Annotated[
        float | None, Field(gt=0), Range(1e-6, 1e-1, log=True), Needs("model.trainable", values=("all", "last_block"))
    ] = None
    """that of all layers but the output layers, which the schedule changes in the same proportion; null: `lr`"""
    weight_decay: WeightDecay = 0.0
    """torch's L2 penalty: this share of a weight is added to its gradient"""

    @abstractmethod
    def at(self, epoch: int, epochs: int) -> "TorchOptimizer":
        """The settings of the torch optimizer used in `epoch` out of `epochs`."""

    def lr_at(self, epoch: int, epochs: int, schedule: Schedule) -> float:
        """The rate used throughout `epoch`."""
        return schedule.lr(epoch, epochs, self.lr)

    def lr_backbone_at(self, epoch: int, epochs: int, schedule: Schedule) -> float:
        """That of the layers before the output layers."""
        lr = self.lr_at(epoch, epochs, schedule)
        return lr if self.lr_backbone is None else lr / self.lr * self.lr_backbone

    def not_reached(self, epochs: int, schedule: Schedule) -> list[str]:
        """Settings that have no effect within `epochs`, one sentence each."""
        unreached = schedule.not_reached(epochs)
        return [unreached] if unreached else []


class TorchOptimizer(Optimizer):
    """A torch optimizer for all epochs; field names are torch's argument names."""

    torch_class: ClassVar[str]
    fused: ClassVar[bool] = False
    """whether torch has it as one kernel over all of a parameter's numbers, on the CPU and on CUDA"""
    capturable: ClassVar[bool] = False
    """whether torch must be told that its steps may become part of a CUDA graph"""

    def at(self, epoch: int, epochs: int) -> "TorchOptimizer":
        return self

    def build(self, parameters: "Iterable[torch.nn.Parameter | dict[str, Any]]") -> "torch.optim.Optimizer":
        """torch's optimizer of parameters, or of groups of them as torch takes them."""
        import torch

        from trainables.eager_optimizers import eager

        arguments = {key: value for key, value in self if key not in ("name", "lr_backbone")}
        weights = list(parameters)
        flat = [each for part in weights for each in (part["params"] if isinstance(part, dict) else [part])]
        devices = {weight.device.type for weight in flat}
        if self.fused and devices <= {"cpu", "cuda"}:  # none on the meta device
            arguments["fused"] = True
        if self.capturable and devices == {"cuda"}:
            arguments["capturable"] = True
        return eager(getattr(torch.optim, self.torch_class))(weights, **arguments)  # type: ignore[arg-type]


class SGD(TorchOptimizer):
    """torch's SGD."""

    torch_class = "SGD"
    fused = True
    name: Literal["sgd"] = "sgd"
    lr: LearningRate = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1), Range(0.0, 0.99)] = 0.0
    """share of the last step that the next one keeps"""
    nesterov: bool = False
    """look ahead along the momentum; needs a momentum above 0"""

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov = True: needs a momentum above 0")
        return self


class Adam(TorchOptimizer):
    """torch's Adam."""

    torch_class = "Adam"
    fused = capturable = True
    name: Literal["adam"] = "adam"
    lr: Annotated[float, Field(gt=0), Range(1e-5, 1e-1, log=True)] = 0.001
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """decay of the running means of the gradient and of its square"""
    eps: float = Field(1e-8, gt=0)
    """added to the denominator of a step"""


class AdamW(Adam):
    """torch's AdamW: Adam with decoupled weight decay."""

    torch_class = "AdamW"
    name: Literal["adamw"] = "adamw"  # type: ignore[assignment]
    weight_decay: WeightDecay = 0.01
    """decoupled: `lr` times this share of a weight is taken off it at each step"""


class RMSprop(TorchOptimizer):
    """torch's RMSprop."""

    torch_class = "RMSprop"
    capturable = True
    name: Literal["rmsprop"] = "rmsprop"
    lr: Annotated[float, Field(gt=0), Range(1e-5, 1e-1, log=True)] = 0.01
    alpha: Decay = 0.99
    """decay of the running mean of the squared gradient"""
    momentum: Annotated[float, Field(ge=0, lt=1), Range(0.0, 0.99)] = 0.0
    """share of the last step that the next one keeps"""
    eps: float = Field(1e-8, gt=0)
    """added to the denominator of a step"""


class AdamThenSGD(Optimizer):
    """Adam up to and with epoch `switch` (share of the budget), then SGD at a fixed rate with fresh momentum.

    The learning-rate schedule runs over Adam's epochs; SGD keeps `sgd_lr`.
    """

    name: Literal["adam_then_sgd"] = "adam_then_sgd"
    lr: Annotated[float, Field(gt=0), Range(1e-5, 1e-1, log=True)] = 0.001
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """decay of the running means of the gradient and of its square"""
    eps: float = Field(1e-8, gt=0)
    """added to the denominator of a step"""
    switch: Annotated[float, Field(gt=0, lt=1), Range(0.5, 0.95)] = 0.8
    """share of the budget that Adam trains"""
    sgd_lr: Annotated[float, Field(gt=0), Range(1e-6, 1e-3, log=True)] = 0.00001
    """rate of SGD, which no schedule changes"""
    sgd_momentum: Annotated[float, Field(ge=0, lt=1), Range(0.0, 0.99)] = 0.9
    """momentum of SGD"""

    def at(self, epoch: int, epochs: int) -> TorchOptimizer:
        if epoch <= epochs_of(self.switch, epochs):
            return Adam(lr=self.lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay)
        return SGD(lr=self.sgd_lr, momentum=self.sgd_momentum, weight_decay=self.weight_decay)

    def lr_at(self, epoch: int, epochs: int, schedule: Schedule) -> float:
        first = epochs_of(self.switch, epochs)
        return schedule.lr(epoch, first, self.lr) if epoch <= first else self.sgd_lr

    def not_reached(self, epochs: int, schedule: Schedule) -> list[str]:
        first = epochs_of(self.switch, epochs)
        switch = [f"optimizer {self.name}: its switch is not reached in {epochs} epochs"] if first >= epochs else []
        return [*super().not_reached(first, schedule), *switch]
