"""Which of a user's files are copied into a run: those that are named, and all that they import from their folders."""

from pathlib import Path

import pytest

from core.user_code.copies import collected
from core.user_code.references import load, use
from engine.planning.paths import anchored, shortened


def written(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        file = folder / f"{name.replace('_of_', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def test_what_a_file_imports_is_copied_also_inside_of_functions_and_through_packages(tmp_path: Path) -> None:
    folder = written(
        tmp_path,
        mine="import torch, one\ndef f():\n    from parts.deep import x\n    return x\n",
        one="from parts import two",
        parts_of___init__="",
        parts_of_two="from . import three",
        parts_of_three="",
        parts_of_deep="x = 1",
        unused="",
    )
    use({"": folder})
    found = collected([folder / "mine.py"])
    names = {"mine.py", "one.py", "parts/__init__.py", "parts/two.py", "parts/three.py", "parts/deep.py"}
    assert set(found) == names
    assert found["parts/deep.py"] == b"x = 1"


def test_what_is_imported_by_a_name_made_at_run_time_is_copied_once_it_is_loaded(tmp_path: Path) -> None:
    folder = written(tmp_path, mine="import importlib\nx = importlib.import_module('o' + 'ne').x", one="x = 2")
    use({"": folder})
    assert load("mine.py:x") == 2
    assert set(collected([folder / "mine.py"])) == {"mine.py", "one.py"}


def test_a_copy_gives_the_same_objects_under_the_same_short_references(tmp_path: Path) -> None:
    a = written(tmp_path / "a", mine="from utils import x", utils="x = 'a'")
    b = written(tmp_path / "b", mine="from utils import x", utils="x = 'b'")
    folders: dict[str, str] = {}
    short = shortened([f"{a}/mine.py:x", f"{b}/mine.py:x"], folders)
    assert (short, folders) == (["mine.py:x", "b/mine.py:x"], {"": str(a), "b": str(b)})
    use(folders)
    files = collected([a / "mine.py", b / "mine.py"])
    assert list(files) == ["b/mine.py", "b/utils.py", "mine.py", "utils.py"]
    for name, content in files.items():
        (tmp_path / "code" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "code" / name).write_bytes(content)
    use({"": tmp_path / "code", "b": tmp_path / "code/b"})
    assert [load(reference) for reference in short] == ["a", "b"]


def test_a_label_is_no_folder_of_the_first_root(tmp_path: Path) -> None:
    a = written(tmp_path / "a", mine="", b_of_mine="")
    b = written(tmp_path / "b", mine="")
    folders: dict[str, str] = {}
    assert shortened([f"{a}/mine.py:x", f"{b}/mine.py:x"], folders) == ["mine.py:x", "b-2/mine.py:x"]


@pytest.mark.parametrize("key", ["model.name", "loss.name", "dataset.name", "augmentation.extra", "optimizer.name"])
def test_references_are_relative_to_the_study_s_folder_and_then_to_the_present_one(key: str, tmp_path: Path) -> None:
    here, there = written(tmp_path / "here", one="", two=""), written(tmp_path / "there", one="", parts_of_three="")
    node = {"baseline": {key: "one.py:x"}, "factors": [{"levels": [{"settings": {key: "two.py:x"}}]}], "name": "a.py:x"}
    found = anchored(node, [there, here], None)
    assert found["baseline"] == {key: f"{there}/one.py:x"}
    assert found["factors"][0]["levels"][0]["settings"] == {key: f"{here}/two.py:x"}
    assert found["name"] == "a.py:x"
    assert anchored({key: "parts.three:x"}, [there], None) == {key: f"{there}/parts/three.py:x"}
    assert anchored({"key": key, "choices": ["one.py:x", "ce"]}, [there], None)["choices"] == [
        f"{there}/one.py:x",
        "ce",
    ]


def test_what_is_installed_and_what_is_ours_stays_as_it_is(tmp_path: Path) -> None:
    node = {"model.name": "torchvision:resnet18", "optimizer.name": "torch.optim.RAdam", "loss.name": "ce"}
    assert anchored(node, [tmp_path], None) == {**node, "optimizer.name": "torch.optim:RAdam"}
