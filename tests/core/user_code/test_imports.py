"""In a user's file a name means what it would mean without this program; in ours, what it always meant."""

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import analysis
import datasets
from core import ROOT
from core.user_code.imports import LIBRARIES, world_of
from core.user_code.references import load, use

Files = Callable[..., Path]


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    """Writes files by their path, with content, into a new folder, whose references are in use."""

    def write(name: str = "code", **content: str) -> Path:
        folder = tmp_path / name
        for path, text in content.items():
            file = folder / f"{path.replace('_0', '/__init__').replace('__of__', '/')}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        use({"": folder})
        return folder

    yield write
    use({})


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages, with a `datasets` and a library that uses it."""
    site = tmp_path / "site"
    (site / "datasets").mkdir(parents=True)
    (site / "datasets/__init__.py").write_text("WHO = 'installed'\nfrom datasets.parts import PART\n")
    (site / "datasets/parts.py").write_text("PART = 'its part'\n")
    (site / "uses_datasets.py").write_text(
        "import datasets\nWHO = datasets.WHO\n\ndef later():\n    from datasets import parts\n    return parts.PART\n"
    )
    monkeypatch.syspath_prepend(str(site))
    LIBRARIES._defined.clear()
    yield site
    LIBRARIES._defined.clear()
    LIBRARIES.modules.clear()
    sys.modules.pop("uses_datasets", None)


def ours_are_ours() -> None:
    assert Path(str(sys.modules["datasets"].__file__)).is_relative_to(ROOT)
    assert importlib.import_module("analysis") is analysis
    assert importlib.import_module("datasets.base") is sys.modules["datasets.base"] is datasets.base


def test_siblings_called_as_our_packages_are_theirs_and_ours_stay_ours(files: Files) -> None:
    files(
        mine="import datasets, models\nfrom analysis.stats import three\nWHO = datasets.WHO, models.WHO, three",
        datasets="WHO = 'their datasets'",
        models="import datasets\nWHO = f'beside {datasets.WHO}'",
        analysis_0="",
        analysis__of__stats="three = 3",
    )
    assert load("mine.py:WHO") == ("their datasets", "beside their datasets", 3)
    ours_are_ours()


def test_an_import_in_a_function_means_the_same_when_it_is_called_later(files: Files) -> None:
    files(
        mine="def who():\n    import datasets\n    return datasets.WHO\n\ndef by_name(name):\n"
        "    import importlib\n    return importlib.import_module(name).WHO\n",
        datasets="WHO = 'theirs'",
    )
    who, by_name = load("mine.py:who"), load("mine.py:by_name")
    ours_are_ours()
    assert who() == "theirs" == by_name("datasets")
    ours_are_ours()


def test_files_that_import_each_other_are_loaded_once(files: Files) -> None:
    files(
        mine="import datasets\nVALUE = 1\nother = datasets.other",
        datasets="COUNT = globals().get('COUNT', 0) + 1\nimport engine\ndef other():\n    return engine.seen",
        engine="import datasets\nseen = datasets.COUNT",
    )
    assert load("mine.py:other")() == 1
    import engine.planning.paths

    assert Path(engine.planning.paths.__file__).is_relative_to(ROOT)


def test_two_folders_may_have_files_of_one_name(files: Files) -> None:
    first = files("a", mine="from utils import WHO", utils="WHO = 'a'")
    second = files("b", mine="from utils import WHO", utils="WHO = 'b'")
    use({"": first, "b": second})
    assert (load("mine.py:WHO"), load("b/mine.py:WHO")) == ("a", "b")


def test_a_package_may_import_from_itself_by_dots(files: Files) -> None:
    folder = files(
        trainables_0="",
        trainables__of__nets="from .parts import PART\nfrom . import parts\nfrom trainables.parts import PART as AGAIN",
        trainables__of__parts="PART = 'theirs'",
    )
    use({"": folder})
    assert load("trainables/nets.py:PART") == "theirs" == load("trainables/nets.py:AGAIN")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("trainables.parts")  # of ours there is none


@pytest.mark.parametrize("name", ["my-nets", "2024.nets", "class"])
def test_a_file_may_have_any_name(files: Files, name: str) -> None:
    files(**{name: "VALUE = 5"})
    assert load(f"{name}.py:VALUE") == 5


def test_an_installed_package_of_our_name_is_what_files_and_libraries_get(files: Files, installed: Path) -> None:
    code = "import datasets, uses_datasets as u\nfrom datasets.parts import PART\nWHO = datasets.WHO, u.WHO, PART"
    files(mine=code)
    assert load("mine.py:WHO") == ("installed", "installed", "its part")
    assert sys.modules["uses_datasets"].later() == "its part"
    ours_are_ours()


def test_a_sibling_comes_before_an_installed_package_and_libraries_keep_that(files: Files, installed: Path) -> None:
    files(mine="import datasets, uses_datasets\nWHO = datasets.WHO, uses_datasets.WHO", datasets="WHO = 'sibling'")
    assert load("mine.py:WHO") == ("sibling", "installed")
    ours_are_ours()


def test_where_nothing_of_the_name_is_theirs_there_is_no_such_module(files: Files) -> None:
    files(mine="try:\n    import search_spaces\n    HAS = True\nexcept ImportError:\n    HAS = False\n")
    assert load("mine.py:HAS") is False


def test_nothing_is_written_into_a_user_s_folder(files: Files) -> None:
    folder = files(mine="import utils", utils="import datasets", datasets="")
    load_module: Any = world_of(folder).load
    assert isinstance(load_module(folder / "mine.py"), ModuleType)
    assert sorted(path.name for path in folder.iterdir()) == ["datasets.py", "mine.py", "utils.py"]


def test_the_same_holds_in_a_process_that_has_not_imported_ours_yet(files: Files) -> None:
    folder = files(
        mine="import datasets\nimport engine\nWHO = datasets.WHO, engine.WHO", datasets="WHO = 1", engine="WHO = 2"
    )
    code = (
        f"from core.user_code.references import load, use\nuse({{'': {str(folder)!r}}})\n"
        "assert load('mine.py:WHO') == (1, 2)\nimport datasets.base, engine.planning.paths\nprint(engine.__file__)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(ROOT)
