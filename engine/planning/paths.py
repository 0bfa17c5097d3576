"""Paths in a study's settings, made absolute when they are read, so that `resume` finds them from any folder.

References to a user's files are made absolute too, and then short again, relative to the folders of their imports.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.component import REFERENCE
from core.user_code.references import LIBRARY_PREFIXES, root_of

CODE = "code"  # files that register components
DATA, WEIGHTS = ("dataset.path", "dataset.image_root"), "model.weights_file"
REFERENCES = (
    *(f"{kind}.name" for kind in ("dataset", "model", "loss", "optimizer", "schedule")),
    "augmentation.extra",
    "metrics",
)
"""settings that may refer to an object of the user's own"""
DOTTED = ("optimizer.name", "schedule.name")
"""those among them that also take a class by its dotted name, torch.optim.RAdam"""


def anchored(node: Any, folders: Sequence[Path], data_root: str | None) -> Any:
    """A study's plain data, or a part of it, with the relative paths among its settings below one of the `folders`: the
    first that holds them, else the first of all.

    Where a data set lies stays relative where that is below the data root, or, given one, in none of the folders.
    """
    if isinstance(node, list | tuple):
        return type(node)(anchored(item, folders, data_root) for item in node)
    if not isinstance(node, dict):
        return node
    own = node.get("key")  # a parameter's, whose choices are values of that setting
    return {
        key: _path(str(own) if key == "choices" and own else key, value, folders, data_root)
        for key, value in node.items()
    }


def _path(key: str, value: Any, folders: Sequence[Path], data_root: str | None) -> Any:
    if key == WEIGHTS and isinstance(value, dict):
        return {name: _path(f"{key}.{name}", file, folders, data_root) for name, file in value.items()}
    if key == CODE and isinstance(value, list | tuple):
        return type(value)(absolute(f"{file}:all", folders).removesuffix(":all") for file in value)
    if key in REFERENCES:
        return absolute(_with_colon(value) if key in DOTTED else value, folders)
    if not (key in DATA or key.startswith(f"{WEIGHTS}.")):
        return anchored(value, folders, data_root)
    if isinstance(value, list | tuple):  # choices, or the values of a condition
        return type(value)(_path(key, item, folders, data_root) for item in value)
    if not isinstance(value, str) or not value:
        return value
    places = [folder / Path(value).expanduser() for folder in folders]
    found = next((place for place in places if place.exists()), None)
    if key in DATA and data_root is not None and (found is None or (Path(data_root) / value).exists()):
        return value
    return str((found or places[0]).resolve())


def _with_colon(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(map(_with_colon, value))
    dotted = isinstance(value, str) and ":" not in value and "." in value
    return ":".join(value.rsplit(".", 1)) if dotted else value


def absolute(value: Any, folders: Sequence[Path]) -> Any:
    """A reference, or several, with the absolute path of its file; an installed module's as it is."""
    if isinstance(value, list | tuple):
        return type(value)(absolute(item, folders) for item in value)
    if isinstance(value, dict):
        return {key: absolute(item, folders) if key == "name" else item for key, item in value.items()}
    found = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if not found or found["module"] in LIBRARY_PREFIXES:
        return value
    if found["file"]:
        places = [folder / Path(found["file"]).expanduser() for folder in folders]
        return f"{next((place for place in places if place.is_file()), places[0]).resolve()}:{found['name']}"
    below = Path(*found["module"].split("."))
    for folder in folders:
        for place in (folder / below.with_suffix(".py"), folder / below / "__init__.py"):
            if place.is_file():
                return f"{place.resolve()}:{found['name']}"
    return value


def shortened(node: Any, folders: dict[str, str], grows: bool = True) -> Any:
    """Plain data with each absolute reference relative to the folder of its imports, before it that folder's label.

    `folders`: folder by label, to which new ones are added where it `grows`; the first has no label.
    """
    if isinstance(node, dict):
        return {key: shortened(value, folders, grows) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(shortened(item, folders, grows) for item in node)
    if not isinstance(node, str) or not node.startswith("/"):
        return node
    if node.endswith(".py"):  # one of `code`
        return shortened(f"{node}:all", folders, grows).removesuffix(":all")
    found = REFERENCE.fullmatch(node)
    if not found or not found["file"]:
        return node
    file = Path(found["file"])
    root = str(root_of(file))
    if root not in folders.values():
        if not grows:
            return node
        folders[_label(root, folders)] = root
    label = next(label for label, folder in folders.items() if folder == root)
    return f"{'/'.join(filter(None, [label, file.relative_to(root).as_posix()]))}:{found['name']}"


def _label(folder: str, folders: Mapping[str, str]) -> str:
    if not folders:
        return ""
    wanted = re.sub(r"[^\w-]", "_", Path(folder).name) or "root"
    names = itertools.chain([wanted], (f"{wanted}-{number}" for number in itertools.count(2)))
    first = Path(folders.get("", "/"))
    return next(name for name in names if name not in folders and not (first / name).exists())
