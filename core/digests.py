"""Digests by which a file is known to be as it was written.

A checkpoint ends with a digest of itself, stored as the comment of the zip file that torch writes; other files' digests
stand in the run's records.
"""

from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

DIGEST = 16
TAIL = 2 + DIGEST  # the comment's length, the comment
CHECKPOINT = ".pt"


def seal(path: Path) -> None:
    """Write a digest of the zip file over the length of its empty comment, as its comment."""
    with path.open("r+b") as file:
        digest = _digest(file, path.stat().st_size - 2)
        file.write(DIGEST.to_bytes(2, "little") + digest)


def whole(path: Path) -> bool:
    """Whether a checkpoint is as it was saved; OSError where it cannot be read."""
    with path.open("rb") as file:
        digest = _digest(file, path.stat().st_size - TAIL)
        return file.read() == DIGEST.to_bytes(2, "little") + digest


def known_digest(path: Path) -> str:
    """The digest of a file as records hold it, in hex: of a checkpoint the one that it ends with, unchecked."""
    with path.open("rb") as file:
        size = path.stat().st_size
        if path.suffix == CHECKPOINT:
            file.seek(max(0, size - DIGEST))
            return file.read().hex()
        return _digest(file, size).hex()


def found_digest(path: Path) -> str | None:
    """`known_digest` of a file, empty for a checkpoint that is not whole or what cannot be read; None if it is gone."""
    try:
        return "" if path.suffix == CHECKPOINT and not whole(path) else known_digest(path)
    except FileNotFoundError:
        return None
    except OSError:
        return None if not path.exists() else ""


def _digest(file: BinaryIO, size: int) -> bytes:
    """The digest of the file's next `size` bytes, which are read."""
    digest = blake2b(digest_size=DIGEST)
    while size > 0 and (chunk := file.read(min(size, 2**20))):
        digest.update(chunk)
        size -= len(chunk)
    return digest.digest()
