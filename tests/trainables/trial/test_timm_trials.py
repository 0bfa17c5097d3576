"""Networks of timm train an epoch, are verified, and give the same bits when trained again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.cache.cache import prepare
from tests.trainables.small_trials import finish, small_spec
from trainables.config import resolve

pytest.importorskip("timm")
NETWORKS = ["mobilenetv3_small_050", "vit_tiny_patch16_224", "convnext_atto", "mobilenetv3_small_100"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 20 noisy pictures, 64 × 64."""
    root, noise = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for shade, name in enumerate(("dark", "light")):
        (root / name).mkdir()
        for number in range(20):
            pixels = noise.integers(100 * shade, 100 * shade + 150, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


@pytest.mark.parametrize(
    "name", [name if name == NETWORKS[0] else pytest.param(name, marks=pytest.mark.matrix) for name in NETWORKS]
)
def test_an_epoch_trained_twice_is_bit_equal(name: str, pictures: Path, tmp_path: Path) -> None:
    config = resolve(
        {
            "dataset.name": "image_folder",
            "dataset.path": str(pictures),
            "dataset.image_size": 64,
            "model.name": f"timm:{name}",
            "training.epochs": 1,
            "training.batch_size": 16,
        }
    )
    prepared = prepare(config.dataset, None, tmp_path / "cache")
    parts = {"config": config.model_dump(mode="json"), "dataset_file": str(prepared.path)}
    specs = (small_spec(tmp_path / run) for run in ("a", "b"))
    first, again = (finish(replace(spec, **parts, fingerprint=prepared.info.fingerprint)) for spec in specs)
    assert first.status == "finished"
    assert first.verified
    assert first.predictions is not None
    assert first == again
