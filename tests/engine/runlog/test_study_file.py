"""A run directory is made, locked and claimed; of a run that never began, nothing stays."""

from pathlib import Path

import pytest

from analysis.records.run_directory import RunDirectory
from core.errors import PlanError
from engine.runlog.study_file import at_work, check_free, claim, hold, reserved


def test_of_a_run_that_was_not_claimed_nothing_stays(tmp_path: Path) -> None:
    directory = tmp_path / "results" / "digits" / "run"

    def refuse() -> None:
        assert at_work(RunDirectory(directory))
        raise PlanError("Ray cannot be started")

    with pytest.raises(PlanError), reserved(directory):
        refuse()
    assert list(tmp_path.iterdir()) == []


def test_of_an_interrupted_start_nothing_stays(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), reserved(tmp_path / "run"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_before_stays(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(PlanError), reserved(tmp_path):
        raise PlanError("no")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_claimed_run_stays_whatever_happens_then(tmp_path: Path) -> None:
    def interrupted() -> None:
        claim(tmp_path / "run", {"name": "run"})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), reserved(tmp_path / "run"):
        interrupted()
    assert (tmp_path / "run" / "study.json").exists()
    assert not at_work(RunDirectory(tmp_path / "run"))


def test_a_second_driver_that_is_refused_leaves_the_first_alone(tmp_path: Path) -> None:
    with reserved(tmp_path / "run"):
        with pytest.raises(PlanError, match="another process is running"), reserved(tmp_path / "run"):
            pass
        claim(tmp_path / "run", {"name": "run"})
        assert at_work(RunDirectory(tmp_path / "run"))


def test_a_folder_without_a_lock_has_no_driver(tmp_path: Path) -> None:
    assert not at_work(RunDirectory(tmp_path))
    hold(RunDirectory(tmp_path)).release()
    assert not at_work(RunDirectory(tmp_path))


@pytest.mark.parametrize("name", ["file", "file/run", "file/deep/er"])
def test_a_file_in_the_way_is_named_and_nothing_is_made(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PlanError, match="file is no folder"):
        check_free(tmp_path / name)
    check_free(tmp_path / "new" / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
