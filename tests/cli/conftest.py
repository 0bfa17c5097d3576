"""One undisturbed run, which every disturbed one is held against."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from run_search import main
from tests.cli.runs import EPOCHS, STUDY, TRIALS
from tests.records import epoch_rows


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, local_ray: None) -> Path:
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    done = CliRunner().invoke(main, ["run", *STUDY, "--out", str(run)])
    assert done.exit_code == 0, done.output
    assert len(epoch_rows(run)) == TRIALS * EPOCHS
    return run
