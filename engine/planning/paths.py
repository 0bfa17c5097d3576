"""Paths in a study's settings, made absolute when they are read, so that `resume` finds them from any folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

DATA, WEIGHTS = ("dataset.path", "dataset.image_root"), "model.weights_file"


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
