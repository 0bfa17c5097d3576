"""One undisturbed run, which every disturbed one is held against."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from filelock import FileLock

from run_search import main
from tests.cli.runs import EPOCHS, STUDY, TRIALS
from tests.records import epoch_rows


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, local_ray: None) -> Path:
    """Of all of pytest's processes the first that needs it runs it."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    run = folder / "undisturbed"
    with FileLock(folder / "undisturbed.lock"):
        if not run.exists():
            done = CliRunner().invoke(main, ["run", *STUDY, "--out", str(run)])
            assert done.exit_code == 0, done.output
    assert len(epoch_rows(run)) == TRIALS * EPOCHS
    return run
