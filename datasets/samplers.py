"""The order in which a training epoch visits its examples. Pure functions of labels and generator; no state.

Torch is imported inside, so that the registry can be read without it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from core.component import Component, Registry

if TYPE_CHECKING:
    from torch import Generator, Tensor


class Sampler(Component):
    """One way to order an epoch; a subclass adds `name` (a literal) and `order`."""

    name: str = ""

    @abstractmethod
    def order(self, labels: Tensor, generator: Generator) -> Tensor:
        """Row numbers of one epoch (n,) int64, as many as `labels` (n,) int64 on the CPU has."""

    @abstractmethod
    def expected(self, counts: Sequence[int]) -> list[float]:
        """The share of each class among the sampled rows, on average, where the data has `counts` of them."""


class Uniform(Sampler):
    """Every example once an epoch."""

    name: Literal["uniform"] = "uniform"

    def order(self, labels: Tensor, generator: Generator) -> Tensor:
        """A permutation."""
        import torch

        return torch.randperm(len(labels), generator=generator)

    def expected(self, counts: Sequence[int]) -> list[float]:
        """The data's own shares."""
        return [n / sum(counts) for n in counts]


class Weighted(Sampler):
    """Every class as often as any other, on average; rare examples repeat, frequent ones are left out."""

    name: Literal["weighted"] = "weighted"

    def order(self, labels: Tensor, generator: Generator) -> Tensor:
        """Draws with replacement, an example's probability proportional to 1 / size of its class.

        They are those of torch's WeightedRandomSampler with inverse class frequencies.
        """
        import torch

        weights = 1 / torch.bincount(labels).double()
        return torch.multinomial(weights[labels], len(labels), replacement=True, generator=generator)

    def expected(self, counts: Sequence[int]) -> list[float]:
        """Equal shares of the classes that occur."""
        present = sum(n > 0 for n in counts)
        return [1 / present if n else 0.0 for n in counts]


SAMPLERS = Registry[Sampler]({"uniform": Uniform, "weighted": Weighted})
