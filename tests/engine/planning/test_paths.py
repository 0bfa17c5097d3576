"""Relative paths in studies and options: found where the user meant them, and absolute in the records."""

from pathlib import Path
from typing import Any

import pytest

from engine.cli.options import given_options, study_named
from engine.planning.paths import anchored

STUDY = """
name: one
workload: folder
epochs: 1
design: one_at_a_time
baseline: {dataset.path: pics, model.name: resnet18, model.pretrained: true, model.weights_file.resnet18: w.pth}
factors:
- name: where
  levels: [{name: here}, {name: there, settings: {dataset.path: more/pics}}]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("project/pics", "project/more/pics", "elsewhere", "root/pics"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "project" / "w.pth").touch()
    (tmp_path / "project" / "one.yaml").write_text(STUDY)
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


def test_paths_of_a_study_are_relative_to_its_file(project: Path) -> None:
    study: Any = study_named("../project/one.yaml", None)
    assert Path(study.baseline["dataset.path"]) == project / "project" / "pics"
    assert Path(study.baseline["model.weights_file.resnet18"]) == project / "project" / "w.pth"
    assert Path(study.factors[0].levels[1].settings["dataset.path"]) == project / "project" / "more" / "pics"
    recorded = [study.baseline["dataset.path"], study.baseline["model.weights_file.resnet18"]]
    assert all(Path(path).is_absolute() for path in recorded)


def test_a_folder_below_the_data_root_stays_relative_to_it(project: Path) -> None:
    study = study_named("../project/one.yaml", str(project / "root"))
    assert study.baseline["dataset.path"] == "pics"


@pytest.mark.parametrize("name", ["datasets", "core", "pics"])
def test_a_folder_of_the_command_line_is_relative_to_where_one_stands(
    name: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "elsewhere" / name).mkdir()
    given = given_options({"settings": {"dataset.path": name, "model.weights_file.vgg19": "v.pth"}})
    assert given["settings"]["dataset.path"] == str(project / "elsewhere" / name)
    assert given["settings"]["model.weights_file.vgg19"] == str(project / "elsewhere" / "v.pth")


def test_paths_in_a_space_and_in_a_mapping_of_weights_are_made_absolute(project: Path) -> None:
    tree = {
        "space": [
            {"key": "dataset.path", "choices": ["pics", "nowhere"]},
            {"key": "model.weights_file.resnet18", "choices": ["w.pth"], "when": {"dataset.path": ["pics"]}},
            {"key": "optimizer.lr", "when": {"dataset.path": "pics"}},
            {"key": "model.stem", "choices": ["small"]},
        ],
        "baseline": {"model.weights_file": {"resnet18": "w.pth"}, "dataset.image_size": 8, "inspect.image": "w.pth"},
    }
    found = anchored(tree, [project / "project"], None)
    pics = str(project / "project" / "pics")
    assert found["space"][0]["choices"] == [pics, str(project / "project" / "nowhere")]
    assert found["space"][1]["choices"] == [str(project / "project" / "w.pth")]
    assert [parameter["when"]["dataset.path"] for parameter in found["space"][1:3]] == [[pics], pics]
    assert found["space"][3]["choices"] == ["small"]
    assert anchored(tree, [project / "project"], str(project / "root"))["space"][0]["choices"] == ["pics", "nowhere"]
    assert found["baseline"]["model.weights_file"] == {"resnet18": str(project / "project" / "w.pth")}
    assert found["baseline"]["inspect.image"] == "w.pth"


def test_a_table_and_the_folder_of_its_pictures_are_found_as_a_folder_is(project: Path) -> None:
    tree = {"dataset.path": "labels.csv", "dataset.image_root": "pics", "dataset.label_column": "pics"}
    (project / "project" / "labels.csv").touch()
    found = anchored(tree, [project / "project"], None)
    assert found["dataset.path"] == str(project / "project" / "labels.csv")
    assert found["dataset.image_root"] == str(project / "project" / "pics")
    assert found["dataset.label_column"] == "pics"
    (project / "root" / "labels.csv").touch()
    assert anchored(tree, [project / "project"], str(project / "root"))["dataset.path"] == "labels.csv"


@pytest.mark.parametrize(
    ("uri", "there"),
    [
        ("runs", "{here}/runs"),
        ("sqlite:///mlflow.db", "sqlite:///{here}/mlflow.db"),
        ("sqlite:////tmp/mlflow.db", "sqlite:////tmp/mlflow.db"),
        ("http://host:5000", "http://host:5000"),
        ("none", "none"),
        ("databricks", "databricks"),
    ],
)
def test_a_trackers_local_path_is_made_absolute(uri: str, there: str, project: Path) -> None:
    assert given_options({"mlflow": uri})["mlflow"] == there.format(here=project / "elsewhere")
