"""Every setting that a trial can be given, as Markdown: its type, its default, what is allowed, what it does.

docs/settings.md is what `python run_search.py settings` prints. All of it is read off the components: what a setting
does is the docstring below its field.
"""

import ast
import inspect
import json
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from core.component import Component, Needs, Range, did_you_mean
from core.errors import PlanError
from trainables.config import DEFAULTS, KINDS, SINGLE, TrialConfig

COMMAND = "python run_search.py settings"
HEADER = f"""# Settings

<!-- Printed by `{COMMAND} > docs/settings.md`; edit the docstrings below the fields instead. -->

A setting has a dotted name, `KIND.SETTING`. `--set optimizer.lr=0.01` gives it on the command line; `baseline`, a
level's `settings` and `space` give it in [a study](studies.md). `KIND.name` chooses the component of a kind; the
settings are those of the component chosen. Defaults are the components' own: a workload and a study lay theirs over
them.

*Range* is where a search looks that names no bounds of its own. Shares of the budget are shares of `training.epochs`.
`{COMMAND} KIND` prints one kind.
"""
COLUMNS = ("setting", "type", "default", "allowed", "range", "what it does")
WORDS = {int: "whole number", float: "number", bool: "true or false", str: "text", NoneType: "null"}
SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
Row = tuple[str, ...]


def settings_text(kind: str | None = None) -> str:
    """All kinds of settings, or one; PlanError for a kind that is not there."""
    kinds = list(TrialConfig.model_fields)
    if kind is None:
        return "\n".join([HEADER, *map(_section, kinds)])
    if kind not in kinds:
        raise PlanError(f"settings {kind}: no such kind; {did_you_mean(kind, kinds)}")
    return _section(kind)


def setting_rows() -> list[Row]:
    """The row of every setting of every component."""
    rows = [row for kind in TrialConfig.model_fields for owner in _owners(kind).values() for row in _rows(kind, owner)]
    return [*rows, *(_row(name, TrialConfig, name) for name in sorted(SINGLE))]


def _owners(kind: str) -> Mapping[str, type[Component]]:
    """The components of a kind by name; a group of settings is the only one of its kind."""
    if kind in SINGLE:
        return {}
    if kind not in KINDS:
        return {"": TrialConfig.model_fields[kind].annotation}  # type: ignore[dict-item]
    return {**KINDS[kind], **{f"{prefix}:NAME": owner for prefix, owner in KINDS[kind].families.items()}}


def _section(kind: str) -> str:
    parts = [f"## {kind}\n"]
    if kind in SINGLE:
        return "\n".join([*parts, _table([_row(kind, TrialConfig, kind)])])
    owners = _owners(kind)
    if kind not in KINDS:
        return "\n".join([*parts, _described(owners[""]), _table(_rows(kind, owners[""]))])
    names = ", ".join(f"`{name}`" for name in owners)
    chosen = DEFAULTS.get(f"{kind}.name")
    default = f"; default `{chosen}`" if chosen else ", which the workload chooses"
    parts.append(f"`{kind}.name`: one of {names}{default}.\n")
    every = [_rows(kind, owner) for owner in owners.values()]
    shared = [row for row in every[0] if all(row in rows for rows in every)]
    if shared:
        parts += ["Settings of every one of them:\n", _table(shared)]
    for (name, owner), rows in zip(owners.items(), every, strict=True):
        parts += [f"### {kind}.name: {name}\n", _described(owner)]
        if own := [row for row in rows if row not in shared]:
            parts.append(_table(own))
    return "\n".join(parts)


def _described(owner: type[Component]) -> str:
    return " ".join((owner.__doc__ or "").split()) + "\n"


def _rows(kind: str, owner: type[Component]) -> list[Row]:
    return [_row(f"{kind}.{name}", owner, name) for name in owner.model_fields if name != "name"]


def _row(setting: str, owner: type[Component], name: str) -> Row:
    field = owner.model_fields[name]
    ranges = (item for item in field.metadata if isinstance(item, Range))
    searched = next((f"{item.low:g} to {item.high:g}{', log' * item.log}" for item in ranges), "")
    allowed = "; ".join(filter(None, [_bounds(field.metadata), _inner(field.annotation)]))
    default = "`" + json.dumps(field.get_default(), default=str, ensure_ascii=False) + "`"
    what = next((docs[name] for base in owner.__mro__ if name in (docs := field_docs(base))), "")
    needs = "".join(f"; takes effect only with {_need(item)}" for item in field.metadata if isinstance(item, Needs))
    return (f"`{setting}`", _type(field.annotation), default, allowed, searched, what + needs)


def _type(annotation: Any) -> str:
    """A type in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return "choice"
    if origin in (Union, UnionType):
        return " or ".join(map(_type, arguments))
    if origin is tuple and arguments[-1] is not Ellipsis:
        return f"list of {len(arguments)}: {_type(arguments[0])}"
    if origin is tuple:
        return f"list: {_type(arguments[0])}"
    if isinstance(annotation, type) and issubclass(annotation, Component):
        return "name or mapping"
    return "mapping from text to text" if origin is dict else WORDS[annotation]


def _inner(annotation: Any) -> str:
    """What is allowed inside: the words of a choice, the bounds of a list's items."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return "; ".join(filter(None, [_bounds(arguments[1:]), _inner(arguments[0])]))
    if origin is Literal:
        return ", ".join(f"`{word}`" for word in arguments)
    if origin is tuple:
        found = _inner(arguments[0])
        return f"each {found}" if found else ""
    return next(filter(None, map(_inner, arguments)), "")


def _bounds(metadata: Iterable[Any]) -> str:
    """Of pydantic's constraints: `≥ 0, < 1`."""
    # Field's constraints are grouped where they stand inside a type.
    parts = [part for item in metadata for part in (getattr(item, "metadata", None) or [item])]
    return ", ".join(f"{SIGNS[key]} {getattr(part, key):g}" for part in parts for key in SIGNS if hasattr(part, key))


def _need(needs: Needs) -> str:
    values = "".join(f" = {json.dumps(value)}" for value in needs.values)
    return " or ".join(f"`{key}`{values}" for key in needs.keys)


@cache
def field_docs(owner: type) -> dict[str, str]:
    """The docstring below each field of a class. Read only here: pydantic's own reading (`use_attribute_docstrings`)
    would parse every settings file at every start of the program."""
    if not issubclass(owner, Component) or owner is Component:
        return {}
    tree = ast.parse(inspect.getsource(inspect.getmodule(owner) or owner))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == owner.__name__)
    docs = {}
    for field, below in pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                docs[name] = " ".join(text.split())
    return docs


def _table(rows: Iterable[Row]) -> str:
    lines = [COLUMNS, ("---",) * len(COLUMNS), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
