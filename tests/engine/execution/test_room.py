"""What a trial asks for is held against what there is; where Ray keeps its sockets."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

import engine.execution.cluster as cluster
from core.errors import PlanError
from engine.execution import local_ray as private
from engine.execution.cluster import too_much, wait_line, waits_told
from engine.execution.local_ray import LONGEST, SOCKET, temporary_folder

MACHINE = [{"cpu": 2.0, "gpu": 0.0}]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "nodes", lambda: MACHINE)


@pytest.mark.parametrize(
    ("share", "fault"),
    [
        ({"cpu": 3.0, "gpu": 0.0}, "--cpus-per-trial 3: no trial could start, as this machine has 2 CPUs; up to 2"),
        ({"cpu": 1.0, "gpu": 1.0}, "--gpus-per-trial 1: no trial could start, as this machine has no GPU; 0"),
        ({"cpu": 1.0, "gpu": 0.25}, "--gpus-per-trial 0.25: no trial could start, as this machine has no GPU; 0"),
        ({"cpu": 2.0, "gpu": 0.0}, ""),
        ({"cpu": 0.5, "gpu": 0.0}, ""),
    ],
)
def test_a_trial_that_never_fits_is_a_fault_with_what_the_machine_has(
    share: dict[str, float], fault: str, machine: None
) -> None:
    faults = [fault.replace("; ", "; allowed: ")] if fault else []
    assert too_much(None, share) == faults
    assert too_much("local", share) == faults


def test_every_option_that_asks_for_too_much_is_named(machine: None) -> None:
    assert len(too_much(None, {"cpu": 8.0, "gpu": 2.0})) == 2


def test_a_cluster_may_grow(machine: None) -> None:
    assert too_much("auto", {"cpu": 64.0, "gpu": 8.0}) == []


def test_a_trial_must_fit_on_one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "nodes", lambda: MACHINE * 2)
    assert too_much(None, {"cpu": 3.0, "gpu": 0.0})


def test_while_no_trial_runs_a_line_says_what_is_asked_and_what_is_free(
    monkeypatch: pytest.MonkeyPatch, machine: None
) -> None:
    import ray

    monkeypatch.setattr(ray, "available_resources", lambda: {"CPU": 1.0})
    monkeypatch.setattr(cluster, "LOOK", 0.01)
    said: list[str] = []
    running: dict[str, Any] = {}
    with waits_told({"cpu": 1.0, "gpu": 1.0}, lambda: not running, said.append):
        while len(said) < 2:
            time.sleep(0.005)
        running["a"] = True
        time.sleep(0.1)
        count = len(said)
        time.sleep(0.1)
        assert len(said) == count
    line = (
        "No trial runs: one asks for 1 CPU and 1 GPU; free are 1 CPU and no GPU; "
        "the largest of 1 nodes has 2 CPUs and no GPU."
    )
    assert said[0] == wait_line({"cpu": 1.0, "gpu": 1.0}) == line


def test_the_usual_folder_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    assert temporary_folder() == "/tmp/ray"


@pytest.mark.parametrize("name", ["slurm_jobdir/1355700/of/a/user/with/a/long/name/tmp", "zwölf", "absent"])
def test_a_folder_that_ray_cannot_use_is_passed_over_and_left_alone(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name
    if name != "absent":
        folder.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("SLURM_JOB_ID", "1355700")
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    found = temporary_folder()
    assert not found.startswith(str(tmp_path))
    assert found.isascii()
    assert len(found) + len(LONGEST) <= SOCKET
    assert folder.exists() is (name != "absent")
    assert not folder.exists() or list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_a_long_folder_that_a_person_named_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for job in private.JOBS:
        monkeypatch.delenv(job, raising=False)
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    monkeypatch.setenv(name, str(folder))
    with pytest.raises(PlanError, match=r"too long for the sockets of Ray \(\d+ bytes\); allowed: up to \d+"):
        temporary_folder()
    assert list(folder.iterdir()) == []


def test_a_file_in_place_of_the_folder_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "file"))
    assert not temporary_folder().startswith(str(tmp_path))


def test_where_no_folder_can_be_written_all_that_were_tried_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "absent"))
    monkeypatch.setattr(private, "SHORT", (str(tmp_path / "none"),))
    with pytest.raises(PlanError, match=r"absent/ray.*none.*RAY_TMPDIR"):
        temporary_folder()


def test_a_ray_that_does_not_start_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def broken(**_: Any) -> None:
        raise RuntimeError("no\nway")

    monkeypatch.setattr(ray, "init", broken)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(private.time, "sleep", lambda seconds: None)
    with pytest.raises(PlanError, match="Ray cannot be started on this machine") as error:
        private._start([])
    assert len(error.value.faults) == 1
    assert "\n" not in error.value.faults[0]


def test_trials_have_the_priority_of_the_run(local_ray: None) -> None:
    import ray

    assert ray.get(ray.remote(lambda: os.nice(0)).remote()) == os.nice(0)
