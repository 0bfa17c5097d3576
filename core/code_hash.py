"""Hashes all code reachable from given definitions; equal hashes mean the same computation."""

import ast
import hashlib
import re
from collections import deque
from collections.abc import Collection, Iterable
from pathlib import Path

from core.definitions import EFFECTS, EVERYTHING, Library, Module, Private, Ref, is_private, module

BEGINNING = re.compile(r"str '(_\w+)")  # a string constant that starts with a private name, or part of one


def closure_hash(entries: Iterable[Ref], uncounted: Collection[Ref] = ()) -> str:
    """Hash (12 hex digits) of all definitions reachable by name from `entries`, numbered in the order they are found.

    Of `uncounted` definitions (EVERYTHING: of a whole module) the name is hashed but not the code. Importing a module
    may do more than define names: the EFFECTS of each module that is reached, and of its imports, are hashed too.
    """
    numbers: dict[Ref, int] = {}
    modules: dict[Path, None] = {}

    def entered(ref: Ref) -> bool:
        return ref not in uncounted and Ref(ref.file, EVERYTHING) not in uncounted

    def enter(file: Path) -> None:
        if file not in modules and Ref(file, EVERYTHING) not in uncounted:
            modules[file] = None
            for imported in module(file).imports:
                enter(imported)

    def effects() -> list[Ref]:
        found = (Ref(file, EFFECTS) for file in modules if module(file).effects)
        return [ref for ref in found if ref not in numbers]

    waiting = deque(ref if ref.name in module(ref.file).bound else Ref(ref.file, EVERYTHING) for ref in entries)
    while waiting or (waiting := deque(effects())):
        ref = waiting.popleft()
        if ref in numbers or not entered(ref):
            continue
        numbers[ref] = len(numbers)
        waiting.extend(token for token in module(ref.file).tokens(ref.name) if isinstance(token, Ref))
        enter(ref.file)
    renamable = _own_methods(numbers)
    names: dict[str, int] = {}
    digest = hashlib.blake2b(digest_size=6)
    for ref in numbers:
        for token in module(ref.file).tokens(ref.name):
            if isinstance(token, Ref):
                token = f"§{numbers[token]}" if token in numbers else f"~{token.name}"
            elif isinstance(token, Private):
                name = token.name
                token = f"_{names.setdefault(name, len(names))}" if name in renamable else name
            digest.update(f"{token}\0".encode())
    return digest.hexdigest()


def _own_methods(refs: Iterable[Ref]) -> set[str]:
    """Private methods whose name has no effect: no library class can call them, and no string constant spells them."""
    own, foreign, texts = set[str](), set[str](), set[str]()
    for ref in refs:
        owner = module(ref.file)
        texts.update(
            found for token in owner.tokens(ref.name) if isinstance(token, str) for found in BEGINNING.findall(token)
        )
        for statement in owner.bound.get(ref.name, []):
            if isinstance(statement, ast.ClassDef):
                methods = {part.name for part in statement.body if isinstance(part, ast.FunctionDef)}
                (own if _all_ours(owner, statement) else foreign).update(filter(is_private, methods))
    return {name for name in own - foreign if not name.startswith(tuple(texts))}


def _all_ours(owner: Module, definition: ast.ClassDef) -> bool:
    """Whether a class and its base classes are this program's; ABC and NamedTuple, which call no methods, count too."""
    for base in definition.bases:
        target = owner.target(base.id) if isinstance(base, ast.Name) else None
        if isinstance(target, Library) and target.name in ("abc.ABC", "typing.NamedTuple"):
            continue
        above = module(target.file).bound.get(target.name, []) if isinstance(target, Ref) else []
        found = [statement for statement in above if isinstance(statement, ast.ClassDef)]
        if not isinstance(target, Ref) or not found or not all(_all_ours(module(target.file), each) for each in found):
            return False
    return True
