"""Commands on one trial of a run: predict with its model, export it, train it again."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from core.activity import doing
from engine.cli.interrupts import DONE, FAILED
from engine.cli.locations import existing
from engine.cli.options import GroupedCommand, place_options, trust_option
from engine.cli.output import echo
from engine.cli.trust import consented


def _follow(directory: Path, trusts: bool) -> None:
    """Ask for consent, and say whose code is executed."""
    from engine.planning.own_code import whose_code
    from engine.runlog.study_file import read_request

    consented(directory, trusts)
    for line in whose_code(*read_request(directory)):
        echo(line, err=True)


def _model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of the commands that use a trial's selected model."""
    trial = click.option("--trial", help="Key of a trial (default: the first finished one of the best cell).")
    return trial(place_options(trust_option(command)))


@click.command(cls=GroupedCommand)
@click.argument("run_dir", type=click.Path())
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="CSV file (default: standard output).")
@click.option("--draw", type=click.Path(path_type=Path, file_okay=False), help="Folder for pictures with predictions.")
@_model_options
def predict(
    run_dir: str,
    images: tuple[str, ...],
    out: Path | None,
    draw: Path | None,
    trial: str | None,
    trust: bool,
    **places: str | None,
) -> None:
    """Predict classes, scores and landmarks of pictures.

    An IMAGE is a file, a folder (the pictures in and below it), a quoted pattern, or PHOTO@x1,y1,x2,y2 for a face's box
    in a photo; landmarks are in pixels of the photo.
    """
    with doing(f"loading torch and the model of {run_dir}"):
        directory = existing(run_dir, places["cache_dir"])
        _follow(directory, trust)
        from engine.inference.predict import predict_all
        from engine.inference.trained_model import Loader, best_trial

    for line in predict_all(Loader(directory, places), trial or best_trial(directory), images, out, draw):
        echo(line, err=out is None)


@click.command(cls=GroupedCommand)
@click.argument("run_dir", type=click.Path())
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="FILE.pt2 or FILE.onnx.")
@_model_options
def export(run_dir: str, out: Path, trial: str | None, trust: bool, **places: str | None) -> None:
    """Write a trial's model as one file for other programs.

    It is checked against the model, and a model card stands beside it.
    """
    with doing(f"exporting a model of {run_dir}"):
        directory = existing(run_dir, places["cache_dir"])
        _follow(directory, trust)
        from engine.inference.export import export as write_model
        from engine.inference.model_card import write_card
        from engine.inference.trained_model import Loader, best_trial

        trained, check = write_model(Loader(directory, places), trial or best_trial(directory), out)
    echo(
        f"{out}: trial {trained.trial}, equal to the model on {check.pictures} test pictures within "
        f"{check.absolute:.2g} ({check.relative:.2g} of the greatest output)"
    )
    echo(f"model card: {write_card(trained, check, out)}")


@click.command(cls=GroupedCommand)
@click.argument("run_dir", type=click.Path())
@click.argument("trial")
@trust_option
def rerun(run_dir: str, trial: str, trust: bool) -> None:
    """Train one trial again, alone, and compare its numbers."""
    directory = existing(run_dir)
    _follow(directory, trust)
    with doing(f"loading torch and trial {trial}"):
        from analysis.records.epoch_rows import epoch_line
        from engine.execution.replay import rerun as train_again

    key, how, differences = train_again(directory, trial, lambda row: echo(epoch_line(row)))
    for difference in differences:
        echo(difference, err=True)
    echo(f"trial {key}: {'NOT ' if differences else ''}equal to its record, {how}")
    sys.exit(FAILED if differences else DONE)
