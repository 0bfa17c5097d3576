"""Contracts that every data set and every sampler keeps; a new one is covered by its line in the registry.

A new data set adds one line to `LAYOUTS`: what a small copy of its folder looks like.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from datasets.base import DatasetSettings
from datasets.cache import open_dataset, prepare
from datasets.registry import DATASETS
from datasets.samplers import SAMPLERS
from datasets.splits import SPLITS

LAYOUTS = {"digits": {}, "image_folder": {"cat": 30, "dog": 30, "emu": 30}}


def test_neither_registry_is_empty_and_every_data_set_has_a_small_copy() -> None:
    assert SAMPLERS
    assert set(LAYOUTS) == set(DATASETS)


@pytest.mark.parametrize("kind", [DATASETS, SAMPLERS])
def test_names_agree_with_the_registry_and_unknown_settings_are_refused(kind: dict[str, type[DatasetSettings]]) -> None:
    for name, component in kind.items():
        assert component().name == name
        with pytest.raises(ValidationError, match="Extra inputs"):
            component.model_validate({"nonsense": 1})


@pytest.mark.parametrize("name", DATASETS)
def test_a_data_set_keeps_what_it_promises(name: str, tmp_path: Path, write_tree: Callable[..., Path]) -> None:
    root = write_tree(tmp_path / "data", LAYOUTS[name])
    settings = DATASETS[name]()
    prepared = prepare(settings, root, tmp_path / "cache")
    dataset = open_dataset(settings, prepared.path)
    info = dataset.info
    assert info == prepared.info == prepared.full
    assert info.name == name
    assert len(info.mean) == len(info.std) == info.image_shape[0]
    assert set(dataset.splits) == set(info.counts) == set(SPLITS)
    paths = [path for rows in dataset.splits.values() for path in rows.paths]
    assert len(paths) == len(set(paths)) > 0
    for split, rows in dataset.splits.items():
        assert rows.images.shape == (len(rows), *info.image_shape)
        assert rows.images.dtype == np.uint8
        assert rows.labels.dtype == np.int64
        assert info.counts[split] == tuple(np.bincount(rows.labels, minlength=len(info.classes)))
        assert (rows.points is None) == (info.n_points == 0)
    assert min(info.counts["train"]) > 0


@pytest.mark.parametrize("name", DATASETS)
def test_the_same_content_elsewhere_has_the_same_fingerprint(
    name: str, tmp_path: Path, write_tree: Callable[..., Path]
) -> None:
    settings = DATASETS[name]()
    prints = [
        prepare(settings, write_tree(tmp_path / place, LAYOUTS[name]), tmp_path / f"cache {place}").info.fingerprint
        for place in ("a", "b")
    ]
    assert prints[0] == prints[1]


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("imbalance_factor", 0.5),
        ("imbalance_factor", "50"),
        ("limit_train", -1),
        ("limit_eval", 1.5),
        ("split_seed", -1),
    ],
)
def test_settings_outside_their_domain_are_refused(name: str, setting: str, value: object) -> None:
    with pytest.raises(ValidationError, match=setting):
        DATASETS[name].model_validate({setting: value})


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_orders_an_epoch_by_its_generator_alone(name: str) -> None:
    labels = torch.tensor([0] * 30 + [1] * 3)
    orders = [SAMPLERS[name]().order(labels, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert orders[0].shape == (33,)
    assert orders[0].dtype == torch.int64
    assert orders[0].equal(orders[1])
    assert not orders[0].equal(orders[2])


@pytest.mark.parametrize("module", ["datasets.registry", "datasets.samplers", "datasets.augmentation"])
def test_looking_up_a_name_imports_nothing_heavy(module: str) -> None:
    heavy = "{'torch', 'torchvision', 'sklearn', 'pyarrow', 'PIL', 'pandas', 'ray'}"
    code = f"import sys, {module}; print({heavy} & set(sys.modules))"
    found = subprocess.check_output([sys.executable, "-c", code], cwd=Path(__file__).parents[2], text=True)
    assert found == "set()\n"
