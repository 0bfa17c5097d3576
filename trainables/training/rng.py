"""Replaces the global generators, which dropout, `reset_parameters` and a user's code draw from, within a block."""

import random
from typing import Any

import numpy
import torch


class RngContext:
    """In `with` blocks, `device`'s default generator continues from this object's state; draws outside are unchanged.

    So do numpy's and Python's with `libraries`, which a user's code may draw from and nothing of ours does.

    On a CUDA device the generator's state object is swapped, not copied: a CUDA graph that holds it draws on from it.
    """

    def __init__(self, device: torch.device, seed: int = 0, libraries: bool = False) -> None:
        self.own, self.libraries = torch.Generator(device), libraries
        self.outer: Any = None
        self.states: Any = None
        self.seed(seed)

    def seed(self, seed: int) -> None:
        self.own.manual_seed(seed)
        if self.libraries:
            self.states = (random.Random(seed).getstate(), numpy.random.RandomState(seed % 2**32).get_state())

    def __enter__(self) -> None:
        if self.libraries:
            self._swap_libraries()
        if self.own.device.type == "cuda":
            torch.cuda.init()
            self.outer = self._default.graphsafe_get_state()
            self._default.graphsafe_set_state(self.own)
        else:
            self.outer = self._default.get_state()
            self._default.set_state(self.own.get_state())

    def __exit__(self, *_: object) -> None:
        if self.libraries:
            self._swap_libraries()
        if self.own.device.type == "cuda":
            self._default.graphsafe_set_state(self.outer)
        else:
            self.own.set_state(self._default.get_state())
            self._default.set_state(self.outer)

    def _swap_libraries(self) -> None:
        own, self.states = self.states, (random.getstate(), numpy.random.get_state())
        random.setstate(own[0])
        numpy.random.set_state(own[1])

    @property
    def _default(self) -> torch.Generator:
        cuda = self.own.device.type == "cuda"
        return torch.cuda.default_generators[self.own.device.index or 0] if cuda else torch.default_generator
