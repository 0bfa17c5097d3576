"""Torch's global generators, which dropout and `reset_parameters` draw from: seeded for a block, and put back after."""

import contextlib
from collections.abc import Iterator

import torch

CPU = torch.device("cpu")


def reseed(seed: int, device: torch.device = CPU) -> None:
    """What `torch.manual_seed` does for one device; that also asks for the whole call stack, for a millisecond."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


@contextlib.contextmanager
def drawn_from(seed: int, device: torch.device = CPU) -> Iterator[None]:
    """What the block draws on the CPU and on `device` follows from `seed` alone, and changes no later draw."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        reseed(seed, device)
        yield


class Turns:
    """As `drawn_from`, for one of several that take turns: each block draws on where its last one ended.

    On a CUDA device it is the generator's state itself that is exchanged, as a captured graph draws from the one that
    it was captured with.
    """

    def __init__(self, device: torch.device) -> None:
        self.own = torch.Generator(device)

    def seed(self, seed: int) -> None:
        self.own.manual_seed(seed)

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """What dropout on the device draws in this block is its own."""
        if self.own.device.type == "cuda":
            torch.cuda.init()
            default = torch.cuda.default_generators[self.own.device.index or 0]
            outer = default.graphsafe_get_state()
            default.graphsafe_set_state(self.own)
            try:
                yield
            finally:
                default.graphsafe_set_state(outer)
        else:
            kept = torch.default_generator.get_state()
            torch.default_generator.set_state(self.own.get_state())
            try:
                yield
            finally:
                self.own.set_state(torch.default_generator.get_state())
                torch.default_generator.set_state(kept)
