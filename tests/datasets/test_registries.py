"""Contracts that every data set and every sampler keeps; a new one is covered by its line in the registry.

A new data set adds one line to `LAYOUTS`: what writes a small copy of its folder below a data root.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from core.splits import SPLITS
from datasets.base import DataError, DatasetSettings
from datasets.cache.cache import open_dataset, prepare
from datasets.registry import DATASETS
from datasets.samplers import SAMPLERS
from tests.conftest import ROOT
from tests.datasets.makers import make_animals, make_eurosat, make_expressions, make_faces, make_table

LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "digits": lambda root: root,
    "image_folder": lambda root: make_animals(root) / "animals",
    "table": make_table,
    "faces": make_faces,
    "animals": make_animals,
    "expressions": make_expressions,
    "eurosat": make_eurosat,
}


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
def test_a_data_set_keeps_what_it_promises(name: str, tmp_path: Path) -> None:
    root = LAYOUTS[name](tmp_path / "data")
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
        assert (rows.points is None) == (rows.aspects is None) == (info.n_points == 0)
        if rows.points is not None and rows.aspects is not None:
            assert rows.points.shape == (len(rows), info.n_points, 2)
            assert (rows.points.dtype, rows.aspects.dtype) == (np.float32, np.float32)
            assert (rows.aspects > 0).all()
    assert min(info.counts["train"]) > 0
    assert info.input_shape[0] == info.image_shape[0]
    assert (info.seen, info.dropped) == ((), 0)


@pytest.mark.parametrize("name", DATASETS)
def test_a_data_set_can_train_on_validation_drop_leaks_and_be_cut(name: str, tmp_path: Path) -> None:
    root = LAYOUTS[name](tmp_path / "data")
    settings = DATASETS[name](train_on_validation=True, drop_leaks=True, limit_eval=2, limit_train=20)
    prepared = prepare(settings, root, tmp_path / "cache")
    dataset = open_dataset(settings, prepared.path)
    assert dataset.info == prepared.info
    assert (dataset.info.seen, prepared.full.seen) == (("val",), ())
    assert [len(dataset.splits[split]) for split in SPLITS] == [20, 2, 2]
    for rows in dataset.splits.values():
        assert len(rows.paths) == len(rows.images) == len(rows.labels)
        assert rows.aspects is None or len(rows.aspects) == len(rows)
    joined = open_dataset(DATASETS[name](train_on_validation=True), prepared.path).info
    both = zip(prepared.full.counts["train"], prepared.full.counts["val"], strict=True)
    assert joined.counts["train"] == tuple(map(sum, both))


@pytest.mark.parametrize("name", DATASETS)
def test_a_folder_that_is_not_there_is_a_data_error(name: str, tmp_path: Path) -> None:
    if "path" in DATASETS[name].place_fields:
        with pytest.raises(DataError, match=r"no such (folder|table): .*expected layout"):
            DATASETS[name].model_validate({"path": "nowhere"}).source(tmp_path)


@pytest.mark.parametrize("name", DATASETS)
def test_the_same_content_elsewhere_has_the_same_fingerprint(name: str, tmp_path: Path) -> None:
    settings = DATASETS[name]()
    prints = [
        prepare(settings, LAYOUTS[name](tmp_path / place), tmp_path / f"cache {place}").info.fingerprint
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
        ("drop_leaks", 1),
        ("train_on_validation", "yes"),
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


@pytest.mark.parametrize(
    "module",
    ["datasets.registry", "datasets.samplers", "datasets.augmentation.settings"],
)
def test_looking_up_a_name_imports_nothing_heavy(module: str) -> None:
    heavy = "{'torch', 'torchvision', 'sklearn', 'pyarrow', 'PIL', 'pandas', 'ray'}"
    code = f"import sys, {module}; print({heavy} & set(sys.modules))"
    found = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    assert found == "set()\n"
