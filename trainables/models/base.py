"""Settings that all networks share: where batch norm and dropout are placed, initial weights, the output layers.

Settings import no torch: `build` does, and our own network classes are in `trainables.models.networks`.
"""

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from core.component import Component, Needs, Range

if TYPE_CHECKING:
    from torch import nn


def _names(value: object) -> object:
    """`conv1+conv2` and `conv1,conv2` as a shell passes them; `none` is no layer. A list counts as a tuple."""
    if isinstance(value, str):
        return () if value == "none" else tuple(value.replace(",", "+").split("+"))
    return tuple(value) if isinstance(value, list) else value


LayerNames = Annotated[tuple[str, ...], BeforeValidator(_names)]


class MisfitError(ValueError):
    """Images or landmarks that a network cannot take or give."""


class Model(Component):
    """A network's settings; layer names are those of `named_modules()` before anything was placed.

    A network maps (B, C, H, W) float32 images to logits (B, outputs). `landmarks` and `auxiliary_weight` say which
    give more: (logits, points) in every mode, or (logits, [auxiliary logits, …]) in training mode only.
    """

    smallest: ClassVar[int] = 1
    """the shortest side of an image that the network can take, in pixels"""
    classifies: ClassVar[bool] = True
    """whether it gives class logits; one that does not gives points (B, 2 L) alone"""
    landmarks: ClassVar[bool] = False
    """whether it gives L landmarks as x, y in pixels of the image: `points` = 2 L coordinates must be asked for"""
    auxiliary_weight: ClassVar[float] = 0.0
    """the training loss adds this many times the loss of each auxiliary head's logits; 0.0 where there is no head"""
    output_layers: ClassVar[tuple[str, ...]] = ("fc",)
    """the last layers, that of the class logits first; what enters it is the feature that embeddings show"""

    unrecorded = {"trainable": "all"}

    name: str
    bn_after: LayerNames = ()
    """layers that a batch norm follows"""
    dropout_after: LayerNames = ()
    """layers that a dropout follows"""
    dropout_rate: Annotated[float, Field(gt=0, lt=1), Range(0.05, 0.7), Needs("model.dropout_after")] = 0.5
    """probability that a placed dropout zeroes a unit"""
    initial_weights: Literal["default", "truncated_normal"] = "default"
    """the network's own, or a truncated normal distribution"""
    relu_on_output: bool = False
    """end the output layers in a ReLU"""
    trainable: Literal["all", "last_block", "head"] = "all"
    """what is trained: all layers, the output layers and the last stage before them, or the output layers alone; a
    frozen batch norm keeps its statistics"""

    def build(self, image_shape: tuple[int, int, int], outputs: int, points: int = 0) -> "nn.Module":
        """The network for (C, H, W) images, nothing placed, layers not yet drawn; ValueError if it cannot be built.

        `outputs` is the number of classes, `points` that of landmark coordinates (two a landmark). `relu_on_output`
        makes the output layers end in a ReLU without renaming them.
        """
        from trainables.models.construction import drawn_by_name, follow

        if fault := self.misfit(image_shape, points):
            raise MisfitError(fault)

        def bare() -> "nn.Module":
            network = self.bare(image_shape, outputs, points)
            return drawn_by_name(network) if self._draws_all() else network

        network = follow(bare, image_shape)
        if self.relu_on_output:
            from trainables.models.networks.rectified import rectify

            for layer in self.heads(network):
                rectify(network, layer)
        return network

    def misfit(self, image_shape: tuple[int, int, int], points: int = 0) -> str | None:
        """Why `build` would refuse, or None; needs no torch, so a plan can ask."""
        _, height, width = image_shape
        if points and not self.landmarks:
            return f"model.name: {self.name} has no landmark branch, so it cannot give {points} landmark coordinates"
        if self.landmarks and (points < 2 or points % 2):
            return f"model.name: {self.name} needs a data set with landmarks; {points} coordinates are no x, y pairs"
        if min(height, width) < self.smallest:
            return (
                f"model.name: {self.name} needs pictures of at least {self.smallest} × {self.smallest} pixels, "
                f"not {height} × {width}"
            )
        return None

    def heads(self, network: "nn.Module") -> tuple[str, ...]:
        """The output layers of a built network, that of the class logits first."""
        return self.output_layers

    @abstractmethod
    def bare(self, image_shape: tuple[int, int, int], outputs: int, points: int) -> "nn.Module":
        """The network as its source has it, for a shape and points that fit."""

    def initialize(self, module: "nn.Module", name: str) -> None:
        """Draw the leaf module `name`'s own parameters from torch's global generator, as the network's source does.

        Called for each layer whose parameters `bare` left as the layer's own initialization had drawn them; what it
        changed stays. A class that defines this beside its `bare` draws every layer.
        """
        module.reset_parameters()  # type: ignore[operator]

    @classmethod
    def _draws_all(cls) -> bool:
        """Whether `initialize` was written for this `bare`: it stands in the same class, or below it."""
        owner = next(each for each in cls.__mro__ if "initialize" in vars(each) or "bare" in vars(each))
        return owner is not Model and "initialize" in vars(owner)

    def missing_weights(self) -> str | None:
        """Why the pretrained weights asked for cannot be had on this machine, or None; downloads nothing."""
        return None

    def load_weights(self, network: "nn.Module") -> list[str]:
        """Loads pretrained weights, if asked for; returns the names of the layers that keep their random weights."""
        return []
