"""The user's files that a study refers to, to be copied into the run directory."""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from hashlib import blake2b
from importlib.machinery import ModuleSpec, PathFinder
from itertools import accumulate
from pathlib import Path

from core import PACKAGES, ROOT
from core.definitions import LIBRARIES, parsed
from core.user_code.imports import world_of
from core.user_code.reads import read_below
from core.user_code.references import in_use, root_of

BY_NAME = {"importlib", "pkgutil", "runpy", "__import__"}  # what imports a module by a name made at run time
Files = Mapping[str, bytes]
"""the content of each file by its path below the run's code/"""


def collected(files: Iterable[Path]) -> dict[str, bytes]:
    """These files and all that they import from below their folders, also inside of functions, or read when loaded."""
    found: dict[str, bytes] = {}
    for file, root in _all_files(files):
        label = next((label for label, folder in in_use().items() if folder == root), "")
        found["/".join(filter(None, [label, file.relative_to(root).as_posix()]))] = file.read_bytes()
    return dict(sorted(found.items()))


def _all_files(files: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """(file, the root of its imports)."""
    for file in dict.fromkeys(files):
        root = root_of(file)
        waiting, seen = [file, *_loaded(root)], set[Path]()
        while waiting:
            if (each := waiting.pop()) not in seen and each.suffix == ".py":
                seen.add(each)
                waiting += imported(each, root)
        yield from ((each, root) for each in (*seen, *read_below(root)))


def by_made_names(file: Path) -> tuple[list[Path], list[Path]]:
    """(modules below the file's root that its code may have imported by a name made at run time, files that it may have
    read); its syntax tells neither."""
    root = root_of(file)
    reached = _reached(file, root)
    dynamic = any(_imported_names(each) & BY_NAME for each in reached)
    return sorted({*_loaded(root)} - reached) if dynamic else [], read_below(root)


def from_elsewhere(file: Path) -> list[Path]:
    """Modules that a file's code imports from neither its root nor the installed packages: from PYTHONPATH, say."""
    root = root_of(file)
    names = set().union(*(_imported_names(each) for each in _reached(file, root)))
    names = {name for name in names if not world_of(root).defines(name) and not _is_library(name)} - PACKAGES
    loaded = {name: getattr(module, "__file__", None) for name, module in sys.modules.copy().items()}
    files = {Path(at) for name, at in loaded.items() if at and name.partition(".")[0] in names}
    files = {each.resolve() for each in files if each.suffix == ".py" and each.is_absolute() and each.is_file()}
    return sorted(each for each in files if not (each.is_relative_to(root) or is_installed(each)))


def file_elsewhere(module: str) -> Path | None:
    """The file of a loaded module that is not installed but found by PYTHONPATH or in place, and may change."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file).resolve() if file and file.endswith(".py") and not is_installed(Path(file)) else None


def module_file(module: str) -> tuple[str, Path] | None:
    """(its path below the entry of sys.path that has it, its file), found without an import; None where it is
    installed, ours or built in."""
    path: list[str] | None = None
    spec: ModuleSpec | None = None
    for dotted in accumulate(module.split("."), "{}.{}".format):
        spec = PathFinder.find_spec(dotted, path)
        path = spec.submodule_search_locations if spec else None
        if spec is None or (path is None and dotted != module):
            return None
    if spec is None or not spec.has_location or not spec.origin:
        return None
    file = Path(spec.origin).resolve()
    ours = any(file.is_relative_to(ROOT / name) for name in PACKAGES)
    depth = module.count(".") + 1 + (file.stem == "__init__")
    return None if ours or is_installed(file) else ("/".join(file.parts[-depth:]), file)


def _is_library(name: str) -> bool:
    module = sys.modules.get(name)
    places = [getattr(module, "__file__", None) or "", *getattr(module, "__path__", ())][:2]
    return name in sys.stdlib_module_names or any(is_installed(Path(place)) for place in places)


@cache
def is_installed(file: Path) -> bool:
    resolved = file.resolve()
    return any(resolved.is_relative_to(folder.resolve()) for folder in LIBRARIES)


def _reached(file: Path, root: Path) -> set[Path]:
    reached, waiting = set[Path](), [file]
    while waiting:
        if (each := waiting.pop()) not in reached:
            reached.add(each)
            waiting += imported(each, root)
    return reached


@cache
def _imported_names(file: Path) -> frozenset[str]:
    """The top-level names of the modules that a file's import statements name, and `__import__` if it is called."""
    names = set[str]()
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
        elif isinstance(node, ast.Name) and node.id == "__import__":
            names.add(node.id)
    return frozenset(name.partition(".")[0] for name in names)


def _loaded(root: Path) -> list[Path]:
    modules = [getattr(module, "__file__", None) for module in world_of(root).modules.values()]
    found = [Path(name).resolve() for name in modules if name]
    return [file for file in found if file.is_relative_to(root) and file.suffix == ".py"]


@cache
def imported(file: Path, root: Path) -> tuple[Path, ...]:
    """The files below a root that a file imports, with the packages that they are in."""
    package = file.parent.relative_to(root).parts
    found: list[Path] = []
    for node in ast.walk(parsed(file)):
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
    if not world_of(root).defines(parts[0]):  # as ours are not the user's, whose file may lie beside them
        return
    for length in range(1, len(parts) + 1):
        place = root.joinpath(*parts[:length])
        yield from (each for each in (place.with_name(f"{place.name}.py"), place / "__init__.py") if each.is_file())


DIGEST = 32  # bytes: who may write two files, a harmless one and another, shall not find two of one digest


def digest(content: bytes, size: int = DIGEST) -> str:
    return blake2b(content, digest_size=size).hexdigest()


def digests(files: Files) -> dict[str, str]:
    return {name: digest(content) for name, content in files.items()}
