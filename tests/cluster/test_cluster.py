"""A study on a cluster of several nodes, one of which is lost; fractional GPUs; what is refused before any trial."""

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import PlanError
from engine.execution.cluster import check_versions, inspect_node, joined, node_faults, room
from tests.cluster.clusters import Cluster, caught_training, cluster, driver, family, kill, listening
from tests.conftest import Cli
from tests.own_code import write_own_code
from tests.records import ends, epoch_rows, events

pytestmark = pytest.mark.alone

STUDY = ("digits/long-tail", "--seeds", "2", "--epochs", "16", "--checkpoint-every", "0s")
TRIALS, EPOCHS = 8, 16
DEADLINE = 240.0
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def freeze_in_training(run: "subprocess.Popen[str]", node: "subprocess.Popen[bytes]", log: Path, rows: int) -> None:
    """Until the log has so many rows and the node is in the middle of an epoch, where it is frozen."""
    began = time.monotonic()
    while not (log.exists() and log.read_bytes().count(b'"event": "epoch"') >= rows and caught_training(node)):
        assert run.poll() is None, f"the run ended before:\n{run.communicate()[0]}"
        assert time.monotonic() - began < DEADLINE, "no trial on the node"
        time.sleep(0.005)


@pytest.mark.matrix
def test_a_study_outlives_a_lost_node_with_the_rows_of_an_undisturbed_local_run(tmp_path: Path, cli: Cli) -> None:
    with cluster("--num-cpus", "0") as made:
        lost, _ = made.worker("--num-cpus", "1"), made.worker("--num-cpus", "1")
        run = driver(made, "run", *STUDY, "--out", tmp_path / "run")
        try:
            chance = random.Random(os.urandom(8))
            freeze_in_training(run, lost, tmp_path / "run" / "log.jsonl", chance.randint(4, 40))
            kill(lost)
            output = run.communicate(timeout=DEADLINE)[0]
        finally:
            run.kill()
    assert run.returncode == 0, output

    local = cli("run", *STUDY, "--out", tmp_path / "local")
    assert local.returncode == 0, local.stderr
    rows = epoch_rows(tmp_path / "run")
    assert len(rows) == TRIALS * EPOCHS
    assert rows == epoch_rows(tmp_path / "local")
    assert ends(tmp_path / "run") == ends(tmp_path / "local")
    starts = [event["trial"] for event in events(tmp_path / "run") if event["event"] == "start"]
    assert len(starts) > TRIALS, "the lost node was running no trial"
    logged = [(event["trial"], event["epoch"]) for event in events(tmp_path / "run") if event["event"] == "epoch"]
    assert len(logged) == len(set(logged)), "a row was written twice"


def test_four_trials_of_half_a_gpu_share_two_and_never_more(tmp_path: Path) -> None:
    half = ("--cpus-per-trial", "0.5", "--gpus-per-trial", "0.5")
    with cluster("--num-cpus", "8", "--num-gpus", "2") as made:
        run = driver(
            made, "run", "digits/long-tail", "--seeds", "2", "--epochs", "40", *half, "--out", tmp_path / "run"
        )
        try:
            output = run.communicate(timeout=DEADLINE)[0]
        finally:
            run.kill()
    assert run.returncode == 0, output
    assert len(ends(tmp_path / "run")) == 8
    running: set[str] = set()
    most = 0
    for event in events(tmp_path / "run"):
        if event["event"] == "start":
            running.add(event["trial"])
        elif event["event"] == "end":
            running.discard(event["trial"])
        most = max(most, len(running))
    assert most == 4


@pytest.fixture(scope="module")
def small_cluster() -> Iterator[Cluster]:
    with cluster("--num-cpus", "1") as made:
        yield made


def refused(made: Cluster, out: Path, address: str, **env: str) -> str:
    """What the command line says of `address`; it must refuse, and leave no run behind."""
    other = Cluster(address, {**made.env, **env}, made.folder)
    run = driver(other, "run", *STUDY, "--out", out)
    output = run.communicate(timeout=DEADLINE)[0]
    assert run.returncode == 2, output
    assert not (out / "study.json").exists()
    return output


@pytest.mark.matrix
def test_a_port_where_nothing_answers_is_refused_with_what_is_allowed(small_cluster: Cluster, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        said = refused(small_cluster, tmp_path / "run", address)
    assert f"--address {address}: no Ray cluster answers" in said
    assert "auto" in said
    assert "HOST:PORT" in said


@pytest.mark.matrix
def test_a_cluster_that_wants_another_token_is_refused_with_the_variable_to_set(
    small_cluster: Cluster, tmp_path: Path
) -> None:
    said = refused(small_cluster, tmp_path / "run", small_cluster.address, RAY_AUTH_TOKEN="f" * 64)
    assert "RAY_AUTH_TOKEN" in said


def test_what_a_node_lacks_is_said_fault_by_fault(tmp_path: Path) -> None:
    missing = tmp_path / "not-mounted"
    answer = inspect_node(missing)
    assert list(node_faults(inspect_node(tmp_path), tmp_path)) == []
    other = answer | {"ours": False, "versions": answer["versions"] | {"torch": "1.0", "pillow": None}}
    faults = list(node_faults(other, missing))
    assert len(faults) == 4
    for part in ("another package", "torch is 1.0 there", "pillow is not installed", f"--out {missing}"):
        assert part in " ".join(faults)


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "head:port", "http://head:8265"])
def test_what_is_no_address_is_refused_with_what_is_allowed(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # other tests may have left the session's Ray up
    with pytest.raises(PlanError, match="HOST:PORT"), joined(address, tmp_path):
        pass


def test_auto_without_a_cluster_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray._private.utils.read_ray_address", lambda: None)
    with pytest.raises(PlanError, match="no Ray cluster was started on this machine"), joined("auto", tmp_path):
        pass


def test_of_another_version_of_ray_or_python_both_are_named() -> None:
    with pytest.raises(PlanError) as raised:
        check_versions("auto", "head:6379", {"ray_version": "1.0", "python_version": "2.7"})
    assert len(raised.value.faults) == 2
    assert "runs ray 1.0" in raised.value.faults[0]


def test_a_trial_is_never_spread_over_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [{"cpu": 3.0, "gpu": 0.0}, {"cpu": 3.0, "gpu": 1.0}]
    monkeypatch.setattr("engine.execution.cluster.nodes", lambda: nodes)
    assert room({"cpu": 2.0, "gpu": 0.0}) == 2
    assert room({"cpu": 0.1, "gpu": 0.1}) == 10
    assert room({"cpu": 1.0, "gpu": 0.5}) == 2


def test_a_private_ray_listens_on_the_loopback_interface_only() -> None:
    program = """
import os, sys
from ray import tune  # as every trainable does before Ray is started
from engine.execution.cluster import ray_started
with ray_started():
    import ray
    ray.get(ray.remote(lambda: 1).remote())
    print("up", flush=True)
    sys.stdin.read()
"""
    env = {key: value for key, value in os.environ.items() if key != "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"}
    started = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**env, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        assert started.stdout is not None
        assert started.stdout.readline() == "up\n"
        found = listening(family(started.pid))
    finally:
        started.communicate()
    assert found
    assert found <= LOOPBACK


@pytest.mark.matrix
def test_the_user_s_own_code_reaches_every_node_and_means_there_what_it_means_here(tmp_path: Path, cli: Cli) -> None:
    """Its file imports an installed package that is called as one of ours, and is deleted once the run has begun."""
    site = tmp_path / "site" / "datasets"
    site.mkdir(parents=True)
    (site / "__init__.py").write_text("WHO = 'installed'\n")
    study = write_own_code(tmp_path / "code")
    (study.parent / "datasets.py").unlink()
    mine = study.parent / "mine.py"
    mine.write_text(f"{mine.read_text()}\nassert datasets.WHO == 'installed'\n")
    with cluster("--num-cpus", "0") as made:
        made.env["PYTHONPATH"] = str(site.parent)
        for _ in range(2):
            made.worker("--num-cpus", "1")
        run = driver(made, "run", study, "--out", tmp_path / "run")
        try:
            while not (tmp_path / "run" / "log.jsonl").exists() and run.poll() is None:
                time.sleep(0.05)
            study.parent.rename(tmp_path / "gone")
            output = run.communicate(timeout=DEADLINE)[0]
        finally:
            run.kill()
    assert run.returncode == 0, output
    assert len(ends(tmp_path / "run")) == 8
    (tmp_path / "gone").rename(study.parent)
    local = cli("run", study, "--out", tmp_path / "local", env={"PYTHONPATH": str(site.parent)})
    assert local.returncode == 0, local.stderr
    assert epoch_rows(tmp_path / "run") == epoch_rows(tmp_path / "local")
