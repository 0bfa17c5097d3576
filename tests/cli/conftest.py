"""One undisturbed run, which every disturbed one is held against."""

from pathlib import Path

import pytest

from tests.cli.runs import EPOCHS, STUDY, TRIALS, run_once
from tests.records import epoch_rows


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, local_ray: None) -> Path:
    run, done = run_once(tmp_path_factory, "undisturbed", *STUDY)
    assert done is None or done.exit_code == 0, done.output
    assert len(epoch_rows(run)) == TRIALS * EPOCHS
    return run
