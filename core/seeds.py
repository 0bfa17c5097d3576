"""Numbers derived from named parts by a stable hash: the same in every process, on every machine, for ever.

Python's own `hash()` is salted per process and must never decide a split, an order or a seed.
"""

import hashlib


def stable_hash(*parts: str | int) -> int:
    """64 bits of blake2b over the parts; written with type and length, so ("a", "b") is not ("ab",)."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        text = str(part).encode()
        digest.update(f"{'s' if isinstance(part, str) else 'i'}{len(text)}:".encode() + text)
    return int.from_bytes(digest.digest(), "big")


def stable_unit(*parts: str | int) -> float:
    """A number in [0, 1) from the parts: the 53 highest bits of `stable_hash`, so that 1.0 cannot come out."""
    return (stable_hash(*parts) >> 11) / (1 << 53)


def derive_seed(seed: int, *parts: str | int) -> int:
    """A seed of 63 bits (what torch and numpy take) for one named use, independent of every other use's seed."""
    return stable_hash(seed, *parts) >> 1
