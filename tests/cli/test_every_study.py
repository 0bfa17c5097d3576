"""Every study by its name, on small files of the real layouts: planned, run for two epochs, every trial verified."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from search_spaces.registry import STUDIES
from tests.conftest import Cli
from tests.datasets import makers

SMALL = ("--seeds", "1", "--epochs", "2", "--limit-train", "24", "--limit-eval", "16")
HEAVY = ("animals/stuck", "animals/networks")  # VGG19s of half a gigabyte each
SETTINGS = {"animals": ("dataset.image_size=64",), "folder": ("dataset.path=animals", "dataset.image_size=32")}
PRETRAINED = {
    "animals/googlenet-ladder": "googlenet",
    "animals/resnet-ladder": "resnet18",
    "eurosat/optimizers": "resnet18",
    "folder/finetune": "resnet18",
}


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for make in (makers.make_faces, makers.make_animals, makers.make_expressions, makers.make_eurosat):
        make(root)
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """State dicts of random torchvision networks, where ImageNet's would be."""
    import torchvision.models

    folder, files = tmp_path_factory.mktemp("weights"), {}
    for name in sorted(set(PRETRAINED.values())):
        files[name] = folder / f"{name}.pth"
        torch.save(getattr(torchvision.models, name)(weights=None).state_dict(), files[name])
    return files


def options(name: str, data_root: Path, weights: dict[str, Path]) -> list[str]:
    settings = list(SETTINGS.get(name.partition("/")[0], ()))
    if name in PRETRAINED:
        settings.append(f"model.weights_file.{PRETRAINED[name]}={weights[PRETRAINED[name]]}")
    search = ("--samples", "2") if STUDIES[name].kind == "search" else ()
    if name == "animals/stuck":  # six VGG19s of half a gigabyte each
        search = ("--epochs", "1")
    return ["--data-root", str(data_root), *SMALL, *search, *(word for item in settings for word in ("--set", item))]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name in HEAVY else pytest.mark.matrix) for name in STUDIES]
)
def test_a_study_runs_by_its_name_and_every_trial_is_verified(
    name: str, data_root: Path, weights: dict[str, Path], tmp_path: Path, cli_here: Cli, local_ray: None
) -> None:
    done = cli_here("run", name, *options(name, data_root, weights), "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    trials = pd.read_parquet(tmp_path / "trials.parquet")
    study = json.loads((tmp_path / "study.json").read_text())
    running = [cell for cell in study["cells"] if not cell["identical_to"]]
    assert len(trials) == (len(running) or 2)
    assert trials["status"].isin({"finished", "diverged"}).all(), trials["error"].dropna().tolist()
    finished = trials["status"] == "finished"
    assert trials.loc[finished, "verified"].all()
    assert finished.any()
    assert trials.loc[finished, study["metric"]].notna().all()
    for trial in trials.loc[finished, "trial"]:
        assert (tmp_path / "predictions" / f"{trial}.parquet").exists()
        features = pd.read_parquet(tmp_path / "artifacts" / trial / "features.parquet")
        assert set(features["split"]) == {"train", "val", "test"}
        assert "use time" in (tmp_path / "artifacts" / trial / "epochs.log").read_text().splitlines()[-1]
    assert (tmp_path / "report" / "index.html").exists()


@pytest.mark.matrix
def test_without_weights_the_plan_lists_the_cell_and_the_run_is_refused(
    data_root: Path, tmp_path: Path, cli_here: Cli
) -> None:
    arguments = ["eurosat/augmentation-schedule", "--data-root", str(data_root), *SMALL, "--out", str(tmp_path / "run")]
    assert cli_here("plan", *arguments, "--json").returncode == 0
    missing = ["--set", "model.weights_file.resnet18=/nowhere.pth"]
    arguments = [
        "animals/resnet-ladder",
        "--data-root",
        str(data_root),
        *SMALL,
        *missing,
        "--out",
        str(tmp_path / "run"),
    ]
    plan = cli_here("plan", *arguments, "--set", "dataset.image_size=64", "--json")
    assert plan.returncode == 0, plan.stderr
    invalid = {cell["name"]: cell["invalid"] for cell in json.loads(plan.stdout)["cells"] if cell["invalid"]}
    assert list(invalid) == ["2 + pretrained"]
    assert "/nowhere.pth" in invalid["2 + pretrained"]
    refused = cli_here("run", *arguments, "--set", "dataset.image_size=64")
    assert refused.returncode == 2
    assert "--skip-invalid" in refused.stderr


def test_a_study_that_trains_on_validation_may_not_choose_by_it(data_root: Path, tmp_path: Path, cli_here: Cli) -> None:
    arguments = ("expressions/ladder", "--data-root", str(data_root), *SMALL, "--set", "selection.rule=best")
    done = cli_here("run", *arguments, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "validation cannot choose" in done.stderr


@pytest.mark.matrix
def test_diagnostics_are_recorded_by_layer_and_epoch_and_change_no_number(
    data_root: Path, tmp_path: Path, cli_here: Cli, local_ray: None
) -> None:
    arguments = ("--data-root", data_root, *SMALL, "--levels", "lr=0.01,0.1")
    for name, more in (("plain", ()), ("watched", ("--set", "diagnostics=true"))):
        assert cli_here("run", "expressions/learning-rate", *arguments, *more, "--out", tmp_path / name).returncode == 0
    plain, watched = (pd.read_parquet(tmp_path / name / "epochs.parquet") for name in ("plain", "watched"))
    metrics = [name for name in plain if name not in ("trial", "seconds")]
    pd.testing.assert_frame_equal(plain[metrics], watched[metrics], check_exact=True)
    trial = watched["trial"].iloc[0]
    table = pd.read_parquet(tmp_path / "watched" / "artifacts" / trial / "diagnostics.parquet")
    assert set(table["epoch"]) == {1, 2}
    assert table["layer"].nunique() > 5
    assert table.loc[table["kind"] == "ReLU", "dead"].between(0, 1).all()
    assert (table.loc[table["kind"] == "Conv2d", "update_ratio"] > 0).all()
    assert (table.loc[table["kind"] == "Linear", "gradient_norm"] > 0).all()
