"""Ctrl-C ends any command with status 130, at most one line and no traceback, whatever it is doing."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from engine.cli import interrupts
from run_search import main
from tests.analysis import runs
from tests.conftest import ROOT

# Presses Ctrl-C where a module is looked for, or when Python exits.
PROGRAM = """
import atexit, importlib.abc, os, runpy, signal, sys
moment, times = sys.argv.pop(1), int(sys.argv.pop(1))

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == moment:
            for _ in range(times):
                try:
                    os.kill(os.getpid(), signal.SIGINT)
                    for _ in range(1000): pass
                except KeyboardInterrupt:
                    if times == 1:
                        raise

if moment == "exit":
    atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
sys.meta_path.insert(0, Finder())
sys.argv[0] = "run_search.py"
runpy.run_path("run_search.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interrupted") / "run"
    return runs.write(folder, runs.study(cells=["a"], seeds=[0], epochs=runs.EPOCHS), runs.trial("a", 0, 0.5))


@pytest.mark.parametrize(
    ("moment", "times"),
    [
        ("analysis.records.run_directory", 1),  # the program is imported
        ("pandas", 1),  # what the command needs is imported
        ("pandas", 2),
        ("exit", 1),
    ],
)
def test_at_any_moment_of_a_process(moment: str, times: int, run: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, moment, str(times), "status", str(run)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert done.stderr in ("", "interrupted\n")


def press(*_: Any, **__: Any) -> None:
    signal.raise_signal(signal.SIGINT)


def turned_into_another_error(*_: Any, **__: Any) -> None:
    try:
        press()
    except KeyboardInterrupt:
        raise ImportError("cannot import a half-done module") from None


def dropped(*_: Any, **__: Any) -> None:
    class Dies:
        def __del__(self) -> None:
            press()

    Dies()


def called(command: str, callback: Any, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.setattr(main.commands[command], "params", [])
    monkeypatch.setattr(main.commands[command], "callback", callback)
    return CliRunner().invoke(main, [command])


@pytest.mark.parametrize("command", main.commands)
def test_in_every_command(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    done = called(command, press, monkeypatch)
    assert (done.exit_code, done.output) == (130, "interrupted\n")


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("callback", [turned_into_another_error, dropped])
def test_whatever_a_library_makes_of_it(callback: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT), sys.unraisablehook
    done = called("list", callback, monkeypatch)
    assert (done.exit_code, done.output) == (130, "interrupted\n")
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == before


def test_a_second_one_ends_a_command_that_is_still_cleaning_up(monkeypatch: pytest.MonkeyPatch) -> None:
    left = list[int]()
    monkeypatch.setattr(os, "_exit", left.append)

    def clean_up_for_long() -> None:
        try:
            press()
        finally:
            press()

    with pytest.raises(KeyboardInterrupt), interrupts.interruptible():
        clean_up_for_long()
    assert left == [130]


def test_a_page_that_is_served_until_ctrl_c(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("run_search._report", lambda directory: 0)
    monkeypatch.setattr("http.server.HTTPServer.serve_forever", press)
    done = CliRunner().invoke(main, ["report", str(run), "--serve"])
    assert done.exit_code == 130
    assert done.output.endswith("(Ctrl-C ends it)\ninterrupted\n"), done.output
