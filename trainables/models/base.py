"""What every network's settings share: where batch norm and dropout stand, and how weights start."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field

from datasets.component import Component, Range

if TYPE_CHECKING:
    from torch import nn


def _names(value: object) -> object:
    """`conv1+conv2` and `conv1,conv2` as a shell passes them; `none` is no layer. A list counts as a tuple."""
    if isinstance(value, str):
        return () if value == "none" else tuple(value.replace(",", "+").split("+"))
    return tuple(value) if isinstance(value, list) else value


LayerNames = Annotated[tuple[str, ...], BeforeValidator(_names)]


class Model(Component):
    """A network's settings; layer names are those of `named_modules()` before anything was placed."""

    name: str
    bn_after: LayerNames = ()
    dropout_after: LayerNames = ()
    dropout_rate: Annotated[float, Field(gt=0, lt=1), Range(0.05, 0.7)] = 0.5
    initial_weights: Literal["default"] = "default"

    @abstractmethod
    def build(self, image_shape: tuple[int, int, int], outputs: int) -> "nn.Module":
        """The bare network for (C, H, W) pictures, ending in a `Linear` of `outputs` units."""

    def initialize(self, module: "nn.Module") -> None:
        """Draw one leaf module's own parameters from torch's global generator, as the network's source does."""
        module.reset_parameters()  # type: ignore[operator]
