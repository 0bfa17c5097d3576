"""Hostile values for every field of the records' schemas: a new field is tried without anybody thinking of it."""

import json
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

Place = tuple[str | int, ...]
KEY = "a key"
"""in a path: any key of a mapping"""


class Raw(str):
    """JSON as it stands, which `json.dumps` would not write."""

    __slots__ = ()


DEEP = Raw("[" * 900 + "]" * 900)
TEXTS: tuple[Any, ...] = (
    *(
        "",
        " ",
        ".",
        "..",
        "../../bait",
        "../bait/file.txt",
        "/nonexistent/x",
        "a/b",
        "a\\b",
        "C:\\x",
        "~",
        "-rf",
        "--out",
    ),
    *("\x00", "a\x1b[2Jb", "\x07", "a\nb", "a\tb", "\u202e", "\ufffe", "\u2028", "😀" * 3000, "x" * 5000),
    *(Raw('"\\ud800"'), Raw('"\\u001b]0;x\\u0007"'), "[/conv1]", "[bold]x", "<script>alert(1)</script>", "=1+1"),
    *("__proto__", "{0.__class__}", "%s%n", "$(touch bait)", "; rm -rf bait", "'\"", "nan", "None", "0", "1e5"),
)
NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 2, 7, 10**6, 10**6 + 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 0.5, -0.0, 1e300, 5e-324),
    *(Raw("1e400"), Raw("-1e400"), Raw("NaN"), Raw("Infinity"), Raw("1" + "0" * 400), Raw("1" * 5000)),
)
OTHERS: tuple[Any, ...] = (
    *(None, True, False, [], {}, [[]], [None], ["a", "a"], [1, 2], {"a": 1}, {"": ""}, {"a": {"b": {}}}, [{}]),
    *(DEEP, Raw('{"a": 1, "a": 2}'), {"name": "../../bait"}, {"name": None}, list(range(300))),
)
VALUES = (*TEXTS, *NUMBERS, *OTHERS)


def paths(annotation: Any, at: Place = ()) -> Iterator[Place]:
    """The path of every field, element and key below a schema."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from paths(get_args(annotation)[0], at)
    elif origin in (Union, UnionType):
        for each in get_args(annotation):
            yield from paths(each, at)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            yield (*at, name)
            yield from paths(field.annotation, (*at, name))
        yield (*at, "unknown")
    elif origin is list:
        yield (*at, 0)
        yield from paths(get_args(annotation)[0], (*at, 0))
    elif origin is dict:
        yield (*at, KEY)
        yield from paths(get_args(annotation)[1], (*at, KEY))
    else:
        assert annotation in (Any, NoneType) or origin is not None or isinstance(annotation, type), annotation


def put(tree: Any, path: Place, value: Any) -> bool:
    """Set the value at a path; a mapping's key is its first. False where the tree has nothing that could hold it."""
    *above, last = path
    for name in above:
        name = next(iter(tree), None) if name == KEY and isinstance(tree, dict) else name
        if isinstance(tree, list):
            if not tree:
                return False
            tree = tree[0]
        elif name is not None and isinstance(tree.get(name), dict | list):
            tree = tree[name]
        elif name is not None and isinstance(tree, dict) and tree.get(name) is None:
            tree[name] = {}
            tree = tree[name]
        else:
            return False
    if last == KEY:
        if isinstance(value, str) and isinstance(tree, dict):  # as a key
            tree[value] = next(iter(tree.values()), None)
            return True
        last = next(iter(tree), "k")
    if isinstance(tree, list):
        tree[:1] = [value]
    elif isinstance(tree, dict):
        tree[last] = value
    else:
        return False
    return True


def written(tree: Any) -> str:
    """JSON of a tree in which `Raw` stands as it is."""
    if isinstance(tree, Raw):
        return str(tree)
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{json.dumps(str(name))}: {written(each)}" for name, each in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(written, tree)) + "]"
    return json.dumps(tree, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
