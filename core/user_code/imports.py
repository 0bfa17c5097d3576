"""Imports of a user's files, in which every name means what it would mean without this program.

A file may have siblings called `datasets.py` or `models.py`, or use an installed package called `datasets`, in every
process and at any time. So `__import__` is replaced: by the file that imports, it decides which module a top-level name
stands for, and puts that module (and those below it) into `sys.modules` for the length of the import.
"""

import builtins
import importlib
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec, resolve_name, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from core import PACKAGES as OURS
from core import ROOT
from core.definitions import LIBRARIES as LIBRARY_FOLDERS
from core.user_code.guard import undone

# They import modules in the name of others: what they were given by our processes is ours.
CARRIERS = frozenset(("ray", "pickle", "cloudpickle", "multiprocessing", "_pytest", "pytest", "importlib"))


class World:
    """The modules of the files below `root`; without one, those of the installed packages that are called as ours.

    `extending` files register components beside ours: there, our names are ours.
    """

    def __init__(self, root: Path | None) -> None:
        self.root = root
        self.modules: dict[str, ModuleType] = {}
        self.extending: set[Path] = set()
        self._defined: dict[str, bool] = {}

    def defines(self, top: str) -> bool:
        """Whether a file or a package of the root has this name."""
        if self.root is None or (self.root == ROOT and top in OURS):
            return False
        if top not in self._defined:
            self._defined[top] = (self.root / f"{top}.py").is_file() or _holds_python(self.root / top)
        return self._defined[top]

    def load(self, file: Path) -> ModuleType:
        """The module of a file below the root; whatever it raises is the user's."""
        assert self.root is not None
        parts = file.relative_to(self.root).with_suffix("").parts
        _install()
        if any("." in part for part in parts):  # no name that an import statement could hold
            return self._load_alone(file, "_".join(part.replace(".", "_") for part in parts))
        with self.entered(parts[0]):
            return importlib.import_module(".".join(parts))

    def _load_alone(self, file: Path, name: str) -> ModuleType:
        if name not in self.modules:
            spec = spec_from_file_location(name, file)
            assert spec is not None
            with undone(file):
                self.modules[name] = _loaded(spec)
                sys.modules.pop(name)
        return self.modules[name]

    @contextmanager
    def entered(self, top: str) -> Iterator[None]:
        """In the block, `top` and what is below it are this world's modules; what importing them changes is undone."""
        with _locked():
            if _current.get(top) is self:
                yield
                return
            above, before = _current.get(top), _taken(top)
            if above is not None:
                above.modules |= before
            _current[top] = self
            sys.modules.update(_below(self.modules, top))
            try:
                with undone(self.root):
                    if top not in sys.modules:
                        self._load_top(top)
                    yield
            finally:
                found = _taken(top)
                self.modules |= found
                if above is None:
                    del _current[top]
                else:
                    _current[top] = above
                # Where nothing of that name was before, it stays: libraries look modules up by their names.
                sys.modules.update(before if before or top in OURS else found)

    @contextmanager
    def present(self) -> Iterator[None]:
        """In the block, all modules that were loaded here are in `sys.modules`, where annotations are looked up."""
        with ExitStack() as stack:
            for top in dict.fromkeys(name.partition(".")[0] for name in self.modules):
                if self.defines(top):
                    stack.enter_context(self.entered(top))
            yield

    def _load_top(self, top: str) -> None:
        spec = self._spec(top)
        if spec is None:
            raise ModuleNotFoundError(f"No module named {top!r}", name=top)
        _loaded(spec)

    def _spec(self, top: str) -> ModuleSpec | None:
        path = [*([str(self.root)] if self.root else []), *(each for each in sys.path if not _is_root(each))]
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", lambda *_: None)
            found = find(top, path if finder is PathFinder else None)
            if found is not None and not (found.origin and Path(found.origin).is_relative_to(ROOT / top)):
                return found
        return None

    def has(self, top: str) -> bool:
        if top not in self._defined:
            self._defined[top] = self._spec(top) is not None
        return self._defined[top]


LIBRARIES = World(None)
_LOCK = threading.RLock()
_OTHERS = threading.RLock()
PATIENCE = 0.5  # seconds: a file that waits, as it is imported, for threads which import would wait for ever
_current: dict[str, World] = {}
"""by top-level name, whose modules are in sys.modules; without an entry, they are the process's own"""
_worlds: dict[Path, World] = {}
_importers: dict[str, World | None] = {}
"""by the file that imports, the world that it belongs to"""
_original: Any = builtins.__import__
_original_import_module = importlib.import_module


@contextmanager
def _locked() -> Iterator[None]:
    held = next((lock for lock in (_LOCK, _OTHERS) if lock.acquire(timeout=PATIENCE)), None)
    try:
        yield
    finally:
        if held is not None:
            held.release()


def world_of(root: Path) -> World:
    """The world of the files below a folder; kept for the life of the process."""
    if root not in _worlds:
        _worlds[root] = World(root)
        _importers.clear()
    return _worlds[root]


def loaded_modules() -> list[ModuleType]:
    """The modules of all users' files that were loaded so far."""
    return [module for world in _worlds.values() for module in world.modules.values()]


def world_with(file: Path) -> World | None:
    """The world that a file belongs to; None for files of ours and of installed packages."""
    if any(file.is_relative_to(folder) for folder in (*LIBRARY_FOLDERS, *(ROOT / name for name in OURS))):
        return None
    found = [world for root, world in _worlds.items() if file.is_relative_to(root)]
    return max(found, key=lambda world: len(str(world.root)), default=None)


def _install() -> None:
    if builtins.__import__ is not _import:
        builtins.__import__ = _import  # type: ignore[assignment]
        importlib.import_module = _import_module


def _import(
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: Any = (),
    level: int = 0,
) -> Any:
    absolute = name
    if level and globals:
        absolute = resolve_name("." * level + name, str(globals.get("__package__") or globals.get("__name__") or ""))
    with _as_meant(absolute, sys._getframe(1).f_globals if globals is None else globals):
        return _original(name, globals, locals, fromlist, level)


def _import_module(name: str, package: str | None = None) -> ModuleType:
    absolute = resolve_name(name, package) if name.startswith(".") else name
    with _as_meant(absolute, sys._getframe(1).f_globals):
        return _original_import_module(absolute)


def _as_meant(name: str, importing: Mapping[str, Any] | None) -> AbstractContextManager[None]:
    """The block in which a module's name stands for what it means in a file with these globals."""
    top = name.partition(".")[0]
    world = _world_for(top, importing) if importing is not None else None
    if world is None:
        return _AS_IT_IS
    if name in world.modules and sys.modules.get(name) is world.modules[name]:
        return _AS_IT_IS
    return world.entered(top)


_AS_IT_IS: AbstractContextManager[None] = nullcontext()


def _world_for(top: str, importing: Mapping[str, Any]) -> World | None:
    """Whose module a top-level name is; None where it is whatever the process has."""
    if top not in OURS and not any(world.defines(top) for world in _worlds.values()):
        return None
    file = importing.get("__file__")
    if isinstance(file, str) and file not in _importers:
        _importers[file] = world_with(Path(file))
    world = _importers[file] if isinstance(file, str) else None
    if world is not None and world.defines(top):
        return world
    if top not in OURS:
        return None
    if world is not None:
        if Path(str(file)) in world.extending:
            return None
        return None if world.extending and not LIBRARIES.has(top) else LIBRARIES
    own = str(importing.get("__name__") or "").partition(".")[0]
    if own in CARRIERS or own == "__main__" or (isinstance(file, str) and Path(file).is_relative_to(ROOT)):
        return None
    return LIBRARIES if LIBRARIES.has(top) else None


def _taken(top: str) -> dict[str, ModuleType]:
    """The modules of a name, out of sys.modules."""
    return {name: sys.modules.pop(name) for name in list(_below(sys.modules, top))}


def _below(modules: Mapping[str, ModuleType], top: str) -> dict[str, ModuleType]:
    return {name: module for name, module in modules.items() if name == top or name.startswith(f"{top}.")}


def _loaded(spec: ModuleSpec) -> ModuleType:
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        if spec.loader is not None:
            spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(spec.name, None)
        raise
    return sys.modules[spec.name]


def _is_root(entry: str) -> bool:
    return Path(entry or ".").resolve() == ROOT


def _holds_python(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob("*.py"))
