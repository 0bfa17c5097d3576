"""Shared by all tests: a cache folder of their own, the command line as a subprocess, one Ray for the whole session."""

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.metrics import BUILT_IN, METRICS  # noqa: E402
from core.user_code.references import permit  # noqa: E402

# How long a machine takes to draw an example says nothing of the program.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session", autouse=True)
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Decoded data of this session: neither read from the user's cache folder nor left in it."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["CACHE_DIR"] = str(folder)
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))  # as for the key that signs runs
    return folder


@pytest.fixture(scope="session", autouse=True)
def one_core() -> Iterator[None]:
    """What a report computes and draws in processes of its own, where a core is idle, is done in this process: no core
    is, and each would import its libraries anew. Commands run as processes see the machine as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.aside.cores", lambda: 1)
        patch.setattr("analysis.figures.drawing.cores", lambda: 1)
        yield


@pytest.fixture(scope="session", autouse=True)
def unflushed() -> Iterator[None]:
    """Files that this process writes are not flushed to the disk, which takes milliseconds each and guards against a
    loss of power, which no test has. Commands run as processes flush theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: the garbage collector need not walk it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def undeclared() -> Iterator[None]:
    """Metrics that a test's runs declared are unknown after it, and whatever is named may be imported."""
    yield
    permit(None)
    for name in set(METRICS) - BUILT_IN:
        del METRICS[name]


@pytest.fixture(scope="session")
def cli(cache_dir: Path) -> Cli:
    """`cli("run", "digits/long-tail", …)` from the project's root; `env` adds variables."""

    def call(
        *arguments: object, env: dict[str, str] | None = None, cwd: Path = ROOT
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "run_search.py"), *map(str, arguments)]
        return subprocess.run(
            command, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False
        )

    return call


@pytest.fixture
def cli_here(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The same command line in this process, for commands that start nothing: no import is paid twice, and a forecast
    times nothing."""
    from click.testing import CliRunner

    from run_search import main

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        if "plan" in arguments:
            from tests.engine.fake_probes import FakeProbes

            monkeypatch.setattr("engine.forecast.forecast.Probes", FakeProbes)
        done = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """The session's one Ray, for tests that run studies in this process."""
    from engine.execution.cluster import ray_started

    with ray_started():
        yield


@contextmanager
def empty_figures() -> Iterator[None]:
    from analysis.figures.drawing import Pens

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pens, "start", lambda pens: None)
        patch.setattr(Pens, "draw", lambda pens, jobs: ["<svg/>" for _ in jobs])
        yield


@pytest.fixture
def undrawn() -> Iterator[None]:
    """A report's SVG files are empty, which a test of its tables and its page does not look at."""
    with empty_figures():
        yield
