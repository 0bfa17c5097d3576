"""The files of cluster/ are well-formed, and agree with the program they start."""

import os
import re
import subprocess
import warnings
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

FOLDER = ROOT / "cluster"


@pytest.mark.parametrize("script", sorted(FOLDER.glob("*.sh")), ids=lambda path: path.name)
def test_scripts_are_bash(script: Path) -> None:
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.name)
def test_yaml_files_hold_one_mapping(file: Path) -> None:
    assert isinstance(yaml.safe_load(file.read_text()), dict)


def test_ray_itself_takes_the_cluster_file() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.autoscaler._private.util import prepare_config, validate_config

        validate_config(prepare_config(yaml.safe_load((FOLDER / "ray-up.yaml").read_text())))


def test_the_image_has_the_pinned_ray_and_every_part_of_the_program() -> None:
    from engine.execution.cluster import PROGRAM

    pinned = re.search(r"^ray==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    dockerfile = (FOLDER / "Dockerfile").read_text()
    assert f"rayproject/ray:{pinned[1]}-" in dockerfile
    assert (
        yaml.safe_load((FOLDER / "kuberay-rayjob.yaml").read_text())["spec"]["rayClusterSpec"]["rayVersion"]
        == pinned[1]
    )
    for name in PROGRAM:
        assert re.search(rf"^COPY \S+ {re.escape(name)} ", dockerfile, re.MULTILINE), name


def test_what_is_shipped_to_a_cluster_is_every_package_of_the_root() -> None:
    from engine.execution.cluster import PROGRAM

    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert packages | {"run_search.py"} == set(PROGRAM)


@pytest.mark.parametrize(("begun", "expected"), [(False, "run STUDY --out {out}"), (True, "resume {out}")])
def test_go_begins_a_study_or_goes_on_with_it(begun: bool, expected: str, tmp_path: Path) -> None:
    if begun:
        (tmp_path / "study.json").touch()
    done = subprocess.run(
        [FOLDER / "go.sh", "STUDY", tmp_path, "--seeds", "2"],
        env={**os.environ, "PYTHON": "echo"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"{ROOT / 'run_search.py'} {expected.format(out=tmp_path)} --seeds 2"
