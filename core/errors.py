"""Errors that list every fault at once, and whether an exception means a failing disk or too little memory."""

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EIO: "the disk fails",
}
# In the message of the plain RuntimeError that torch's CPU allocator raises when memory runs out.
NO_MEMORY = ("can't allocate memory", "not enough memory")


class FaultError(Exception):
    """A refused request; `faults` has one sentence per fault, which the command line prints on a line each."""

    def __init__(self, faults: str | Iterable[str]) -> None:
        self.faults = list(dict.fromkeys([faults] if isinstance(faults, str) else faults))
        super().__init__(self.faults)

    def __str__(self) -> str:
        return "\n".join(self.faults)


class PlanError(FaultError):
    """A command that cannot be carried out."""


class StorageError(FaultError, OSError):
    """A run's files at a URL can no longer be written or read; the text is a clause that says what and why."""


class Interrupted(KeyboardInterrupt):
    """The run must stop now, and all its results are written; the text is a clause that says why.

    Not an `Exception`, like Ctrl-C: Ray Tune would end its trials one by one before it passed that on.
    """


class Moved(Interrupted):
    """The run's folder was moved or deleted meanwhile; `place` is where it is now, None where that is not known."""

    def __init__(self, folder: Path, place: Path | None) -> None:
        super().__init__(f"{folder} was {f'moved to {place}' if place else 'moved or deleted'} while it ran")
        self.place = place


def disk_fault(error: BaseException) -> str | None:
    """What is wrong with the disk or storage, if that is why something could not be written; else None.

    Libraries raise their own error while they handle the system's, so the whole exception chain is searched.
    """
    for found in _chain(error):
        if isinstance(found, StorageError):
            return str(found)
        if isinstance(found, OSError) and found.errno in DISK:
            # str() of the error is left out: pyarrow's has several lines.
            where = f" ({os.fsdecode(found.filename)})" if isinstance(found.filename, str | bytes) else ""
            return f"{DISK[found.errno]}{where}: {os.strerror(found.errno)}"
    return None


def out_of_memory(error: BaseException) -> bool:
    """Whether the error means too little memory, so that more resources may help."""
    torch = sys.modules.get("torch")  # where it is not loaded, it has raised nothing
    kinds = (MemoryError, *([torch.OutOfMemoryError] if torch else []))
    return any(
        isinstance(found, kinds)
        or (isinstance(found, RuntimeError) and any(words in str(found) for words in NO_MEMORY))
        for found in _chain(error)
    )


def first_line(error: BaseException) -> str:
    """An error as a part of a sentence: the first line of its text, or its type's name where that is empty."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
