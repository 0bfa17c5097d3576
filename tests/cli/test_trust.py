"""Commands on a run that is not this user's: refused with the command that trusts it, which then goes on."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

from core.user_code.references import permit, use
from engine.runlog.signature import is_valid
from tests.conftest import ROOT, Cli

COMMANDS = {
    "resume": ["resume", "RUN"],
    "rerun": ["rerun", "RUN", "0bb1026ab112"],
    "predict": ["predict", "RUN", "a picture.png"],
    "export": ["export", "RUN", "--out", "model.pt2"],
    "confirm": ["confirm", "RUN"],
    "plan": ["plan", "digits/search", "--incumbent", "RUN"],
    "run": ["run", "digits/search", "--incumbent", "RUN"],
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A stranger's: its code tells when it is executed."""
    run = tmp_path / "a stranger's run"
    shutil.copytree(ROOT / "tests" / "runs" / "1-code-versions", run)
    record = json.loads((run / "study.json").read_text())
    record["request"]["options"] |= {"code": ["mine.py"], "folders": {"": "/x"}, "address": "10.255.255.1:6379"}
    record["code"] = {"folders": {"": "/x"}, "files": {}}
    (run / "study.json").write_text(json.dumps(record))
    (run / "code").mkdir()
    (run / "code" / "mine.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    return run


def arguments(name: str, run: Path) -> list[str]:
    return [str(run) if each == "RUN" else each for each in COMMANDS[name]]


def errors(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("error: ")]


@pytest.mark.parametrize("name", COMMANDS)
def test_it_is_refused_with_the_command_to_repeat(name: str, run: Path, tmp_path: Path, cli_here: Cli) -> None:
    before = (run / "study.json").read_bytes()
    done = cli_here(*arguments(name, run))
    lines = errors(done.stderr)
    assert (done.returncode, done.stdout, len(lines)) == (2, "", 2)
    assert "would execute or connect to mine.py, Ray at 10.255.255.1:6379" in lines[0]
    repeated = lines[1].split("`")[1]
    assert shlex.split(repeated)[2:] == [name, "--trust", *arguments(name, run)[1:]]
    assert (run / "study.json").read_bytes() == before
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["status", "compare", pytest.param("report", marks=pytest.mark.matrix)])
def test_what_only_reads_asks_nothing_and_executes_nothing(
    name: str, run: Path, tmp_path: Path, cli_here: Cli, undrawn: None
) -> None:
    assert cli_here(name, run, *([run] if name == "compare" else [])).returncode == 0
    assert not (tmp_path / "executed").exists()


def test_repeated_with_trust_it_goes_on_and_is_signed(run: Path, tmp_path: Path, cli_here: Cli) -> None:
    line = errors(cli_here(*arguments("predict", run)).stderr)[-1]
    done = cli_here(*shlex.split(line.split("`")[1])[2:])
    assert "is trusted; it executes or connects to mine.py" in done.stderr
    assert errors(done.stderr) == ["error: a picture.png: no such file or folder"]
    assert (tmp_path / "executed").exists()
    assert is_valid(json.loads((run / "study.json").read_text()))
    permit(None)
    use({})
    again = cli_here(*arguments("predict", run))
    assert errors(again.stderr) == errors(done.stderr)


def test_trust_without_a_run_is_refused(cli_here: Cli) -> None:
    done = cli_here("plan", "digits/long-tail", "--trust")
    assert (done.returncode, "it goes with --incumbent" in done.stderr) == (2, True)


@pytest.mark.parametrize("name", ["resume", pytest.param("rerun", marks=pytest.mark.matrix)])
def test_a_real_command_is_refused_soon(name: str, run: Path, tmp_path: Path, cli: Cli) -> None:
    done = cli(*arguments(name, run))
    assert (done.returncode, len(errors(done.stderr))) == (2, 2)
    assert f"{name} --trust {shlex.quote(str(run))}" in done.stderr
    assert not (tmp_path / "executed").exists()
