"""Saves and loads checkpoint files: each is intact or counts as absent, and loads with `weights_only=True`.

A checkpoint ends with a digest of itself, stored as the comment of the zip file that torch writes: torch's own check
sums leave out the zip directory, and a byte flipped in it can load as other weights.
"""

from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import torch

from core.errors import disk_fault
from core.files import seal, whole, write_atomically


def save(state: dict[str, Any], path: Path) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # given a path, torch hides the system's error of a full disk
            torch.save(_own(state), file)
        seal(temporary)

    write_atomically(path, write)


def _own(state: Any) -> Any:
    """`state` with views of larger tensors cloned: torch would save all of the memory that a view is of."""
    if isinstance(state, dict):
        return type(state)((key, _own(value)) for key, value in state.items())
    if isinstance(state, list | tuple):
        return type(state)(map(_own, state))
    if isinstance(state, torch.Tensor) and state.untyped_storage().nbytes() > state.nbytes:
        return state.clone()
    return state


def load(path: Path) -> dict[str, Any] | None:
    """The state in `path`, on the CPU; None where the file is absent, torn, damaged, or holds no state."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True) if whole(path) and _unpacked(path) else None
    except OSError as error:
        if disk_fault(error):  # the file may be intact: do not silently resume from an older one
            raise
        return None
    except Exception:  # anybody may write a digest behind any file, and torch's reader has errors of many kinds
        return None
    return state if isinstance(state, dict) else None


def _unpacked(path: Path) -> bool:
    """Whether a checkpoint takes no more memory than its file has bytes: torch packs nothing, but unpacks."""
    with ZipFile(path) as held:
        stored = all(entry.compress_type == ZIP_STORED for entry in held.infolist())
        return stored and sum(entry.file_size for entry in held.infolist()) <= path.stat().st_size
