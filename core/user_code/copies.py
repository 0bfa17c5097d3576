"""The user's files that a configuration's references lead to, to be copied into the run directory."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from hashlib import blake2b
from pathlib import Path

from core.user_code.imports import world_of
from core.user_code.references import in_use, located, root_of

Files = Mapping[str, bytes]
"""the content of each file by its path below the run's code/"""


def collected(references: Iterable[str]) -> dict[str, bytes]:
    """The files of these references and all that they import from below their folders, also inside of functions."""
    found: dict[str, bytes] = {}
    for file, root in _all_files(references):
        label = next((label for label, folder in in_use().items() if folder == root), "")
        found["/".join(filter(None, [label, file.relative_to(root).as_posix()]))] = file.read_bytes()
    return dict(sorted(found.items()))


def _all_files(references: Iterable[str]) -> Iterator[tuple[Path, Path]]:
    """(file, the root of its imports)."""
    for reference in references:
        if not (file := located(reference).file):
            continue
        root = root_of(file)
        modules = [getattr(module, "__file__", None) for module in world_of(root).modules.values()]
        loaded = [path for name in modules if name and (path := Path(name).resolve()).is_relative_to(root)]
        waiting, seen = [file, *loaded], set[Path]()
        while waiting:
            if (each := waiting.pop()) not in seen and each.suffix == ".py":
                seen.add(each)
                waiting += imported(each, root)
        yield from ((each, root) for each in seen)


@cache
def imported(file: Path, root: Path) -> tuple[Path, ...]:
    """The files below a root that a file imports, with the packages that they are in."""
    package = file.parent.relative_to(root).parts
    found: list[Path] = []
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found += _module_files(root, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            parts = [*above, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                found += _module_files(root, [*parts, alias.name])
    return tuple(dict.fromkeys(found))


def _module_files(root: Path, parts: list[str]) -> Iterator[Path]:
    """The files of a dotted name: of each package on the way, and of the module."""
    for length in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:length])
        yield from (each for each in (place.with_name(f"{place.name}.py"), place / "__init__.py") if each.is_file())


def digests(files: Files) -> dict[str, str]:
    return {name: blake2b(content, digest_size=8).hexdigest() for name, content in files.items()}
