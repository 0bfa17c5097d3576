"""Python source as definitions that refer to each other, read from syntax trees; nothing is imported or run.

A definition is what a module binds to a top-level name: a function, a class with everything in it, the statements that
assign it. Its `tokens` are its syntax without docstrings, comments, positions and its own name; the name of another
definition, in whatever module, is a `Ref` to it. What syntax alone does not resolve (a module used as a value,
`getattr` on one, `globals`, `import *`) is a `Ref` to all of that module.
"""

import ast
import contextlib
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from core import PACKAGES, ROOT

EVERYTHING, EFFECTS = "*", "!"  # stand for all that a module defines, and for what importing it does besides
DYNAMIC = {"globals", "locals", "vars", "eval", "exec", "compile", "__import__"}
# Library decorators that only change what they decorate; any other may register it somewhere.
PURE = (
    "functools.",
    "dataclasses.",
    "contextlib.",
    "typing.",
    "abc.",
    "torch.no_grad",
    "torch.inference_mode",
    "enum.",
)
LIBRARIES = tuple(Path(path) for name, path in sysconfig.get_paths().items() if name.endswith(("lib", "stdlib")))


class Ref(NamedTuple):
    """A definition: its module's file, and its name there."""

    file: Path
    name: str


class Private(NamedTuple):
    """A method or attribute with a leading underscore, which `closure_hash` numbers if its name has no effect."""

    name: str


class Library(NamedTuple):
    """The full dotted name of something in another package."""

    name: str


NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
INNER = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Member(NamedTuple):
    """A name imported from a module of this program, which may have imported it from another."""

    file: Path
    name: str

    def target(self, seen: "tuple[Member, ...]") -> "Ref | Library | None":
        return module(self.file).target(self.name, (*seen, self))


Token = str | Ref | Private
Target = Ref | Library | Member | None
Scopes = tuple[dict[str, Target], ...]


@cache
def module(file: Path) -> "Module":
    return Module(file)


def parsed(file: Path) -> ast.Module:
    """A file's syntax tree; an empty one where it has none, so that it is imported in no way that succeeds."""
    try:
        return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # of null bytes
        return ast.Module([], [])


class Module:
    """A source file. `root` is the folder that it and its siblings are imported from."""

    def __init__(self, file: Path) -> None:
        self.file, self.package = file, file.parent
        self.ours = any(file.is_relative_to(ROOT / name) for name in PACKAGES)
        self.root = file.parent
        while (self.root / "__init__.py").exists():
            self.root = self.root.parent
        self.bound: dict[str, list[ast.stmt]] = {}
        self.imported: dict[str, Target] = {}
        self.stars: list[Ref] = []
        self.effects: list[ast.stmt] = []
        for statement in parsed(file).body:
            self._bind(statement)

    def _bind(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Import() | ast.ImportFrom():
                self._import(statement)
                return
            case ast.If() if _type_checking(statement.test):
                for other in statement.orelse:
                    self._bind(other)
                return
            case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))) | ast.Expr(value=ast.Constant()):
                return
            case ast.AnnAssign(value=None):
                return
        scope = Scope([statement])
        names = [*scope.names, *(name for each in scope.imports for name, _ in self.targets(each))]
        for name in names:
            self.bound.setdefault(name, []).append(statement)
        if not self._only_binds(statement, names):
            self.effects.append(statement)

    def _import(self, statement: ast.Import | ast.ImportFrom) -> None:
        for name, target in self.targets(statement):
            if name == "*" and isinstance(target, Ref):
                self.stars.append(target)
            elif name != "*":
                self.imported[name] = target

    def _only_binds(self, statement: ast.stmt, names: list[str]) -> bool:
        """Whether a statement binds names and does nothing else."""
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return all(self._pure(decorator) for decorator in statement.decorator_list)
            case ast.Assign(targets=targets):
                return "_" not in names and not any(isinstance(t, ast.Subscript | ast.Attribute) for t in targets)
        return isinstance(statement, ast.AnnAssign) or type(statement).__name__ == "TypeAlias"

    def _pure(self, decorator: ast.expr) -> bool:
        parts = []
        node = decorator.func if isinstance(decorator, ast.Call) else decorator
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        found = self.imported.get(node.id) if isinstance(node, ast.Name) else None
        full = ".".join([found.name, *reversed(parts)]) if isinstance(found, Library) else ""
        return full.startswith(PURE)

    def targets(self, statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Target]]:
        """(local name, target) of every name that an import binds."""
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                first = alias.name if alias.asname else alias.name.partition(".")[0]
                yield alias.asname or first, self._found(first.split("."), 0) or Library(first)
            return
        parts = statement.module.split(".") if statement.module else []
        origin = self._found(parts, statement.level)
        for alias in statement.names:
            if origin is None:
                yield alias.asname or alias.name, Library(".".join([*parts, alias.name]))
            elif alias.name == "*":
                yield "*", origin
            else:
                yield alias.asname or alias.name, Member(origin.file, alias.name)

    def _found(self, parts: list[str], level: int) -> Ref | None:
        """Ref to all of this program's module that an import names; None for a library's."""
        above = self.package
        for _ in range(level - 1):
            above = above.parent
        for root in [above] if level else dict.fromkeys((self.root, ROOT)):
            file = _file(root.joinpath(*parts))
            if file is not None and not any(file.is_relative_to(library) for library in LIBRARIES):
                return Ref(file, EVERYTHING)
        return None

    @property
    def imports(self) -> Iterator[Path]:
        """Files of this program's modules that importing this one imports."""
        for target in (*self.imported.values(), *self.stars):
            if isinstance(target, Ref | Member):
                yield target.file
            if isinstance(found := resolved(target), Ref):
                yield found.file

    def target(self, name: str, seen: tuple[Member, ...] = ()) -> Ref | Library | None:
        """What a top-level name refers to; None for one that the module does not have."""
        if name in self.bound:
            return Ref(self.file, name)
        if name in self.imported:
            return resolved(self.imported[name], seen)
        members = (Member(star.file, name) for star in self.stars)
        return next((found for star in members if star not in seen and (found := star.target(seen))), None)

    @cache  # noqa: B019  modules are kept for the life of the process
    def tokens(self, name: str) -> list[Token]:
        """Tokens of a definition, of EVERYTHING, or of the EFFECTS of importing the module."""
        if name == EVERYTHING:
            return [EVERYTHING, *(Ref(self.file, own) for own in self.bound), *self._reexported()]
        writer = Writer(self)
        for statement in self.effects if name == EFFECTS else self.bound[name]:
            writer.write(statement, ())
        return list(_joined(writer.tokens))

    def _reexported(self) -> Iterator[Token]:
        yield from (
            found
            for target in self.imported.values()
            if isinstance(found := resolved(target), Ref) and found.name != EVERYTHING
        )
        yield from self.stars


def _joined(tokens: Iterable[Token]) -> Iterator[Token]:
    """Merges consecutive text tokens into one, which leaves a tenth as many."""
    for is_text, part in groupby(tokens, lambda token: isinstance(token, str)):
        if is_text:
            yield "\0".join(map(str, part))
        else:
            yield from part


def resolved(target: Target, seen: tuple[Member, ...] = ()) -> Ref | Library | None:
    """Follows a Member's re-exports to its definition, to all of a submodule, or to all of the module if unknown."""
    if not isinstance(target, Member):
        return target
    file, name = target
    found = None if target in seen else target.target(seen)  # a package may import its submodules from itself
    if found is None and file.name == "__init__.py" and (below := _file(file.parent / name)):
        return Ref(below, EVERYTHING)
    return found or Ref(file, EVERYTHING)


@cache
def _file(place: Path) -> Path | None:
    for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
        if file.is_file():
            return file.resolve()
    return None


def _type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


class Scope:
    """Names that statements or expressions bind in their own scope, and the imports among them."""

    def __init__(self, nodes: Iterable[ast.AST]) -> None:
        self.names: dict[str, Target] = {}
        self.imports: list[ast.Import | ast.ImportFrom] = []
        outer: list[str] = []
        waiting = list(nodes)
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.Name):
                if not isinstance(node.ctx, ast.Load):
                    self.names[node.id] = None
                continue
            if isinstance(node, NAMED):
                self.names[node.name] = None
                continue
            if isinstance(node, INNER):
                waiting += [each.target for each in ast.walk(node) if isinstance(each, ast.NamedExpr)]
                continue
            match node:
                case ast.Import() | ast.ImportFrom():
                    self.imports.append(node)
                case ast.Global():
                    outer += node.names
                case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                    self.names[name] = None
                case ast.MatchMapping(rest=str(name)):
                    self.names[name] = None
            for field in node._fields:
                value = getattr(node, field, None)
                if isinstance(value, ast.AST):
                    waiting.append(value)
                elif isinstance(value, list):
                    waiting += [each for each in value if isinstance(each, ast.AST)]
        for name in outer:
            self.names.pop(name, None)


class Writer:
    """Writes syntax as tokens. `scopes`: the names bound by each enclosing function, the innermost last."""

    def __init__(self, owner: Module) -> None:
        self.owner, self.tokens = owner, list[Token]()

    def write(self, node: ast.AST, scopes: Scopes) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._function(node, scopes, node.name if scopes else Ref(self.owner.file, node.name))
            case ast.Lambda():
                self._function(node, scopes, "")
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                self._comprehension(node, scopes)
            case ast.ClassDef():
                self._class(node, scopes)
            case ast.Import() | ast.ImportFrom():
                for _, target in self.owner.targets(node):
                    self._refer(target)
            case ast.Name() | ast.Attribute():
                self._name(node, scopes)
            case ast.If() if _type_checking(node.test):
                self._all(node.orelse, scopes)
            case ast.AnnAssign():  # outside of a class, an annotation has no effect
                self._parts("Assign", [node.target, node.value], scopes)
            case ast.Expr(value=ast.Constant()):
                pass
            case ast.Constant():
                self.tokens.append(f"{type(node.value).__name__} {node.value!r}")
            case _:
                self._parts(type(node).__name__, [value for _, value in ast.iter_fields(node)], scopes)

    def _parts(self, kind: str, values: Sequence[object], scopes: Scopes) -> None:
        """Fields that are None add no token, as newer Python versions add fields."""
        self.tokens.append(f"({kind}")
        for value in values:
            if isinstance(value, list):
                self.tokens.append("[")
                self._all(value, scopes)
                self.tokens.append("]")
            elif isinstance(value, ast.expr_context):
                pass
            elif isinstance(value, ast.AST):
                self.write(value, scopes)
            elif value is not None:
                self.tokens.append(repr(value))
        self.tokens.append(")")

    def _all(self, values: Sequence[object], scopes: Scopes) -> None:
        for value in values:
            if isinstance(value, ast.AST):
                self.write(value, scopes)
            else:
                self.tokens.append(repr(value))

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, scopes: Scopes, name: Token) -> None:
        """Annotations count under a decorator, and in a user's file, whose arguments are made by them."""
        arguments = node.args
        listed = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        starred = [found for found in (arguments.vararg, arguments.kwarg) if found]
        body = [node.body] if isinstance(node, ast.Lambda) else node.body
        scope = Scope(body)
        inner = {**dict.fromkeys(argument.arg for argument in (*listed, *starred)), **scope.names}
        for statement in scope.imports:
            inner.update(self.owner.targets(statement))
        self.tokens += [f"({type(node).__name__}", name]
        decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
        self._all([*decorators], scopes)
        counts = [len(arguments.posonlyargs), len(arguments.args), bool(arguments.vararg), bool(arguments.kwarg)]
        self.tokens.append(f"{' '.join(argument.arg for argument in (*listed, *starred))} {counts}")
        if decorators or not self.owner.ours:
            self._all([argument.annotation for argument in (*listed, *starred) if argument.annotation], scopes)
        self._all([*arguments.defaults, ";", *(default or "" for default in arguments.kw_defaults)], scopes)
        self._all([*body], (*scopes, inner))
        self.tokens.append(")")

    def _class(self, node: ast.ClassDef, scopes: Scopes) -> None:
        """Names bound in the class body make no scope: methods see the module's names."""
        self.tokens.append(f"(ClassDef {node.name}")
        self._all([*node.decorator_list, ";", *node.bases, ";", *node.keywords], scopes)
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                self._function(
                    statement, scopes, Private(statement.name) if is_private(statement.name) else statement.name
                )
            elif isinstance(statement, ast.AnnAssign):
                self._parts("AnnAssign", [statement.target, statement.annotation, statement.value], scopes)
                self._forward_references(statement.annotation, scopes)
            else:
                self.write(statement, scopes)
        self.tokens.append(")")

    def _forward_references(self, annotation: ast.expr, scopes: Scopes) -> None:
        """Names in a field's annotation that is given as text, which pydantic and dataclasses look up."""
        for node in ast.walk(annotation):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                with contextlib.suppress(SyntaxError):
                    self.write(ast.parse(node.value, mode="eval").body, scopes)

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp, scopes: Scopes
    ) -> None:
        inner = Scope(generator.target for generator in node.generators).names
        self.tokens.append(f"({type(node).__name__}")
        self.write(node.generators[0].iter, scopes)  # evaluated in the enclosing scope
        for number, generator in enumerate(node.generators):
            parts = [generator.target, generator.iter if number else None, generator.ifs, generator.is_async]
            self._parts("for", parts, (*scopes, inner))
        elements = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self._all([*elements], (*scopes, inner))
        self.tokens.append(")")

    def _name(self, node: ast.expr, scopes: Scopes) -> None:
        """A name, with or without attributes; those that lead through this program's modules are followed."""
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            self.write(node, scopes)
            self._attributes(attributes)
            return
        scope = next((scope for scope in reversed(scopes) if node.id in scope), None)
        target = self.owner.target(node.id) if scope is None else resolved(scope[node.id])
        while isinstance(target, Ref) and target.name == EVERYTHING and attributes:
            target = resolved(Member(target.file, attributes.pop(0)))
        if target is None:
            if scope is None and node.id in DYNAMIC:
                self._refer(Ref(self.owner.file, EVERYTHING))
            self.tokens.append(node.id)
        elif isinstance(target, Library):
            self.tokens.append(f"@{'.'.join([target.name, *attributes])}")
            attributes = []
            if target.name.startswith("importlib"):
                self._refer(Ref(self.owner.file, EVERYTHING))
        else:
            self._refer(target)
        self._attributes(attributes)

    def _attributes(self, names: list[str]) -> None:
        self.tokens += [part for name in names for part in (".", Private(name) if is_private(name) else name)]

    def _refer(self, target: Target) -> None:
        target = resolved(target)
        if isinstance(target, Library):
            self.tokens.append(f"@{target.name}")
        elif target is not None:
            self.tokens.append(target)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def module_file(name: str) -> Path:
    """The file of a module of this program, by its dotted name; ModuleNotFoundError if there is none."""
    file = _file(ROOT.joinpath(*name.split(".")))
    if file is None:
        raise ModuleNotFoundError(f"no module {name} below {ROOT}")
    return file
