"""Objects of the user's own by reference: `FILE.py:NAME` or `package.module:NAME`, loaded once a process.

A reference in a trial's configuration is short, `mine.py:Net`: relative to one of the `folders` that are in use, by
label; the first has none. So it means the same for the original files, the run's copy of them, and on another machine.
"""

import ast
import importlib
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from core.component import REFERENCE, did_you_mean
from core.errors import FaultError, first_line
from core.user_code.guard import undone
from core.user_code.imports import loaded_modules, world_of, world_with

LIBRARY_PREFIXES = ("torchvision", "timm")  # of these libraries' networks, which are no references
FORM = "FILE.py:NAME or package.module:NAME"
_folders: dict[str, Path] = {}
FORGET: list[Callable[[], object]] = []
"""empties what was made of loaded objects, when a reference may mean another one"""
_permitted: set[str] | None = None
"""what may be imported; None: whatever is named, as in a trial's process, whose driver has asked"""


class UserCodeError(FaultError, ValueError):
    """A user's file that cannot be used; each fault names it with its line."""


class Reference(NamedTuple):
    """Where an object stands: in a file, or in an installed module."""

    file: Path | None
    module: str
    name: str


def is_reference(text: object) -> bool:
    """Whether a component's name has the form of a reference."""
    return isinstance(text, str) and bool(REFERENCE.fullmatch(text))


def use(folders: Mapping[str, str | Path]) -> None:
    """Short references are to the files of these folders from now on, by label."""
    found = {label: Path(folder).resolve() for label, folder in folders.items()}
    if found != _folders:
        _folders.clear()
        _folders.update(found)
        load.cache_clear()
        for forget in FORGET:
            forget()


def permit(named: Iterable[str] | None) -> None:
    """Nothing is imported from now on but by the references and files permitted so far and those `named` now; None:
    whatever is named. A log, a checkpoint or a run beside this one may name anything, and none of them is signed."""
    global _permitted
    _permitted = None if named is None else {*(_permitted or ()), *named}


def permitted() -> list[str] | None:
    return None if _permitted is None else sorted(_permitted)


def in_use() -> dict[str, Path]:
    return dict(_folders)


def located(text: str) -> Reference:
    """Where a reference leads; UserCodeError if there is no such file."""
    found = REFERENCE.fullmatch(text)
    if not found:
        raise UserCodeError(f"{text}: is no reference; allowed: {FORM}")
    if not found["file"]:
        return Reference(None, found["module"], found["name"])
    return Reference(file_at(found["file"], text), "", found["name"])


def file_at(name: str, text: str) -> Path:
    """The absolute path of a user's file; UserCodeError, beginning with the `text` that names it, if there is none."""
    given = Path(name).expanduser()
    label, _, rest = name.partition("/")
    labelled = [_folders[label] / rest] if rest and label in _folders else []
    tries = [*labelled, _folders.get("", Path.cwd()) / given]  # which an absolute path is itself
    file = next((file for file in tries if file.is_file()), None)
    if file is None:
        folder = tries[0].parent
        near = [each.stem for each in sorted(folder.glob("*.py"))] if folder.is_dir() else []
        hint = f"; files there: {did_you_mean(given.stem, near).removeprefix('allowed: ')}" if near else ""
        raise UserCodeError(f"{text}: no file {tries[0]}{hint}")
    return file.resolve()


def root_of(file: Path) -> Path:
    """The folder that a file's imports start from: its own, or the one around the packages that it is in."""
    root = file.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    return root


@cache
def load(text: str) -> Any:
    """The object of a reference; UserCodeError, with the user's file and line, if it cannot be had."""
    place = located(text)
    module = _module(text, place)
    try:
        return getattr(module, place.name)
    except AttributeError:
        own = [name for name, value in vars(module).items() if not name.startswith("_") and callable(value)]
        where = short(place.file) if place.file else place.module
        raise UserCodeError(f"{text}: {where} defines no {place.name}; {did_you_mean(place.name, own)}") from None


def load_file(name: str, extending: bool = False) -> ModuleType:
    """The module of a user's file; one that is `extending` may import ours. UserCodeError if it cannot be imported."""
    file = file_at(name, f"code: {name}")
    if extending:
        world_of(root_of(file)).extending.add(file)
    return _module(f"code: {name}", Reference(file, "", ""))


def as_its_file_sees(text: str) -> AbstractContextManager[None]:
    """The block in which `sys.modules` has the modules of a reference's file under their names."""
    file = located(text).file
    return world_of(root_of(file)).present() if file else nullcontext()


def _module(text: str, place: Reference) -> ModuleType:
    if _permitted is not None and text.removeprefix("code: ") not in _permitted:
        raise UserCodeError(f"{text}: is not executed, as neither this command nor the run's study.json names it")
    try:
        if place.file:
            return world_of(root_of(place.file)).load(place.file)
        with undone(None):
            return importlib.import_module(place.module)
    except ModuleNotFoundError as error:
        if error.name and (f"{place.module}.").startswith(f"{error.name}."):
            raise UserCodeError(f"{text}: no module {error.name} is installed") from None
        raise fault(text, "cannot be imported", error) from error
    except (Exception, SystemExit) as error:
        raise fault(text, "cannot be imported", error) from error


def fault(text: str, what: str, error: BaseException, value: Any = None) -> UserCodeError:
    """`mine.py:Net: cannot be imported: mine.py, line 3: NameError: …`, at the last line of the user's own; where it
    passed none, where the `value` that was called is defined."""
    reason = f"{type(error).__name__}: {first_line(error)}" if str(error) else type(error).__name__
    if isinstance(error, SystemExit):
        reason = f"it ends the program (sys.exit({error.code!r})); keep that below `if __name__ == '__main__':`"
    if isinstance(error, SyntaxError) and error.filename:
        at = f"{short(Path(error.filename))}, line {error.lineno}: "
        reason = f"SyntaxError: {error.msg}"
    else:
        at = line_of(error) or (f"{defined_at(value)}: " if value is not None else "")
    return UserCodeError(f"{text}: {what}: {at}{reason}{_remedy(error)}")


def _remedy(error: BaseException) -> str:
    """Where imports would start from a folder above, if the file's folders were a package."""
    files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__) if is_users(frame.filename)]
    if not isinstance(error, ImportError) or not files:
        return ""
    root, top = root_of(files[-1]), (error.name or "").partition(".")[0]
    if "relative import" in str(error):
        return f"; put an empty __init__.py into {short(root)}, so that it is a package"
    above = [
        folder for folder in root.parents[:3] if top and ((folder / top).is_dir() or (folder / f"{top}.py").is_file())
    ]
    if not above or not isinstance(error, ModuleNotFoundError):
        return ""
    packages = [
        short(folder) for folder in (root, *root.parents) if folder.is_relative_to(above[0]) and folder != above[0]
    ]
    where = f"imports start from {short(root)}, and {top} stands in {short(above[0])}"
    return f"; {where}: put an empty __init__.py into {', '.join(packages)}"


def line_of(error: BaseException) -> str:
    """`mine.py, line 3: ` of the last line of a user's file that an error passed; empty if it passed none."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_users(frame.filename)]
    return f"{short(Path(frames[-1].filename))}, line {frames[-1].lineno}: " if frames else ""


def is_users(filename: str) -> bool:
    return not filename.startswith("<") and world_with(Path(filename)) is not None


def defined_at(value: Any) -> str:
    """`mine.py, line 12` where a class or function is defined; its module's name for a library's."""
    if isinstance(value, type):
        # Not by `sys.modules`, which has one of two folders' modules of one name.
        for module in loaded_modules():
            own = vars(module).get(value.__name__) is value and value.__module__ == module.__name__
            if own and module.__file__:
                return f"{short(Path(module.__file__))}, line {_line_of_class(value.__name__, Path(module.__file__))}"
    elif (code := getattr(value, "__code__", None)) is not None and is_users(code.co_filename):
        return f"{short(Path(code.co_filename))}, line {code.co_firstlineno}"
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__name__)}".strip(".")


def _line_of_class(name: str, file: Path) -> int:
    nodes = ast.walk(ast.parse(file.read_bytes()))
    return next((node.lineno for node in nodes if isinstance(node, ast.ClassDef) and node.name == name), 1)


def short(file: Path) -> str:
    """A user's file as seen from the working directory."""
    try:
        return str(file.relative_to(Path.cwd()))
    except ValueError:
        return str(file)
