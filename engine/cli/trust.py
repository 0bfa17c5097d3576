"""Asks for consent before a command follows the record of a run that is not this user's, by status 2 and --trust."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

ARGUMENTS = f"{__name__}.arguments"
"""where click's context holds the command line as it was given"""


def consented(directory: Path, trusts: bool, given: Mapping[str, Any] | None = None) -> None:
    """Goes on if the run in `directory` may be followed, with a line a thing to know; else PlanError, with the command
    that says --trust. `given`: of a command that connects, its options."""
    from engine.planning.consent import is_strangers, needs_consent, read_elsewhere, refuse_strangers, trust
    from engine.runlog.study_file import read_request

    run, record = read_request(directory)
    if trusts and needs_consent(run, record):
        click.echo(trust(run, record), err=True)
    refuse_strangers(run, record, given, _again())
    if is_strangers(record):
        for line in read_elsewhere(record):
            click.echo(f"{run.root} is not signed as a run of yours; {line}", err=True)


def _again() -> str:
    """This command with --trust, for a shell."""
    from engine.runlog.study_file import program

    name, *others = click.get_current_context().meta[ARGUMENTS]
    return f"`{program()} {shlex.join([name, '--trust', *others])}`"
