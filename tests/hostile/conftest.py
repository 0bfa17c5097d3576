"""Runs with everything that a trial can leave, and scenes around copies of them."""

from pathlib import Path

import numpy as np
import pytest

from tests.analysis import outputs, runs, searches


@pytest.fixture(scope="session")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes, two cells, two seeds; predictions, features, landmarks, diagnostics and pictures of each trial."""
    run, rng = outputs.compared(tmp_path_factory.mktemp("hostile") / "ablation", 2), np.random.default_rng(0)
    outputs.predict(run, 2, 20)
    for cell in outputs.ACCURACY:
        for seed in range(2):
            outputs.features(run, cell, seed, {"test": rng.normal(size=(8, 3))}, {"test": rng.integers(0, 3, 8)})
            outputs.landmarks(run, cell, seed, rng.uniform(0, 9, (6, 3, 2)), rng.uniform(0, 9, (6, 3, 2)))
            outputs.diagnostics(run, cell, seed, [{"epoch": 1, "layer": "conv1", "kind": "conv"}])
            outputs.thumbnail(run, cell, seed, 0, rng.integers(0, 255, (16, 16)))
    return run


@pytest.fixture(scope="session")
def search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run, space = tmp_path_factory.mktemp("hostile") / "search", [searches.LR, searches.SCHEDULE, searches.GAMMA]
    points = [{"optimizer.lr": 0.3 / 2**i, "schedule.name": ("constant", "step")[i % 2]} for i in range(5)]
    searches.write(run, space, [searches.trial(f"c{i}", point, 0.5 + 0.02 * i) for i, point in enumerate(points)])
    return run


@pytest.fixture(scope="session")
def key() -> str:
    """A trial of `ablation`."""
    return runs.trial_id("baseline", 0)
