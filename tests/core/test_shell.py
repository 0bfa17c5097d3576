"""Commands that are printed can be pasted: a shell and the option parser give back the path, URL, name or value."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from analysis.console import describe
from analysis.records.run_directory import RunDirectory, mirror_folder
from core.errors import PlanError
from core.text import word
from engine.cli.new_study import write_study
from engine.execution import ray_watchdog
from engine.runlog.study_file import check_free
from tests.analysis import runs

NAMES = ("my runs", "it's $HOME; a", "-größer &")
HOSTILE = ("my runs", "it's", 'a "b"', "$HOME", "a;b", "a&b|c", "`id`", "-rf", "--out", "größer 数", "*", "~", "#1", "")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_shell_reads_a_word_as_it_was(text: str) -> None:
    (read,) = shlex.split(word(text))
    assert read == (f"./{text}" if text.startswith("-") else text)
    said = subprocess.run(["sh", "-c", f"printf %s {word(text)}"], capture_output=True, text=True, check=True)
    assert said.stdout == read


def test_plain_words_stay_plain() -> None:
    for text in ("results/digits/long-tail", "/tmp/run-1", "momentum.yaml"):
        assert word(text) == text


def split(text: str, verb: str) -> list[str]:
    """The words of the printed command that begins at `verb`."""
    return shlex.split(text[text.index(f"{verb} ") :].partition("\n")[0].partition("`")[0])


@pytest.mark.parametrize("name", NAMES)
def test_every_printed_command_names_the_run_as_one_word(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, said = tmp_path / name, list[bytes]()
    runs.write(run, runs.study(cells=["a"], seeds=[0, 1], epochs=runs.EPOCHS), runs.trial("a", 0, 0.5))
    with pytest.raises(PlanError) as refused:
        check_free(run)
    monkeypatch.setattr(os, "write", lambda descriptor, text: said.append(text))
    monkeypatch.setattr(os, "_exit", lambda status: None)
    ray_watchdog.leave(run)
    for text in (str(refused.value), describe(run, at_work=False)[-1], said[0].decode()):
        assert split(text, "resume") == ["resume", str(run)]
    url = f"s3://bucket/{name}?a=1&b=2"
    mirror = mirror_folder(url, tmp_path / "cache")
    mirror.mkdir(parents=True)
    (mirror / "remote.url").write_text(url)
    assert split(f"python run_search.py rerun {RunDirectory(mirror).address} 0123", "rerun") == ["rerun", url, "0123"]


@pytest.mark.parametrize("name", NAMES)
def test_a_new_study_says_how_it_is_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = write_study(Path(f"{name}.yaml"), "digits", "one_at_a_time")
    commands = file.read_text(encoding="utf-8").split("python run_search.py ")[1:]
    for verb, command in zip(("plan", "run"), commands, strict=False):  # more commands stand further down
        named = shlex.split(command.splitlines()[0], comments=True)
        assert named[0] == verb
        assert Path(named[1]).resolve() == file.resolve()
        assert not named[1].startswith("-")
