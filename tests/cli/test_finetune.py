"""`folder/finetune` on made pictures with a weights file that the test makes: planned, run for an epoch, reported."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torchvision.models import resnet18

from run_search import main
from tests.conftest import Cli


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Four classes of 14 pictures, and a checkpoint of a network of 1,000 classes as Lightning saves it."""
    noise = np.random.default_rng(0)
    for shade, name in enumerate(("bear", "cat", "dog", "elk")):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(14):
            pixels = noise.integers(40 * shade, 40 * shade + 100, (50, 60 + number, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / name / f"{number}.png")
    state = {f"model.{key}": value for key, value in resnet18().state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "weights.ckpt")
    places = [
        "--data-root",
        str(tmp_path / "set"),
        "--cache-dir",
        str(tmp_path / "cache"),
        "--out",
        str(tmp_path / "run"),
    ]
    file = ["--set", f"model.weights_file.resnet18={tmp_path / 'weights.ckpt'}"]
    return [
        "folder/finetune",
        *map(str, places),
        *file,
        "--epochs",
        "1",
        "--seeds",
        "1",
        "--set",
        "dataset.image_size=64",
    ]


@pytest.mark.matrix
def test_a_pretrained_network_is_planned_and_fine_tuned(arguments: list[str], cli: Cli, tmp_path: Path) -> None:
    planned = CliRunner().invoke(main, ["plan", *arguments], catch_exceptions=False)
    assert planned.exit_code == 0, planned.output
    assert "pretrained weights of torchvision:resnet18 do not fill fc," in planned.output
    done = cli("run", *arguments)
    assert done.returncode == 0, done.stderr
    trials = pd.read_parquet(tmp_path / "run" / "trials.parquet")
    assert len(trials) == 7
    assert trials["verified"].all()
    ranking = pd.read_csv(tmp_path / "run" / "report" / "ranking.csv")
    assert set(ranking["parameters"]) == {11_178_564}
    assert set(ranking["multiply_adds"]) == {148_047_872}
