"""What a trial is, as one hash: configuration, seed, data, epoch budget, and the code that computes its numbers.

The code is read as syntax, so comments, docstrings and layout do not count; and only modules that this configuration
uses count, so a new data set or network leaves every other trial's identity alone.
"""

import ast
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from core.component import Component
from trainables.config import UNCOUNTED, TrialConfig

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("core", "datasets", "trainables")
ENTRY = "trainables.trial"
# Registries and the schema only choose among components; the components chosen are counted themselves.
CHOOSERS = {"datasets.registry", "trainables.registry", "trainables.config"}
# Of files, of memory, and drawers of pictures: no number is made there.
CARRIERS = {"trainables.allocator", "trainables.mirror", "trainables.inspection"}


def trial_key(config: TrialConfig, seed: int, fingerprint: str, population: str | None = None) -> str:
    """Twelve hex digits. No part of it is where data and weights lie (their content is), nor what a trial draws.

    `population` describes the population that a trial is a member of, whose others it may take over from.
    """
    tree = config.model_dump(mode="json", exclude=UNCOUNTED)
    for place in config.dataset.place_fields:
        tree["dataset"].pop(place)
    if files := tree["model"].get("weights_file"):
        tree["model"]["weights_file"] = {name: _content(file) for name, file in files.items()}
    parts = [tree, seed, fingerprint, code_version(config), *([population] if population else [])]
    return _digest(json.dumps(parts, sort_keys=True))


def configuration_key(config: TrialConfig, budget: bool = True) -> str:
    """Equal for configurations that are one cell: eight hex digits of everything but seed, data and code.

    Without `budget`, the number of epochs is left out too, and a cell keeps its name when it is given more.
    """
    tree = config.model_dump(mode="json", exclude=UNCOUNTED)
    if not budget:
        del tree["training"]["epochs"]
    return _digest(json.dumps(tree, sort_keys=True))[:8]


def code_version(config: TrialConfig) -> str:
    """A hash of the modules that a trial of `config` runs through."""
    components = (value for _, value in config if isinstance(value, Component))
    return _code_version(tuple(sorted({ENTRY, *(type(component).__module__ for component in components)})))


@cache
def _code_version(entries: tuple[str, ...]) -> str:
    found: set[str] = set()
    waiting = list(entries)
    while waiting:
        module = waiting.pop()
        if module not in found | CHOOSERS | CARRIERS:
            found.add(module)
            waiting.extend(_imports(module))
    return _digest("\n".join(f"{module}\n{_syntax(module)}" for module in sorted(found)))


@cache
def _tree(module: str) -> ast.Module:
    path = ROOT.joinpath(*module.split("."))
    file = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
    return ast.parse(file.read_text(encoding="utf-8"))


def _imports(module: str) -> Iterator[str]:
    """Modules of ours that `module` imports anywhere, also within functions; `from package import module` included."""
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
            if ROOT.joinpath(*node.module.split(".")).with_suffix(".py").exists():
                yield node.module
            else:
                yield from (f"{node.module}.{name.name}" for name in node.names)


@cache
def _syntax(module: str) -> str:
    tree = _tree(module)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):  # docstrings and other lone strings compute nothing
            kept = [item for item in body if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.unparse(tree)


@cache
def _content(file: str) -> str:
    with Path(file).open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").hexdigest()


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
