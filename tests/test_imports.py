"""The rooms of the source: no import leads back to where it came from, and no folder holds too many files."""

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("core", "datasets", "trainables", "search_spaces", "engine", "analysis")
MAXIMUM_FILES = 16  # of a folder, beside its __init__.py


def modules_of(package: str, root: Path = ROOT) -> dict[str, Path]:
    """The file of each module of a package, the packages in it included."""
    files = sorted((root / package).rglob("*.py"))
    return {".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imports_of(module: str, file: Path, known: Iterable[str]) -> set[str]:
    """Those of the `known` modules that a module imports anywhere: also in functions and for type checking only."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            # Of `from package import name` the name may be a module or stand in the package itself.
            found |= {
                f"{source}.{name.name}" if f"{source}.{name.name}" in set(known) else source for name in node.names
            }
    return (found & set(known)) - {module}


def import_graph(packages: Iterable[str], root: Path = ROOT) -> dict[str, set[str]]:
    files = {name: file for package in packages for name, file in modules_of(package, root).items()}
    return {name: imports_of(name, file, files) for name, file in files.items()}


def cycle_in(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules each of which imports the next one, the last one the first; empty where there are none."""
    done: set[str] = set()

    def search(module: str, way: list[str]) -> list[str]:
        if module in way:
            return way[way.index(module) :]
        if module in done:
            return []
        for imported in sorted(graph[module]):
            if found := search(imported, [*way, module]):
                return found
        done.add(module)
        return []

    return next((found for module in sorted(graph) if (found := search(module, []))), [])


def test_no_import_leads_back_to_where_it_came_from():
    graph = import_graph(PACKAGES)
    assert graph
    assert cycle_in(graph) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_folder_holds_more_files_than_one_can_look_over(package):
    folders = [folder for folder in [ROOT / package, *(ROOT / package).rglob("*")] if folder.is_dir()]
    held = {folder: sum(file.name != "__init__.py" for file in folder.glob("*.py")) for folder in folders}
    assert any(held.values())
    assert {folder: count for folder, count in held.items() if count > MAXIMUM_FILES} == {}


@pytest.mark.parametrize(
    "back",
    [
        "import parts.a",
        "from parts import a",
        "from . import a",
        "from .a import A",
        "def f():\n    from parts.a import A",
    ],
)
def test_a_circle_is_found_wherever_its_imports_stand(tmp_path, back):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").write_text("")
    (tmp_path / "parts" / "a.py").write_text("if TYPE_CHECKING:\n    from parts.b import B\n")
    (tmp_path / "parts" / "b.py").write_text("from parts import c\n")
    (tmp_path / "parts" / "c.py").write_text("")
    assert cycle_in(import_graph(["parts"], tmp_path)) == []
    (tmp_path / "parts" / "c.py").write_text(back)
    assert cycle_in(import_graph(["parts"], tmp_path)) == ["parts.a", "parts.b", "parts.c"]
