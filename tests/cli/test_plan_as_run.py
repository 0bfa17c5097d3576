"""`plan` refuses what `run` refuses before its first trial, in the same words; neither shows a secret."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from tests.analysis import runs
from tests.conftest import Cli

STUDY = "digits/long-tail"
# Each is refused by both with status 2 and one fault.
COMMANDS = [
    "--mlflow http://me:hush@127.0.0.1:9",
    "--mlflow http://127.0.0.1:9?token=hush",
    pytest.param("--mlflow http://127.0.0.1:9", marks=pytest.mark.matrix),  # MLflow asks three times
    "--mlflow nonsense://x",
    "--out s3://bucket/run?secret_key=hush",
    "--out s4://bucket/run",
    "--out file/run",
    "--out 'a\tb'",
    "--out 'a\u202eb'",
    "--reuse-from s3://me:hush@bucket/run",
    "--set dataset.path=s3://me:hush@bucket/x",
    "--set s3://me:hush@bucket/x",
    "--hush http://me:hush@bucket/x",
    "--address nowhere",
    "--address me:hush@127.0.0.1:9",
    "--address 127.0.0.1:9",
    "--disk-budget 1kB",
    "--time-budget soon",
    "--keep all",
    "--enqueue http://me:hush@h/x",
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    if ray := sys.modules.get("ray"):
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
    (tmp_path / "file").touch()
    return tmp_path


@pytest.mark.parametrize("options", COMMANDS)
def test_plan_and_run_refuse_in_the_same_words(options: str, folder: Path, cli_here: Cli) -> None:
    said = []
    for command in ("plan", "run"):
        done = cli_here(command, STUDY, *shlex.split(options))
        assert done.returncode == 2, done.stdout + done.stderr
        assert "hush" not in (done.stdout + done.stderr).replace("--hush", "")
        said.append([line for line in done.stderr.splitlines() if line.lower().startswith("error: ")])
    assert said[0] == said[1]
    assert len(said[0]) == 1
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_a_plan_of_a_run_that_there_is_says_in_which_words_run_refuses(folder: Path, cli_here: Cli) -> None:
    (folder / "begun").mkdir()
    made = runs.study() | {"request": {"study": {}, "options": {}}}
    (folder / "begun" / "study.json").write_text(json.dumps(made))
    refused = cli_here("run", STUDY, "--out", "begun").stderr.splitlines()[-1].removeprefix("error: ")
    assert "holds a run already" in refused
    done = cli_here("plan", STUDY, "--out", "begun")
    assert (done.returncode, f"`run` would be refused: {refused}" in done.stdout) == (0, True)


def test_a_report_s_csv_is_safe_where_the_run_or_the_command_asks_for_it(
    folder: Path, cli_here: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.report.contents.report_figures", lambda *_: ([], []))
    cells = {"baseline": [0.1, 0.2, 0.3], "loss==1+1": [0.2, 0.3, 0.5]}
    study = runs.study(cells, comparisons=[runs.comparison("loss", "=1+1", "ce", "loss==1+1", "baseline")])
    for given, asked, first in (((), True, "'"), (("--csv-plain",), True, ""), (("--csv-safe",), False, "'")):
        run = runs.write_outcomes(
            folder / "run", study | {"request": {"study": {}, "options": {"csv_safe": asked}}}, cells
        )
        assert cli_here("report", run, *given).returncode == 0
        assert (run / "report" / "ablation.csv").read_text().splitlines()[1].startswith(f"loss,{first}=1+1,ce,")
