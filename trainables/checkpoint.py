"""Files that are whole or absent: written aside, flushed and renamed. Checkpoints load with `weights_only=True`.

torch's zip format carries a CRC of every record, which `load` checks: a damaged file reads as absent.
"""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def save(state: dict[str, Any], path: Path) -> None:
    write_whole(path, lambda temporary: torch.save(state, temporary))


def load(path: Path) -> dict[str, Any] | None:
    """The state in `path`, on the CPU; None where the file is absent, torn or damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                return None
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, zipfile.BadZipFile, RuntimeError, EOFError):
        return None
