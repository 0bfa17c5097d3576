"""What the program prints never ends it: closed pipes, terminals that lack a character, full disks behind `>`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from engine.cli.output import plain
from tests.conftest import ROOT

CHATTY = (("--help",), ("run", "--help"), ("list",), ("settings",), ("list", "--json"))


def call(
    *arguments: str, env: dict[str, str] | None = None, stdout: int | None = None, code: str | None = None
) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-c", code] if code else [sys.executable, "run_search.py"]
    return subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE,
        check=False,
    )


@pytest.fixture
def closed_pipe() -> int:
    """The writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("arguments", CHATTY)
def test_a_command_ends_quietly_on_a_closed_pipe(arguments: tuple[str, ...], closed_pipe: int) -> None:
    done = call(*arguments, stdout=closed_pipe)
    os.close(closed_pipe)
    assert done.returncode == 0
    assert done.stderr == b""


def test_a_plan_ends_quietly_on_a_closed_pipe(closed_pipe: int, cache_dir: Path) -> None:
    done = call("plan", "digits/long-tail", "--seeds", "1", "--epochs", "1", stdout=closed_pipe)
    os.close(closed_pipe)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert b"Broken pipe" not in done.stderr


def test_a_refusal_into_a_closed_pipe_has_its_own_status(closed_pipe: int) -> None:
    command = [sys.executable, "run_search.py", "status", "nowhere"]
    done = subprocess.run(command, cwd=ROOT, stdout=closed_pipe, stderr=closed_pipe, check=False)
    os.close(closed_pipe)
    assert done.returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_the_output_is_nothing_to_a_command() -> None:
    with Path("/dev/full").open("wb") as full:
        done = call("list", stdout=full.fileno())
    assert done.returncode == 0
    assert done.stderr == b""


def test_with_both_outputs_closed_no_file_gets_what_is_printed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    code = (
        f"from engine.cli.output import keep_writing; keep_writing(); file = open({str(file)!r}, 'w'); import os; "
        "os.write(1, b'a library prints'); print('we print'); file.write('ours'); file.close()"
    )
    done = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" >&- 2>&-', sys.executable, code], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0
    assert file.read_text() == "ours"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
def test_a_terminal_of_any_encoding_shows_everything_it_can(encoding: str) -> None:
    code = "from engine.cli.output import keep_writing; keep_writing(); import click; click.echo('−0.5 ± 0.1 é 漢')"
    done = call(code=code, env={"PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    shown = {"ascii": "-0.5 +/- 0.1 ? ?", "latin-1": "-0.5 ± 0.1 é ?", "cp1252": "-0.5 ± 0.1 é ?"}
    assert done.stdout.decode(encoding).strip() == shown.get(encoding, "−0.5 ± 0.1 é 漢")


@pytest.mark.parametrize("env", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
@pytest.mark.parametrize("arguments", [("list",), ("settings",), ("run", "--help")])
def test_commands_run_in_ascii(arguments: tuple[str, ...], env: dict[str, str]) -> None:
    done = call(*arguments, env={**env, "PYTHONCOERCECLOCALE": "0"})
    assert done.returncode == 0, done.stderr
    done.stdout.decode("ascii")


def test_signs_of_numbers_keep_their_meaning_in_ascii() -> None:
    error = UnicodeEncodeError("ascii", "a −×≤≥±→… b", 2, 9, "")
    assert plain(error) == ("-x<=>=+/-->...", 9)


@pytest.mark.parametrize("encoding", ["ascii", pytest.param("latin-1", marks=pytest.mark.matrix)])
def test_a_run_whose_output_nobody_takes_goes_on_to_its_report(
    encoding: str, closed_pipe: int, tmp_path: Path, cache_dir: Path
) -> None:
    run = tmp_path / "run"
    code = (
        "import engine.execution.launch; from contextlib import nullcontext; from run_search import main; "
        "from engine.cli.output import keep_writing; from tests.engine.sequential import Drive; "
        "keep_writing(); engine.execution.launch.carry_out = Drive().carry_out; "
        "engine.execution.launch.ray_started = lambda *_: nullcontext(); "
        f"main(['run', 'digits/long-tail', '--seeds', '2', '--epochs', '1', '--out', {str(run)!r}])"
    )
    done = call(code=code, env={"PYTHONIOENCODING": encoding}, stdout=closed_pipe)
    os.close(closed_pipe)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert (pd.read_parquet(run / "trials.parquet")["status"] == "finished").all()
    assert (run / "report" / "index.html").exists()


def test_json_stands_alone_on_standard_output(cache_dir: Path) -> None:
    done = call("plan", "digits/long-tail", "--seeds", "1", "--epochs", "1", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["study"]["name"] == "digits/long-tail"
    assert b"timing a few steps" in done.stderr
