"""A hash of code is that of what is computed: of every definition that is reached by names, wherever it stands."""

from itertools import count
from pathlib import Path

import pytest

from core.code_hash import closure_hash
from core.definitions import EVERYTHING, Ref

MAIN = '''
"""What is run."""
import helpers.numbers as numbers
from functools import cache
from helpers import scaled, shapes
from helpers.tables import *

class Base:
    """The base."""
    rate: float = 0.5

    def _private(self, value):
        return value + self.rate

class Run(Base):
    limit: "Limit" = 3

    def run(self, value):
        """Doc."""
        from helpers.late import late
        text = [shapes for shapes in range(3)]
        return late(self._private(value)) + scaled(value) + numbers.one() + TABLE["a"] + shapes.area(text)

class Limit:
    most = 5

def unused():
    return 1
'''
FILES = {
    "main.py": MAIN,
    "helpers/__init__.py": "from helpers.scale import scaled\nfrom helpers import shapes\n",
    "helpers/scale.py": "FACTOR = 3\n\n\ndef scaled(value, times=1):\n    return _inner(value) * FACTOR * times\n\n\n"
    "def _inner(value):\n    return value - 1\n",
    "helpers/numbers.py": "def one():\n    return 1\n\n\ndef two():\n    return 2\n",
    "helpers/shapes.py": "import math\n\n\ndef area(sides):\n    return math.prod(sides)\n",
    "helpers/tables.py": "TABLE = {'a': 1}\nTABLE['b'] = 2\n",
    "helpers/late.py": "@__import__('functools').cache\ndef late(value: int) -> int:\n    return value\n",
}
_number = count()


def version(folder: Path, changes: dict[str, tuple[str, str]] | None = None, entry: str = "main.py") -> str:
    """The hash of Run and what it reaches, from a copy of the files in which each of `changes` was made once."""
    root = folder / f"copy{next(_number)}"
    for name, text in FILES.items():
        old, new = (changes or {}).get(name, ("", ""))
        assert old in text
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace(old, new) if old else text, encoding="utf-8")
    return closure_hash([Ref((root / entry).resolve(), "Run")])


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param("main.py", "rate: float = 0.5", "rate: float = 0.4", id="a default of a base class"),
        pytest.param("main.py", "class Run(Base)", "class Run", id="a base class"),
        pytest.param("main.py", "value + self.rate", "value - self.rate", id="an operator"),
        pytest.param("main.py", "most = 5", "most = 6", id="a class that a field's text names"),
        pytest.param("main.py", "import helpers.numbers", "import helpers.shapes", id="the module that is imported"),
        pytest.param("helpers/scale.py", "FACTOR = 3", "FACTOR = 4", id="a constant of a re-exported function"),
        pytest.param("helpers/scale.py", "times=1", "times=2", id="a default of an argument"),
        pytest.param("helpers/scale.py", "value - 1", "value - 2", id="the body of a private helper"),
        pytest.param("helpers/numbers.py", "return 1", "return 3", id="through a module's name"),
        pytest.param("helpers/shapes.py", "math.prod", "math.fsum", id="a library's function"),
        pytest.param("helpers/shapes.py", "import math", "import cmath as math", id="a library"),
        pytest.param("helpers/tables.py", "'a': 1", "'a': 7", id="through import *"),
        pytest.param("helpers/tables.py", "['b'] = 2", "['a'] = 2", id="what importing a module does"),
        pytest.param("helpers/late.py", "return value", "return -value", id="an import within a function"),
        pytest.param(
            "helpers/__init__.py",
            "helpers.scale import scaled",
            "helpers.numbers import one as scaled",
            id="which is re-exported",
        ),
    ],
)
def test_what_changes_a_number_changes_it(tmp_path: Path, file: str, old: str, new: str) -> None:
    assert version(tmp_path, {file: (old, new)}) != version(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"main.py": ('"""Doc."""', '"""Other words."""\n        # a remark')}, id="docstring and comment"),
        pytest.param({"main.py": ("_private", "_renamed")}, id="a private method renamed"),
        pytest.param({"helpers/scale.py": ("_inner", "_other")}, id="a private function renamed"),
        pytest.param({"helpers/scale.py": ("FACTOR", "TIMES")}, id="a constant renamed"),
        pytest.param({"main.py": ("return 1", "return 2")}, id="a function that nothing reaches"),
        pytest.param({"helpers/numbers.py": ("return 2", "return 5")}, id="another function of a module"),
        pytest.param({"helpers/numbers.py": ("def one", "import json\n\n\ndef one")}, id="an import that is not used"),
        pytest.param(
            {"main.py": ("import helpers.numbers as numbers", "from helpers import numbers")},
            id="how a module is imported",
        ),
    ],
)
def test_what_changes_none_leaves_it(tmp_path: Path, changes: dict[str, tuple[str, str]]) -> None:
    assert version(tmp_path, changes) == version(tmp_path)


def test_annotations_count_in_a_user_s_file_alone_whose_arguments_are_made_by_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotated = {"helpers/scale.py": ("def scaled(value, times=1)", "def scaled(value: int, times: float=1) -> float")}
    assert version(tmp_path, annotated) != version(tmp_path)
    monkeypatch.setattr("core.definitions.ROOT", tmp_path.parent)
    monkeypatch.setattr("core.definitions.PACKAGES", {tmp_path.name})
    assert version(tmp_path, annotated) == version(tmp_path)


def test_a_module_may_be_moved_and_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = version(tmp_path)
    moved = {name.replace("helpers/scale", "deep/down/sizes"): text for name, text in FILES.items()}
    moved["deep/__init__.py"] = moved["deep/down/__init__.py"] = ""
    moved["helpers/__init__.py"] = moved["helpers/__init__.py"].replace("helpers.scale", "deep.down.sizes")
    monkeypatch.setitem(globals(), "FILES", moved)
    assert version(tmp_path) == before


def test_a_local_name_is_no_definition_and_one_of_a_comprehension_only_there(tmp_path: Path) -> None:
    for number, (text, reached) in enumerate(
        [
            ("def run(helper):\n    return helper\n", False),
            ("def run():\n    helper = 1\n    return helper\n", False),
            ("def run():\n    return [helper for helper in (1,)]\n", False),
            ("def run():\n    return [helper for helper in (1,)] + [helper()]\n", True),
            ("def run():\n    return [helper for helper in helper()]\n", True),
            ("def run():\n    global helper\n    helper = 2\n    return helper()\n", True),
            ("class run:\n    helper = 1\n    def call(self):\n        return helper()\n", True),
            ("def run():\n    def helper():\n        return 1\n    return helper()\n", False),
            ("def run():\n    return globals()['helper']()\n", True),
            ("import main\n\ndef run(name):\n    return getattr(main, name)\n", True),
        ]
    ):
        versions = set()
        for value in (1, 2):
            file = tmp_path / f"{number}-{value}" / "main.py"
            file.parent.mkdir()
            file.write_text(f"{text}\n\ndef helper():\n    return {value}\n", encoding="utf-8")
            versions.add(closure_hash([Ref(file.resolve(), "run")]))
        assert (len(versions) == 2) is reached, text


def test_definitions_may_refer_to_each_other_in_circles(tmp_path: Path) -> None:
    for name, other in (("one", "two"), ("two", "one")):
        text = f"from {other} import {other}\n\n\ndef {name}(n):\n    return n and {other}(n - 1)\n"
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    found = [closure_hash([Ref((tmp_path / f"{name}.py").resolve(), name)]) for name in ("one", "two")]
    assert found[0] == found[1]  # but for their names they are one function


def test_what_is_uncounted_is_reached_but_not_entered(tmp_path: Path) -> None:
    versions = set()
    for value in (1, 2):
        folder = tmp_path / str(value)
        folder.mkdir()
        (folder / "files.py").write_text(f"def write():\n    return {value}\n", encoding="utf-8")
        (folder / "main.py").write_text("import files\n\n\ndef run():\n    return files.write()\n", encoding="utf-8")
        files = (folder / "files.py").resolve()
        for uncounted in (Ref(files, EVERYTHING), Ref(files, "write")):
            versions.add(closure_hash([Ref((folder / "main.py").resolve(), "run")], [uncounted]))
    assert len(versions) == 1
