"""Replaces torch's global generators, which dropout and `reset_parameters` draw from, within a block."""

from typing import Any

import torch


class RngContext:
    """In `with` blocks, `device`'s default generator continues from this object's state; draws outside are unchanged.

    On a CUDA device the generator's state object is swapped, not copied: a CUDA graph that holds it draws on from it.
    """

    def __init__(self, device: torch.device, seed: int = 0) -> None:
        self.own = torch.Generator(device)
        self.own.manual_seed(seed)
        self.outer: Any = None

    def seed(self, seed: int) -> None:
        self.own.manual_seed(seed)

    def __enter__(self) -> None:
        if self.own.device.type == "cuda":
            torch.cuda.init()
            self.outer = self._default.graphsafe_get_state()
            self._default.graphsafe_set_state(self.own)
        else:
            self.outer = self._default.get_state()
            self._default.set_state(self.own.get_state())

    def __exit__(self, *_: object) -> None:
        if self.own.device.type == "cuda":
            self._default.graphsafe_set_state(self.outer)
        else:
            self.own.set_state(self._default.get_state())
            self._default.set_state(self.outer)

    @property
    def _default(self) -> torch.Generator:
        cuda = self.own.device.type == "cuda"
        return torch.cuda.default_generators[self.own.device.index or 0] if cuda else torch.default_generator
