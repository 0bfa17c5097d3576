"""The optimizers: torch's own, with their defaults and the range a search looks in beside each setting."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from datasets.component import Component, Range

if TYPE_CHECKING:
    import torch

LearningRate = Annotated[float, Field(gt=0), Range(1e-4, 1.0, log=True)]
WeightDecay = Annotated[float, Field(ge=0), Range(1e-6, 1e-2, log=True)]
Decay = Annotated[float, Field(ge=0, lt=1)]


class Optimizer(Component):
    """Settings that every optimizer has; field names are torch's argument names."""

    torch_class: ClassVar[str]
    name: str
    lr: LearningRate
    weight_decay: WeightDecay = 0.0

    def build(self, parameters: "Iterable[torch.nn.Parameter]") -> "torch.optim.Optimizer":
        import torch

        arguments = {key: value for key, value in self if key != "name"}
        return getattr(torch.optim, self.torch_class)(parameters, **arguments)


class SGD(Optimizer):
    torch_class = "SGD"
    name: Literal["sgd"] = "sgd"
    lr: LearningRate = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1), Range(0.0, 0.99)] = 0.0
    nesterov: bool = False

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov = True: needs a momentum above 0")
        return self


class Adam(Optimizer):
    torch_class = "Adam"
    name: Literal["adam"] = "adam"
    lr: Annotated[float, Field(gt=0), Range(1e-5, 1e-1, log=True)] = 0.001
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)


class AdamW(Adam):
    torch_class = "AdamW"
    name: Literal["adamw"] = "adamw"  # type: ignore[assignment]
    weight_decay: WeightDecay = 0.01


class RMSprop(Optimizer):
    torch_class = "RMSprop"
    name: Literal["rmsprop"] = "rmsprop"
    lr: Annotated[float, Field(gt=0), Range(1e-5, 1e-1, log=True)] = 0.01
    alpha: Decay = 0.99
    momentum: Annotated[float, Field(ge=0, lt=1), Range(0.0, 0.99)] = 0.0
    eps: float = Field(1e-8, gt=0)
