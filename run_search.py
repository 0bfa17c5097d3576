"""The command line. A command imports what it needs when it runs, so that `list`, `status` and `report` start fast."""

import gc
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analysis.records.run_directory import RunDirectory
from core.errors import FaultError
from engine.cli.interrupts import in_foreground
from engine.cli.locations import directory_of, existing, local
from engine.cli.options import (
    data_options,
    given_options,
    incumbent_option,
    parsed_options,
    place_options,
    resource_options,
    set_option,
    study_named,
    study_options,
    tracker_options,
)

if TYPE_CHECKING:
    from rich.console import Console

    from engine.planning.run_options import Options
    from search_spaces.study import AnyStudy

ROOT = Path(__file__).resolve().parent
DONE, FAILED, REFUSED = 0, 1, 2  # and engine.execution.ray_watchdog.INTERRUPTED

# With Python's default of 700, the half million objects of torch's and Ray's imports are scanned again and again.
gc.set_threshold(100_000)


class Program(click.Group):
    """Prints every fault of a FaultError on a line of standard error, and exits with status 2."""

    def invoke(self, ctx: click.Context) -> Any:
        _check_packages()
        try:
            return super().invoke(ctx)
        except FaultError as error:
            for fault in error.faults:
                click.echo(f"error: {fault}", err=True)
            ctx.exit(REFUSED)


def _check_packages() -> None:
    """Exit with an error if `datasets` is Hugging Face's package of that name instead of ours."""
    import datasets

    found = Path(datasets.__file__ or "").resolve()
    if found != ROOT / "datasets" / "__init__.py":
        message = (
            f"error: `datasets` is {found}, another package; it must be {ROOT / 'datasets'}: start run_search.py itself"
        )
        click.echo(f"{message} and take the other out of PYTHONPATH", err=True)
        sys.exit(REFUSED)


def _console() -> "Console":
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 110)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Hyperparameter searches and ablations of vision models, on one laptop or a Ray cluster."""


@main.command("list")
@click.argument("what", type=click.Choice(["studies", "workloads", "datasets"]), default="studies")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def list_command(what: str, as_json: bool) -> None:
    """What there is to run."""
    from engine.cli.listing import catalogue

    rows = catalogue(what)
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    widths = {key: max(len(row[key]) for row in rows) for key in rows[0]}
    for row in rows:
        click.echo("  ".join(row[key].ljust(width) for key, width in widths.items()).rstrip())


@main.command("settings")
@click.argument("kind", required=False)
def settings_command(kind: str | None) -> None:
    """Every setting: its type, default, what is allowed, what it does; of one KIND, or of all."""
    from engine.cli.settings import settings_text

    click.echo(settings_text(kind), nl=False)


@main.command("layers")
@click.argument("model")
@click.option("--image-size", type=click.IntRange(1), help="Side of the pictures (default: a usual one that fits).")
@click.option("--classes", type=click.IntRange(1), default=10, help="How many classes (default 10).")
@set_option
def layers_command(model: str, image_size: int | None, classes: int, **raw: Any) -> None:
    """The layers of a MODEL: the names that bn_after and dropout_after take, output shapes, parameters."""
    from engine.cli.listing import layers

    rows = layers(model, parsed_options(raw), image_size, classes)
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


@main.command()
@click.argument("dataset")
@click.option(
    "--write-lists", type=click.Path(path_type=Path), help="faces: write the lists of crops; animals: the CSV."
)
@data_options
def prepare(dataset: str, write_lists: Path | None, **raw: Any) -> None:
    """Decode, validate, audit and cache a data set; counts per class and split."""
    from engine.cli.listing import prepare_dataset, write_dataset_lists

    options = parsed_options(raw)
    table = prepare_dataset(dataset, options)
    widths = [max(len(row[i]) for row in (table.header, *table.rows)) for i in range(len(table.header))]
    for first, *counts in (table.header, *table.rows):
        click.echo("  ".join([first.ljust(widths[0]), *(n.rjust(w) for n, w in zip(counts, widths[1:], strict=True))]))
    for name, value in table.facts:
        click.echo(f"{name}: {value}")
    if write_lists:
        for file in write_dataset_lists(dataset, options, write_lists.resolve()):
            click.echo(f"written: {file}")


def _asked(study: str, incumbent: str | None, raw: dict[str, Any]) -> "tuple[AnyStudy, Options]":
    """(the study that a command names, or with `incumbent` the ablation of its winner's settings; the options)."""
    asked, options = study_named(study), parsed_options(raw)
    if incumbent is None:
        return asked, options
    from engine.search.winner import around

    return around(asked, options, existing(incumbent, raw["cache_dir"]))


@main.command()
@click.argument("study")
@click.option("--out", type=click.Path(), help="Run directory, or its URL (default results/STUDY).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; `study` in it is what a .yaml file holds.")
@incumbent_option
@study_options
def plan(study: str, out: str | None, as_json: bool, incumbent: str | None, **raw: Any) -> None:
    """Every cell and trial, what is finished, which cells cannot run and why, a forecast."""
    asked, options = _asked(study, incumbent, raw)
    from engine.execution.code_proof import assumed_to_go_on
    from engine.execution.forecast import describe_plan, plan_record
    from engine.planning.plan import make_plan

    made = assumed_to_go_on(make_plan(asked, options, directory_of(asked, out, raw["cache_dir"])))
    if as_json:
        click.echo(json.dumps(plan_record(made), ensure_ascii=False))
    else:
        describe_plan(made, _console())


@main.command()
@click.argument("study")
@click.option("--out", type=click.Path(), help="Run directory, or its URL (default results/STUDY).")
@incumbent_option
@study_options
def run(study: str, out: str | None, incumbent: str | None, **raw: Any) -> None:
    """Carry a study out: a name of `list`, or a .yaml file."""
    asked, options = _asked(study, incumbent, raw)
    _begin(asked, options, directory_of(asked, out, raw["cache_dir"]))


def _begin(study: "AnyStudy", options: "Options", directory: Path) -> None:
    def work() -> None:
        from engine.execution.launch import start

        start(study, options, directory, sys.argv[1:], _console())

    in_foreground(directory, work, _report, new=True)


@main.command()
@click.argument("run_dir", type=click.Path())
@click.option("--top", type=click.IntRange(1), default=3, help="How many of the best configurations (default 3).")
@click.option("--seeds", type=int, help="Replicates of each, with seeds that the search did not use (default 5).")
@click.option("--out", type=click.Path(), help="Run directory, or its URL (default RUN_DIR-confirm).")
@resource_options
@place_options
def confirm(run_dir: str, top: int, out: str | None, **raw: Any) -> None:
    """Run a search's winners again with fresh seeds, as a paired ablation against the default and each other."""
    options, source = parsed_options(raw), existing(run_dir, raw["cache_dir"])
    from engine.search.confirm import confirmation

    asked, options = confirmation(source, top, options)
    address = RunDirectory(source).remote or str(source)
    _begin(asked, options, directory_of(asked, out or f"{address.rstrip('/')}-confirm", raw["cache_dir"]))


@main.command()
@click.argument("run_dir", type=click.Path())
@study_options
def resume(run_dir: str, **raw: Any) -> None:
    """Go on with a run; more --seeds, --samples or --levels extend it."""
    directory, _ = existing(run_dir, raw["cache_dir"]), parsed_options(raw)

    def work() -> None:
        from engine.execution.launch import go_on

        go_on(directory, given_options(raw), sys.argv[1:], _console())

    in_foreground(directory, work, _report)


def _report(directory: Path) -> int:
    from analysis.console import console_table
    from analysis.report.build import make_report
    from analysis.tables.spec import TABLES

    if RunDirectory(directory).remote:
        from engine.integrations.remote_sync import fetch_outputs

        fetch_outputs(directory)
    made = make_report(directory)
    first = "ablation" if "ablation" in made.tables else "ranking"
    for name in (first, *(name for name, spec in TABLES.items() if spec.make and name in made.tables)):
        _console().print(console_table(name, made.tables[name]))
    click.echo(f"report: {made.index}")
    failed = int((made.records.trials["status"] == "failed").sum())
    if failed:
        click.echo(f"{failed} trials failed; `resume {RunDirectory(directory).address}` tries them again", err=True)
    return FAILED if failed else DONE


@main.command()
@click.argument("run_dir", type=click.Path())
def status(run_dir: str) -> None:
    """Trials by state, best so far, time left; also while it runs."""
    from analysis.console import describe

    for line in describe(existing(run_dir)):
        click.echo(line)


@main.command()
@click.argument("run_dir", type=click.Path())
@click.option("--serve", is_flag=True, help="Show it to a browser of this machine, until Ctrl-C.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of --serve (default: any that is free).")
@tracker_options
def report(run_dir: str, serve: bool, port: int, tensorboard: bool | None, mlflow: str | None) -> None:
    """(Re)write RUN_DIR/report from the records alone, and print its first table."""
    directory = existing(run_dir)
    if tensorboard or mlflow:
        from engine.integrations.log_follower import hand_over

        hand_over(RunDirectory(directory), bool(tensorboard), mlflow, lambda text: click.echo(text, err=True))
    _report(directory)
    if RunDirectory(directory).remote:
        from engine.integrations.remote_sync import send_report

        send_report(directory)
    if serve:
        _serve(RunDirectory(directory).report, port)


def _serve(folder: Path, port: int) -> None:
    from analysis.report.server import server
    from core.errors import PlanError

    try:
        running = server(folder, port)
    except OSError as error:
        raise PlanError([f"--port {port}: cannot be served on ({error.strerror}); 0 takes any that is free"]) from None
    with running, suppress(KeyboardInterrupt):
        click.echo(f"serving: http://127.0.0.1:{running.server_address[1]}/ (Ctrl-C ends it)")
        running.serve_forever()


@main.command()
@click.argument("run_a", type=click.Path())
@click.argument("run_b", type=click.Path())
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the tables as files.")
def compare(run_a: str, run_b: str, out: Path | None) -> None:
    """Two runs side by side: cells, effects, and what differs between the runs."""
    from analysis.console import console_table
    from analysis.report.exports import write_tables
    from analysis.tables.compare import CompareError, compare_runs

    comparison = compare_runs(local(run_a), local(run_b))
    for name, run_dir in (("A", run_a), ("B", run_b)):
        click.echo(f"{name}: {run_dir}")
    for name, table in comparison.tables.items():
        _console().print(console_table(name, table))
    for note in comparison.notes:
        click.echo(note)
    if out:
        try:
            write_tables(comparison.tables, out)
        except OSError as error:
            raise CompareError([f"--out {out}: cannot be written ({error.strerror})"]) from None
        click.echo(f"written: {out.resolve()}")


def _model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of the commands that use a trial's selected model."""
    trial = click.option("--trial", help="Key of a trial (default: the first finished one of the best cell).")
    return trial(place_options(command))


@main.command()
@click.argument("run_dir", type=click.Path())
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="CSV file (default: standard output).")
@click.option("--draw", type=click.Path(path_type=Path, file_okay=False), help="Folder for pictures with predictions.")
@_model_options
def predict(
    run_dir: str, images: tuple[str, ...], out: Path | None, draw: Path | None, trial: str | None, **places: str | None
) -> None:
    """Classes, scores and landmarks of pictures, by a trial's selected model.

    An IMAGE is a file, a folder (the pictures in and below it), a quoted pattern, or PHOTO@x1,y1,x2,y2 for a face's box
    in a photo; landmarks are in pixels of the photo.
    """
    directory = existing(run_dir, places["cache_dir"])
    from engine.inference.predict import predict_all
    from engine.inference.trained_model import Loader, best_trial

    for line in predict_all(Loader(directory, places), trial or best_trial(directory), images, out, draw):
        click.echo(line, err=out is None)


@main.command()
@click.argument("run_dir", type=click.Path())
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="FILE.pt2 or FILE.onnx.")
@_model_options
def export(run_dir: str, out: Path, trial: str | None, **places: str | None) -> None:
    """A trial's selected model as one file for other programs, checked, with a model card beside it."""
    directory = existing(run_dir, places["cache_dir"])
    from engine.inference.export import export as write_model
    from engine.inference.model_card import write_card
    from engine.inference.trained_model import Loader, best_trial

    trained, check = write_model(Loader(directory, places), trial or best_trial(directory), out)
    click.echo(
        f"{out}: trial {trained.trial}, equal to the model on {check.pictures} test pictures within "
        f"{check.absolute:.2g} ({check.relative:.2g} of the greatest output)"
    )
    click.echo(f"model card: {write_card(trained, check, out)}")


@main.command()
@click.argument("run_dir", type=click.Path())
@click.argument("trial")
def rerun(run_dir: str, trial: str) -> None:
    """Train one trial alone, without Ray, and hold its numbers against the record."""
    from engine.execution.progress import epoch_line
    from engine.execution.replay import rerun as train_again

    key, how, differences = train_again(existing(run_dir), trial, lambda row: click.echo(epoch_line(row)))
    for difference in differences:
        click.echo(difference, err=True)
    click.echo(f"trial {key}: {'NOT ' if differences else ''}equal to its record, {how}")
    sys.exit(FAILED if differences else DONE)


if __name__ == "__main__":
    main()
