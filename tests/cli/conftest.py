"""One undisturbed run, which every disturbed one is held against."""

from pathlib import Path

import pytest

from tests.cli.runs import EPOCHS, STUDY, TRIALS
from tests.conftest import Cli
from tests.records import epoch_rows


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    done = cli("run", *STUDY, "--out", run)
    assert done.returncode == 0, done.stderr
    assert len(epoch_rows(run)) == TRIALS * EPOCHS
    return run
