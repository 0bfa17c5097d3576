"""The Optuna study of a search, as Optuna's own tools open it."""

import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

from engine.planning.plan import objectives
from engine.search.sampler import OptunaStudy
from search_spaces.spaces import Number
from search_spaces.study import SearchStudy


@pytest.mark.parametrize(
    ("fields", "names", "directions"),
    [
        ({}, ["val_accuracy"], ["MAXIMIZE"]),
        ({"metric": "test_reference"}, ["val_reference"], ["MINIMIZE"]),
        ({"objectives": ("val_accuracy", "seconds")}, ["val_accuracy", "seconds"], ["MAXIMIZE", "MINIMIZE"]),
    ],
    ids=["one", "minimised", "several"],
)
def test_objectives_have_their_metrics_names(
    tmp_path: Path, fields: dict[str, Any], names: list[str], directions: list[str]
) -> None:
    space = (Number(key="optimizer.lr", low=0.01, high=0.1),)
    search = SearchStudy(name="s", workload="digits", epochs=1, samples=2, space=space, **fields)
    journal = tmp_path / "optuna.journal"
    with warnings.catch_warnings(action="error"):
        OptunaStudy(search, objectives(search), journal)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
    told = optuna.load_study(study_name="s", storage=storage)
    assert told.metric_names == names
    assert [direction.name for direction in told.directions] == directions
