"""A study of the user's own code, from one file outside of the tree: killed, resumed without its original, extended,
rerun, predicted with and exported."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.records.store import read_records
from tests.conftest import ROOT, Cli
from tests.own_code import write_own_code

pytestmark = pytest.mark.matrix


def killed_in(directory: Path, study: Path) -> None:
    """Begins the run, and ends the driver by SIGKILL once two trials have ended."""
    command = [sys.executable, str(ROOT / "run_search.py"), "run", str(study), "--out", str(directory)]
    log = directory / "log.jsonl"
    with (study.parent / "killed.txt").open("w") as output:
        driver = subprocess.Popen([*command, "--set", "training.epochs=2"], cwd=ROOT, stdout=output, stderr=output)
        deadline = time.monotonic() + 240
        while driver.poll() is None and time.monotonic() < deadline:
            if log.exists() and log.read_text().count('"event": "end"') >= 2:
                os.kill(driver.pid, signal.SIGKILL)
                break
            time.sleep(0.05)
        driver.wait()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """A run that was killed; its study's folder is deleted then."""
    folder = tmp_path_factory.mktemp("own")
    study = write_own_code(folder / "code")
    directory = folder / "run"
    killed_in(directory, study)
    (folder / "code").rename(folder / "gone")
    done = cli("resume", directory, "--seeds", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "code of the run's own is executed" in done.stdout + done.stderr
    return directory


def test_a_killed_run_goes_on_and_grows_without_the_original(run: Path) -> None:
    trials = read_records(run).trials
    assert len(trials) == 12
    assert set(trials["status"]) == {"finished"}
    assert trials["verified"].all()
    assert trials["test_share_of_ones"].between(0, 1).all()
    assert sorted(path.name for path in (run / "code").rglob("*.py")) == [
        "__init__.py",
        "datasets.py",
        "helpers.py",
        "mine.py",
    ]


def test_every_cell_reruns_bit_for_bit(run: Path, cli: Cli) -> None:
    trials = read_records(run).trials
    for cell in ("epsilon=none", "noise=on"):
        key = trials.loc[trials["cell"] == cell, "trial"].iloc[0]
        done = cli("rerun", run, key)
        assert f"trial {key}: equal to its record, bit for bit" in done.stdout, done.stdout + done.stderr


def test_its_models_predict_and_are_exported(run: Path, cli: Cli, tmp_path: Path) -> None:
    Image.fromarray((np.eye(8) * 255).astype(np.uint8)).save(tmp_path / "picture.png")
    done = cli("predict", run, tmp_path / "picture.png")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split(",")[1] in ("down", "across", "both")
    exported = cli("export", run, "--out", tmp_path / "model.onnx")
    assert "equal to the model on" in exported.stdout, exported.stderr


def test_an_edited_original_is_named_and_the_copy_goes_on(run: Path, cli: Cli) -> None:
    code = run.parent / "code"
    (run.parent / "gone").rename(code)
    (code / "helpers.py").write_text((code / "helpers.py").read_text().replace("0.6", "0.9"))
    done = cli("resume", run)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert f"{code}/helpers.py was changed since the run began: it continues with its own copy" in said.replace(
        "\n", " "
    )


def test_a_run_at_a_url_has_its_code_there_for_another_machine(cli: Cli, tmp_path: Path) -> None:
    study, url = write_own_code(tmp_path / "code"), f"file://{tmp_path / 'storage'}"
    first = cli("run", study, "--out", url, "--seeds", "1", env={"CACHE_DIR": str(tmp_path / "here")})
    assert first.returncode == 0, first.stderr
    assert sorted(path.name for path in (tmp_path / "storage" / "code").glob("*.py")) == [
        "datasets.py",
        "helpers.py",
        "mine.py",
    ]
    study.parent.rename(tmp_path / "gone")
    there = {"CACHE_DIR": str(tmp_path / "there")}
    again = cli("resume", url, "--seeds", "2", env=there)
    assert again.returncode == 0, again.stderr
    assert len(read_records(tmp_path / "storage").trials) == 8
    key = read_records(tmp_path / "storage").trials["trial"].iloc[-1]
    done = cli("rerun", url, key, env={"CACHE_DIR": str(tmp_path / "third")})
    assert "equal to its record, bit for bit" in done.stdout, done.stderr
