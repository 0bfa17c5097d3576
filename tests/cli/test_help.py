"""`--help` lists the options of a command in groups, the most used first, with their defaults."""

import configparser
import re

import click
import pytest

from engine.cli.options import GROUPS, OTHER
from run_search import main
from tests.conftest import ROOT, Cli


def sections(text: str) -> dict[str, list[str]]:
    """The options under each title of a help text, in order."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if title := re.fullmatch(r"(\S.*):", line):
            found[title[1]] = []
        elif (option := re.match(r"  (--?[\w-]+)", line)) and found:
            found[list(found)[-1]].append(option[1])
    return found


@pytest.mark.parametrize("command", ["plan", "run", "resume"])
def test_the_options_of_a_run_stand_in_groups(command: str, cli_here: Cli) -> None:
    found = sections(cli_here(command, "--help").stdout)
    assert list(found) == list(GROUPS)
    assert found["How much"][:3] == ["--seeds", "--epochs", "--samples"]
    assert found["What to run"][0] == "--set"
    assert found["Where"][0] == ("--data-root" if command == "resume" else "--out")
    assert found["Resources"][0] == "--gpus-per-trial"
    assert set(found[OTHER]) <= {"--json", "-h"}


@pytest.mark.parametrize("name", list(main.commands))
def test_every_option_of_every_command_is_listed_once_and_explained(name: str, cli_here: Cli) -> None:
    listed = [option for options in sections(cli_here(name, "--help").stdout).values() for option in options]
    options = [each for each in main.commands[name].params if isinstance(each, click.Option)]
    assert sorted(listed) == sorted([*(option.opts[0] for option in options), "-h"])
    assert all(option.help for option in options)


def test_defaults_stand_there(cli_here: Cli) -> None:
    text = " ".join(cli_here("run", "--help").stdout.split())
    for default in ("results/STUDY", "0 = all", "no limit", "default: 1)", "1 if there is one", "off", "the study's"):
        assert default in text


def test_the_commands_have_a_whole_sentence_each_and_settings_are_found(cli_here: Cli) -> None:
    text = cli_here("--help").stdout
    assert "..." not in text.partition("Commands:")[2]
    assert "docs/settings.md" in " ".join(text.split())
    for name in main.commands:
        assert f"\n  {name} " in text


def test_the_version_is_that_of_the_package(cli_here: Cli) -> None:
    package = configparser.ConfigParser()
    package.read(ROOT / "setup.cfg")
    assert cli_here("--version").stdout == f"vision-ablation, version {package['metadata']['version']}\n"
