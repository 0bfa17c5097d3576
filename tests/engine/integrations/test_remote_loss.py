"""What a run at a URL has lost there is made again by a `resume` on any machine."""

from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from core.files import found_digest
from engine.integrations import remote_lock
from engine.integrations import remote_sync as remote
from run_search import main
from tests.core.storage import url_of
from tests.engine.execution.test_made_again import STUDY
from tests.engine.integrations.test_remote_sync import at_work, mirror
from tests.engine.sequential import Drive
from tests.records import ends

pytestmark = pytest.mark.usefixtures("tables_only")


@pytest.mark.matrix
def test_predictions_and_a_model_lost_at_a_url(
    tmp_path: Path, drive: Drive, trained: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.tables.feature_projections.Projections.table", lambda self: pd.DataFrame())
    monkeypatch.setattr(remote, "LOOK", 0.01)
    monkeypatch.setattr(remote_lock, "CONTEST", 0.01)
    monkeypatch.setenv("CACHE_DIR", str(tmp_path / "b"))
    directory, storage = mirror(tmp_path), tmp_path / "storage"
    at_work(drive, directory, study=STUDY)
    first, second, third = ends(directory)
    files = [storage / "predictions" / f"{first}.parquet", storage / "checkpoints" / second / "best.pt"]
    before = [found_digest(file) for file in files]
    damaged = storage / "predictions" / f"{third}.parquet"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-20])
    for file in files:
        file.unlink()
    said = CliRunner().invoke(main, ["check", url_of(storage)])
    assert said.exit_code == 1
    assert [line.partition(":")[0] for line in said.stdout.splitlines()[:-1]] == [
        f"predictions/{first}.parquet",
        f"checkpoints/{second}/best.pt",
        f"predictions/{third}.parquet",
    ]
    trained.clear()
    at_work(drive, mirror(tmp_path, "b"), study=STUDY)
    assert trained == [1, 2]
    assert [found_digest(file) for file in files] == before
    assert damaged.read_bytes() == whole
    assert CliRunner().invoke(main, ["check", url_of(storage)]).exit_code == 0
