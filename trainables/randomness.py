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
