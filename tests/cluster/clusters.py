"""A Ray cluster of several nodes on this machine: each a process group of its own, all on the loopback interface."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import ROOT

START = 120.0
# Ray knows "loopback only" as its rule for macOS and Windows, and lets no second node join there.
RAY = """
import sys
from ray._private import ray_constants, services
ray_constants.ENABLE_RAY_CLUSTER = True
services.get_node_ip_address = lambda address=None: "127.0.0.1"
from ray.scripts.scripts import main
sys.argv[0] = "ray"
main()
"""
QUICK = '{"health_check_initial_delay_ms":1000,"health_check_period_ms":500,"health_check_failure_threshold":4}'


@dataclass
class Cluster:
    address: str
    env: dict[str, str]
    """for the driver too: it holds the cluster's token"""
    folder: Path
    groups: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(self, *options: str) -> "subprocess.Popen[bytes]":
        """One node. Its processes share the group of the one that is returned, which ends with them."""
        place = self.folder / str(len(self.groups))
        command = [sys.executable, "-c", RAY, "start", "--temp-dir", str(place), "--block", "--disable-usage-stats"]
        with (self.folder / f"{len(self.groups)}.log").open("wb") as log:
            node = subprocess.Popen(
                [*command, *options], env=self.env, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        self.groups.append(node)
        log_file = Path(log.name)
        began = time.monotonic()
        while b"Ray runtime started" not in log_file.read_bytes():
            assert node.poll() is None, log_file.read_text()
            assert time.monotonic() - began < START, log_file.read_text()
            time.sleep(0.05)
        return node

    def worker(self, *options: str) -> "subprocess.Popen[bytes]":
        return self.start("--address", self.address, *options)


def signal_all(node: "subprocess.Popen[bytes]", number: int) -> None:
    """The signal to every process of the node."""
    for group in {node.pid} | {_group(pid) for pid in family(node.pid)} - {os.getpgid(0), 0}:
        with suppress(ProcessLookupError):
            os.killpg(group, number)


def kill(node: "subprocess.Popen[bytes]") -> None:
    """SIGKILL to every process of the node at once."""
    signal_all(node, signal.SIGKILL)
    node.wait()


def caught_training(node: "subprocess.Popen[bytes]") -> bool:
    """Whether a trial is in the middle of an epoch there; then the node is left frozen in it."""
    if not _training(node):
        return False
    signal_all(node, signal.SIGSTOP)
    if _training(node):
        return True
    signal_all(node, signal.SIGCONT)
    return False


def _training(node: "subprocess.Popen[bytes]") -> bool:
    return any(_title(pid).startswith("ray::ResourceTrainable.train") for pid in family(node.pid))


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def family(root: int) -> set[int]:
    """A process and all its descendants."""
    parents = {}
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit():
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {root} & set(parents)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listening(pids: set[int]) -> set[str]:
    """Addresses, as hexadecimal text of /proc/net, on which these processes accept connections."""
    inodes = set()
    for pid in pids:
        try:
            for file in Path(f"/proc/{pid}/fd").iterdir():
                target = str(file.readlink())
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
        except OSError:
            continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            parts = line.split()
            if parts[3] == "0A" and parts[9] in inodes:
                found.add(parts[1].partition(":")[0])
    return found


@contextmanager
def cluster(*head_options: str) -> Iterator[Cluster]:
    """A head node, and whatever `worker` adds; every process is gone when the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="ray"))  # not tmp_path: a socket's path may have 107 characters
    # On every node another package is named `datasets`, as Hugging Face's is; ours must be found before it.
    decoy = folder / "decoy"
    (decoy / "datasets").mkdir(parents=True)
    (decoy / "datasets" / "__init__.py").write_text("raise ImportError('not our datasets')\n")
    env = {
        **os.environ,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "PYTHONPATH": str(decoy),
    }
    made = Cluster(f"127.0.0.1:{port}", env, folder)
    try:
        quick = ("--system-config", QUICK)
        made.start("--head", "--port", str(port), "--include-dashboard", "false", *quick, *head_options)
        yield made
    finally:
        for node in reversed(made.groups):
            kill(node)
        shutil.rmtree(folder, ignore_errors=True)


def driver(made: Cluster, *arguments: object) -> "subprocess.Popen[str]":
    """The command line with this cluster's address, as a process."""
    command = [sys.executable, "run_search.py", *map(str, arguments), "--address", made.address]
    return subprocess.Popen(
        command, cwd=ROOT, env=made.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
