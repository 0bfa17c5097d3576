"""A user's own files that register components beside ours: the same registries, open."""

from collections.abc import Iterable

from core.user_code.references import UserCodeError, load_file
from trainables.config import KINDS


def extend(files: Iterable[str]) -> None:
    """Imports each file, short or absolute, once; UserCodeError if it fails or takes a name that there is already."""
    for file in files:
        before = {kind: dict(registry) for kind, registry in KINDS.items()}
        load_file(file, extending=True)
        for kind, known in before.items():
            taken = [name for name, owner in known.items() if not _alike(KINDS[kind].get(name), owner)]
            KINDS[kind].update({name: known[name] for name in taken})
            if taken:
                raise UserCodeError(f"code: {file}: registers {kind} {taken[0]!r}, which is taken; give another name")


def _alike(new: type | None, old: type) -> bool:
    """Whether a name stands for what it did: that very class, or the same one of the user's from another copy."""
    return new is old or (new is not None and not old.__module__.startswith(("trainables.", "datasets.")))
