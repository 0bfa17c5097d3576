"""A run directory that is moved while real trials train in it."""

from pathlib import Path

import pytest

from tests.cli.runs import assert_same_outcome, begin, output, wait_until
from tests.cli.test_faults import ended


@pytest.mark.matrix
def test_it_ends_with_the_command_that_goes_on_where_it_is_now(undisturbed: Path, tmp_path: Path) -> None:
    run, moved = tmp_path / "run", tmp_path / "moved"
    driver = begin(run)
    wait_until(driver, lambda: ended(run) >= 1, "the first trial's end")
    run.rename(moved)
    said = output(driver)
    assert driver.returncode == 130, said
    assert "Traceback" not in said
    assert f"was moved to {moved} while it ran" in said
    assert f"python run_search.py resume {moved}" in said
    driver = begin(moved)
    said = output(driver)
    assert driver.returncode == 0, said
    assert_same_outcome(moved, undisturbed)
    left = [file for file in run.rglob("*") if file.is_file() and file.suffix not in (".pt", ".part")]
    assert not left, "the old place came to be once more"
