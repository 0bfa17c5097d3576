"""Every registered network with a picture that it takes, found by asking it, so that a new one needs no edit here."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from torch import Tensor, nn

from trainables.models.base import Model
from trainables.registry import MODELS

CLASSES, POINTS = 5, 42
LARGE = {"resnet18", "resnet34", "resnet50", "ultranet18", "vgg19", "nin", "googlenet"}
"""what computes with numbers of these is of the matrix; what asks for shapes, on the meta device, is not"""


@dataclass(frozen=True)
class Case:
    settings: Model
    shape: tuple[int, int, int]
    points: int

    def build(self, classes: int = CLASSES) -> nn.Module:
        return self.settings.build(self.shape, classes, self.points)

    def meta(self, classes: int = CLASSES) -> nn.Module:
        """Shapes only: no weight is drawn and no number computed."""
        with torch.device("meta"):
            return self.build(classes)

    def blank(self, rows: int = 2) -> Tensor:
        return torch.zeros(rows, *self.shape, device="meta")

    def pictures(self, rows: int = 2, seed: int = 0) -> Tensor:
        return torch.randn(rows, *self.shape, generator=torch.Generator().manual_seed(seed))


def case(name: str, channels: int = 1, **settings: Any) -> Case:
    """The network at the smallest usual picture that it takes."""
    model = MODELS[name](name=name, **settings)
    points = POINTS if model.landmarks else 0
    shapes = ((channels, side, side) for side in (8, 32, 48, 64, 112, 224))
    return Case(model, next(shape for shape in shapes if model.misfit(shape, points) is None), points)


def by_size(names: Iterable[str]) -> list[Any]:
    """Parameters for a test of each network, of the large ones for the matrix."""
    return [pytest.param(name, marks=pytest.mark.matrix) if name in LARGE else name for name in names]


def form(name: str, settings: dict[str, Any]) -> Any:
    """The parameters of a network's form; of a large network, forms besides its own are for the matrix."""
    return pytest.param(name, settings, marks=[pytest.mark.matrix] if settings and name in LARGE else [])


def choices() -> list[tuple[str, dict[str, Any]]]:
    """Every registered network by default, and with each other choice of each setting that is a choice of names."""
    made: list[tuple[str, dict[str, Any]]] = []
    for name, model in MODELS.items():
        made.append((name, {}))
        for key, field in model.model_fields.items():
            if get_origin(field.annotation) is Literal:
                made += [(name, {key: value}) for value in get_args(field.annotation)[1:]]
    return made


def logits_of(outputs: Any, settings: Model) -> list[Tensor]:
    """Logits, points and auxiliary logits, as many as the network gives, in one flat list."""
    if settings.auxiliary_weight and isinstance(outputs, tuple):
        return [outputs[0], *outputs[1]]
    return list(outputs) if isinstance(outputs, tuple) else [outputs]
