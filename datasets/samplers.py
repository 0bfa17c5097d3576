"""The order in which a training epoch visits its examples. Pure functions of labels and generator; no state.

Torch is imported inside, so that the registry can be read without it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from core.component import Component

if TYPE_CHECKING:
    from torch import Generator, Tensor


def uniform_order(n: int, generator: Generator) -> Tensor:
    """Every example once, in random order: (n,) int64."""
    import torch

    return torch.randperm(n, generator=generator)


def weighted_order(labels: Tensor, generator: Generator) -> Tensor:
    """As many draws as there are examples, with replacement, every class equally likely: (n,) int64.

    An example's probability is proportional to 1 / size of its class: torch's WeightedRandomSampler with inverse class
    frequencies. `labels` (n,) int64 on the CPU.
    """
    import torch

    weights = 1 / torch.bincount(labels).double()
    return torch.multinomial(weights[labels], len(labels), replacement=True, generator=generator)


class Sampler(Component):
    """One way to order an epoch; a subclass adds `name` (a literal) and `order`."""

    name: str = ""

    @abstractmethod
    def order(self, labels: Tensor, generator: Generator) -> Tensor:
        """Row numbers of one epoch, as many as `labels` has."""

    @abstractmethod
    def expected(self, counts: Sequence[int]) -> list[float]:
        """The share of each class among the rows drawn, on average, where the data has `counts` of them."""


class Uniform(Sampler):
    """Every example once an epoch."""

    name: Literal["uniform"] = "uniform"

    def order(self, labels: Tensor, generator: Generator) -> Tensor:
        """A permutation."""
        return uniform_order(len(labels), generator)

    def expected(self, counts: Sequence[int]) -> list[float]:
        """The data's own shares."""
        return [n / sum(counts) for n in counts]


class Weighted(Sampler):
    """Every class as often as any other, on average; rare examples repeat, frequent ones are left out."""

    name: Literal["weighted"] = "weighted"

    def order(self, labels: Tensor, generator: Generator) -> Tensor:
        """Draws with replacement."""
        return weighted_order(labels, generator)

    def expected(self, counts: Sequence[int]) -> list[float]:
        """Equal shares of the classes that occur."""
        present = sum(n > 0 for n in counts)
        return [1 / present if n else 0.0 for n in counts]


SAMPLERS: dict[str, type[Sampler]] = {"uniform": Uniform, "weighted": Weighted}
