"""Runs a study on a private Ray (`local_ray`), or joins an existing cluster.

A cluster gets the program itself as its working directory, and every node is checked before the first trial.
"""

import os
import platform
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from analysis.records.run_directory import RunDirectory
from core import ROOT
from core.activity import doing
from core.errors import PlanError
from core.storage import unwritable
from engine.execution import local_ray
from engine.execution.local_ray import ENVIRONMENT, is_local, set_environment, stay_on_loopback

PROGRAM = ("analysis", "core", "datasets", "engine", "search_spaces", "trainables", "run_search.py")
SAME = ("torch", "torchvision", "numpy", "pyarrow", "pillow")  # a trial's numbers may depend on their versions

ALLOWED = "allowed: auto (the cluster of this machine), HOST:PORT, or local (this machine alone, the default)"
TOKEN = "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN where ~/.ray/auth_token is not that of the cluster"
ANSWER = 5.0  # seconds within which a cluster's port answers
LOOK = 30.0  # seconds between two lines about trials that wait for room
INSPECTION = 180.0  # seconds within which every node answers, its first import of the program included


@contextmanager
def ray_started(address: str | None = None, directory: Path | None = None) -> Iterator[bool]:
    """Ray for the length of the block: a private local one, or the cluster at `address`, which keeps running.

    PlanError if there is no such cluster, or if one of its nodes cannot run trials or write to `directory`. A Ray that
    this process already uses is reused. Yields whether it is a private one that ends after the block.
    """
    if is_local(address):
        with local_ray.started() as ends:
            yield ends
        return
    set_environment()
    import ray

    if ray.is_initialized():
        yield False
        return
    with doing(f"joining the cluster {address}"):
        _join(str(address))
    try:
        with doing("asking the nodes"):
            _check_nodes(str(address), directory)
        yield False
    finally:
        with doing("leaving the cluster"):
            ray.shutdown()


@contextmanager
def joined(address: str | None, directory: Path) -> Iterator[None]:
    """`ray_started` if a cluster is named, else a no-op; its errors come before `directory` is claimed."""
    if is_local(address):
        yield
    else:
        with ray_started(address, directory):
            yield


def nodes() -> list[dict[str, float]]:
    """{"cpu": …, "gpu": …} of every node of the running Ray; of this machine if there is none."""
    import ray

    if ray.is_initialized():
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return [{"cpu": node.get("CPU", 0.0), "gpu": node.get("GPU", 0.0)} for node in alive]
    import torch

    return [{"cpu": float(os.cpu_count() or 1), "gpu": float(torch.cuda.device_count())}]


def room(share: dict[str, float]) -> int:
    """How many trials with this share, {"cpu": …, "gpu": …}, fit at a time; none is spread over two nodes."""
    wanted = {name: amount for name, amount in share.items() if amount}
    return sum(min(int(node[name] / amount + 1e-6) for name, amount in wanted.items()) for node in nodes())


def too_much(address: str | None, share: dict[str, float]) -> list[str]:
    """Faults where a trial asks for more than this machine has; none for a cluster, which may grow."""
    if not is_local(address):
        return []
    machine = {name: max(node[name] for node in nodes()) for name in share}
    return [
        f"--{name}s-per-trial {asked:g}: no trial could start, as this machine has {_amount(machine[name], name)}; "
        f"allowed: {'up to ' * (machine[name] > 0)}{machine[name]:g}"
        for name, asked in share.items()
        if asked > machine[name]
    ]


@contextmanager
def waits_told(share: dict[str, float], idle: Callable[[], bool], say: Callable[[str], None]) -> Iterator[None]:
    """Tells every `LOOK` seconds, while no trial runs, what one asks for and what the running Ray has free."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK):
            with suppress(Exception):  # a node may go meanwhile
                if idle():
                    say(wait_line(share))

    threading.Thread(target=look, name="waits", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def wait_line(share: dict[str, float]) -> str:
    import ray

    free, largest = ray.available_resources(), {name: max(node[name] for node in nodes()) for name in share}
    asked, now, most = (
        " and ".join(_amount(amounts.get(name, 0.0), name) for name in share)
        for amounts in (share, {name: free.get(name.upper(), 0.0) for name in share}, largest)
    )
    return f"No trial runs: one asks for {asked}; free are {now}; the largest of {len(nodes())} nodes has {most}."


def _amount(number: float, name: str) -> str:
    return f"{f'{number:g}' if number else 'no'} {name.upper()}{'s' * (number > 1)}"


def find(address: str) -> str:
    """HOST:PORT of the cluster; PlanError if none answers.

    Called before `ray.init`, which waits two minutes for an absent cluster and then raises SystemExit.
    """
    from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.exceptions import AuthenticationError

    found = _address_of_this_machine() if address == "auto" else address
    parts = re.fullmatch(r"(?:(\[[0-9a-fA-F:.]+\])|([^\s/:\[\]]+)):(\d{1,5})", found)
    if not parts:
        named = f" stands for {found!r}, which" if found != address else ""
        client = "; the program runs on a node of the cluster, for instance by `ray job submit`" * ("//" in found)
        raise PlanError(f"--address {address}:{named} is no address; {ALLOWED}{client}")
    host = (parts[1] or parts[2]).strip("[]")
    try:
        socket.create_connection((host, int(parts[3])), ANSWER).close()
    except (OSError, OverflowError) as error:
        raise PlanError(f"--address {address}: no Ray cluster answers at {found} ({error}); {ALLOWED}") from None
    if address == "auto":
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)  # as ray.init("auto") does, once and for all
    try:
        metadata = _metadata(GcsClient(address=found))
    except AuthenticationError:
        raise PlanError(f"--address {address}: the cluster at {found} wants its token; {TOKEN}") from None
    except Exception as error:
        raise PlanError(f"--address {address}: what answers at {found} is no Ray cluster ({error})") from None
    check_versions(address, found, metadata)
    return found


def _address_of_this_machine() -> str:
    """The address that `ray start` or `ray job submit` left for programs on this machine."""
    from ray._private.utils import read_ray_address

    found = os.environ.get("RAY_ADDRESS") or read_ray_address()
    if not found:
        raise PlanError(
            f"--address auto: no Ray cluster was started on this machine (by `ray start`), and RAY_ADDRESS names "
            f"none; {ALLOWED}"
        )
    return found


def _metadata(client: Any) -> dict[str, Any]:
    from ray._common.usage.usage_lib import get_cluster_metadata

    return get_cluster_metadata(client) or {}


def check_versions(address: str, found: str, metadata: dict[str, Any]) -> None:
    """PlanError where the cluster runs another Ray or Python: their processes would not understand each other."""
    import ray

    here = {"ray": ray.__version__, "python": platform.python_version()}
    faults = [
        f"--address {address}: the cluster at {found} runs {name} {there}, this is {name} {here[name]}; both must be "
        f"the same"
        for name in here
        if (there := metadata.get(f"{name}_version", here[name])) != here[name]
    ]
    if faults:
        raise PlanError(faults)


def _join(address: str) -> None:
    import ray

    found = find(address)
    if found.rpartition(":")[0].strip("[]") in ("localhost", "127.0.0.1", "::1"):
        stay_on_loopback()  # else Ray looks for the cluster at this machine's external address
    try:
        ray.init(
            address="auto" if address == "auto" else found,
            runtime_env=_runtime_env(),
            log_to_driver=False,
            logging_level="error",
        )
    except (Exception, SystemExit) as error:
        ray.shutdown()
        raise PlanError(
            f"--address {address}: the cluster at {found} cannot be joined ({_first_line(error)}); the program "
            f"runs on a node of the cluster, for instance by `ray job submit`; where the cluster wants a token, "
            f"{TOKEN}"
        ) from None


def _runtime_env() -> dict[str, Any]:
    """The program as the workers' working directory, unless `ray job submit` has shipped it already."""
    env: dict[str, Any] = {"env_vars": ENVIRONMENT}
    if '"working_dir"' not in os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", ""):
        env["working_dir"] = str(ROOT)
        # All but the program: a run directory or a data set beside it may be large. "." is the folder itself.
        env["excludes"] = ["/*", "!/.", *(f"!/{name}" for name in PROGRAM), "__pycache__"]
    return env


def _check_nodes(address: str, directory: Path | None) -> None:
    """Ask every node that may get trials; PlanError lists what each of them lacks."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    working = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    if not working:
        raise PlanError(f"--address {address}: the cluster has no node with a CPU for trials")
    ask, remote = ray.remote(num_cpus=0)(inspect_node), directory and RunDirectory(directory).remote
    asked = {}
    for node in working:
        strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        asked[ask.options(scheduling_strategy=strategy).remote(directory, remote)] = node["NodeManagerHostname"]
    faults, deadline = [], time.monotonic() + INSPECTION
    for reference, name in asked.items():
        try:
            answer = ray.get(reference, timeout=max(1.0, deadline - time.monotonic()))
            faults += [f"--address {address}: node {name}: {fault}" for fault in node_faults(answer, directory)]
        except Exception as error:
            faults.append(f"--address {address}: node {name} cannot run the program ({_first_line(error)})")
    if faults:
        raise PlanError(faults)


def inspect_node(directory: Path | None, remote: str | None = None) -> dict[str, Any]:
    """What the calling process finds: our packages, library versions, the run directory, the URL it mirrors."""
    import datasets

    if directory is not None and remote:
        with suppress(OSError):
            directory.mkdir(parents=True, exist_ok=True)
    return {
        "datasets": str(datasets.__file__),
        "ours": Path(datasets.__file__ or "").resolve() == ROOT / "datasets" / "__init__.py",
        "versions": versions(),
        "writable": directory is None or os.access(directory, os.W_OK),
        "unreachable": unwritable(remote) if remote else None,
    }


def versions() -> dict[str, str | None]:
    """Versions of the packages that decide a trial's numbers, None for one that is absent."""
    found: dict[str, str | None] = {}
    for name in SAME:
        try:
            found[name] = version(name).partition("+")[0]  # CPU and CUDA builds count as one version
        except PackageNotFoundError:
            found[name] = None
    return found


def node_faults(answer: dict[str, Any], directory: Path | None) -> Iterator[str]:
    """Why the node that gave this `inspect_node` answer cannot run trials of this process."""
    if not answer["ours"]:
        yield f"`datasets` is {answer['datasets']}, another package; take it out of PYTHONPATH there"
    for name, here in versions().items():
        if (there := answer["versions"][name]) != here:
            yield f"{name} is {there or 'not installed'} there and {here} here; trials are comparable with the same"
    if not answer["writable"]:
        yield f"--out {directory} is no folder that can be written there; give one that all nodes share"
    if answer["unreachable"]:
        yield f"--out {answer['unreachable']}"


def _first_line(error: BaseException) -> str:
    error = getattr(error, "cause", None) or error  # the error that a task raised, without its traceback
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip()[:300]}" if lines else type(error).__name__
