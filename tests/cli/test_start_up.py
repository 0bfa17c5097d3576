"""What a run does not do before its first trial."""

import os
import tempfile
from pathlib import Path

import pytest

from tests.conftest import Cli

TRACKERS = ("mlflow", "wandb", "comet_ml", "aim")


@pytest.mark.alone
def test_a_run_imports_no_tracker_and_starts_no_process_that_no_trial_gets(tmp_path: Path, cli: Cli) -> None:
    for name in TRACKERS:
        (tmp_path / f"{name}.py").write_text(
            "from pathlib import Path\nPath(__file__).with_suffix('.imported').touch()"
        )
    with tempfile.TemporaryDirectory(prefix="ray-") as logs:  # a short path: Ray's sockets lie below it
        paths = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
        small = ("--seeds", "1", "--epochs", "1", "--limit-train", "64", "--limit-eval", "40", "--max-concurrent", "1")
        places = {"PYTHONPATH": paths, "RAY_TMPDIR": logs}
        done = cli("run", "digits/long-tail", *small, "--out", tmp_path / "run", env=places)
        assert done.returncode == 0, done.stderr
        workers = [file.name for file in Path(logs).rglob("worker-*.out")]
    assert [file.stem for file in tmp_path.glob("*.imported")] == []
    assert len(workers) == 1, workers
