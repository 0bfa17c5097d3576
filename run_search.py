"""The command line. A command imports what it needs when it runs, so that `list`, `status` and `report` start fast."""

# ruff: noqa: E402
import _signal  # type: ignore[import-not-found]  # which, unlike `signal`, imports nothing itself
import os

if __name__ == "__main__":
    _signal.signal(_signal.SIGINT, lambda number, frame: os._exit(130))  # while the program is imported

import atexit
import errno
import gc
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
if str(ROOT) not in sys.path:  # as with PYTHONSAFEPATH
    sys.path.insert(0, str(ROOT))

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from analysis.records.run_directory import RunDirectory
from core.activity import doing
from core.errors import FaultError, PlanError
from core.text import shown
from core.value_words import cut, shortened
from engine.cli.display import Display, console
from engine.cli.interrupts import (
    DONE,
    FAILED,
    REFUSED,
    in_foreground,
    interrupted,
    interruptible,
    leave_at_once,
)
from engine.cli.locations import at_work, directory_of, existing, local, runs_in
from engine.cli.one_trial import export, predict, rerun
from engine.cli.options import (
    COUNT,
    FROM_1,
    MUCH,
    WHAT,
    GroupedCommand,
    code_option,
    csv_option,
    data_options,
    given_options,
    incumbent_option,
    lines_told,
    option,
    out_option,
    parsed_options,
    place_options,
    resource_options,
    set_option,
    study_named,
    study_options,
    tracker_options,
    trust_option,
)
from engine.cli.output import echo
from engine.cli.trust import ARGUMENTS, consented
from engine.execution.ray_watchdog import INTERRUPTED

if TYPE_CHECKING:
    import pandas as pd

    from analysis.records.run_records import Records
    from engine.planning.run_options import Options
    from search_spaces.study import AnyStudy

MOST_DAMAGE = 3  # lines about damage that `compare` prints
MISPLACED = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)
"""what the system says of a path where something else stands, or which this user may not touch"""
LONGEST = 300  # characters of such a path that are told
VERSION = "0.1.0"  # as in setup.cfg

MOST_LINES = 1000  # faults that are printed

# With Python's default of 700, the half million objects of torch's and Ray's imports are scanned again and again.
gc.set_threshold(100_000)


class Program(click.Group):
    """Prints every fault of a FaultError on a line of standard error, and exits with status 2; 130 after Ctrl-C."""

    command_class = GroupedCommand

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they stand below."""
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        _check_packages()
        try:
            with interruptible(), Display():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            echo(interrupted(), err=True)
            ctx.exit(INTERRUPTED)
        except click.ClickException as error:
            told = error.format_message
            error.format_message = lambda: shown(shortened(told()))  # type: ignore[method-assign]
            raise
        except FaultError as error:
            faults = error.faults
        except OSError as error:
            if error.errno not in MISPLACED or error.filename is None:
                raise
            faults = [f"{cut(str(error.filename), LONGEST)}: {error.strerror}"]
        for fault in faults[:MOST_LINES]:
            echo(f"error: {shortened(fault)}", err=True)
        if len(faults) > MOST_LINES:
            echo(f"error: and {len(faults) - MOST_LINES:,} more", err=True)
        ctx.exit(REFUSED)


def _check_packages() -> None:
    """Exit with an error if `datasets` is Hugging Face's package of that name instead of ours."""
    import datasets

    found = Path(datasets.__file__ or "").resolve()
    if found != ROOT / "datasets" / "__init__.py":
        wrong = f"`datasets` is {found}, another package; it must be {ROOT / 'datasets'}"
        echo(f"error: {wrong}: start run_search.py itself and take the other out of PYTHONPATH", err=True)
        sys.exit(REFUSED)


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="A STUDY is a name of `list` or a .yaml file, a RUN_DIR the folder or URL that `run` wrote. Every setting "
    "that --set takes is listed by `settings [KIND]` and in docs/settings.md. Each command has --help.",
)
@click.version_option(VERSION, prog_name="vision-ablation")
def main() -> None:
    """Hyperparameter searches and ablations of vision models, on one laptop or a Ray cluster."""


@main.command("list")
@click.argument("what", type=click.Choice(["studies", "workloads", "datasets"]), default="studies")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def list_command(what: str, as_json: bool) -> None:
    """List what there is to run."""
    from engine.cli.listing import catalogue

    rows = catalogue(what)
    if as_json:
        echo(json.dumps(rows, ensure_ascii=False))
        return
    _print_columns([tuple(row.values()) for row in rows])


def _print_columns(rows: Sequence[Sequence[str]], numbers: bool = False) -> None:
    """Rows of text below each other; `numbers`: all but the first column stand to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{text:{'>' if numbers and i else '<'}{widths[i]}}" for i, text in enumerate(row))
        echo("  ".join(cells).rstrip())


@main.command("settings")
@click.argument("kind", required=False)
def settings_command(kind: str | None) -> None:
    """List every setting, or those of a KIND, and what each does."""
    from engine.cli.settings import settings_text

    echo(settings_text(kind), nl=False)


@main.command("new")
@click.argument("file", type=click.Path(path_type=Path))
@option(WHAT, "--workload", required=True, metavar="NAME", help="Data set and network: a name of `list workloads`.")
@option(
    WHAT,
    "--design",
    default="one_at_a_time",
    metavar="NAME",
    help="Design of its factors, or search (default: one_at_a_time).",
)
def new_command(file: Path, workload: str, design: str) -> None:
    """Write FILE.yaml, a study to start from, with all fields.

    It runs as it is; change it, and `plan` says what is wrong with it.
    """
    with doing(f"looking up the workload {workload}"):
        from engine.cli.new_study import write_study

        echo(f"written: {write_study(file, workload, design)}")


@main.command("layers")
@click.argument("model")
@click.option("--image-size", type=click.IntRange(1), help="Side of the pictures (default: a usual one that fits).")
@click.option("--classes", type=click.IntRange(1), help="How many classes (default: 10; of a library, its own number).")
@set_option
def layers_command(model: str, image_size: int | None, classes: int | None, **raw: Any) -> None:
    """List a MODEL's layers: names, outputs, parameters, multiply-adds.

    The names are those that bn_after and dropout_after take. A MODEL is a name of `settings model`, torchvision:NAME or
    timm:NAME. The totals are written to standard error.
    """
    from engine.cli.listing import layers

    found = layers(model, parsed_options(raw), image_size, classes)
    _print_columns(found.rows)
    echo(found.total, err=True)


@main.command()
@click.argument("dataset")
@click.option(
    "--write-lists", type=click.Path(path_type=Path), help="faces: write the lists of crops; animals: the CSV."
)
@data_options
def prepare(dataset: str, write_lists: Path | None, **raw: Any) -> None:
    """Check, decode and cache a data set; print its counts."""
    from engine.cli.listing import prepare_dataset, write_dataset_lists

    with doing(f"preparing {dataset}"):
        options = parsed_options(raw)
        table = prepare_dataset(dataset, options)
    _print_columns([table.header, *table.rows], numbers=True)
    for name, value in table.facts:
        echo(f"{name}: {value}")
    if write_lists:
        for file in write_dataset_lists(dataset, options, write_lists.resolve()):
            echo(f"written: {file}")


def _asked(study: str, incumbent: str | None, trust: bool, raw: dict[str, Any]) -> "tuple[AnyStudy, Options]":
    """(the study that a command names, or with `incumbent` the ablation of its winner's settings; the options)."""
    if trust and incumbent is None:
        raise PlanError("--trust: a study of your own needs none; it goes with --incumbent RUN_DIR")
    with doing(f"reading the study {study}"):
        from engine.planning.own_code import with_short_references
        from trainables.extensions import extend

        options = parsed_options(raw)
        extend(options.code)  # which may register the study's design
        asked, options = with_short_references(study_named(study, raw["data_root"]), options)
        if incumbent is None:
            return asked, options
        from engine.search.winner import around

        directory = existing(incumbent, raw["cache_dir"])
        consented(directory, trust)
        return around(asked, options, directory)


@main.command()
@click.argument("study")
@out_option("results/STUDY")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; `study` in it is what a .yaml file holds.")
@study_options
@code_option
@incumbent_option
def plan(study: str, out: str | None, as_json: bool, incumbent: str | None, trust: bool, **raw: Any) -> None:
    """Show what `run` would do: cells, trials, faults, a forecast.

    Nothing is written but decoded data, to the cache.
    """
    asked, options = _asked(study, incumbent, trust, raw)
    directory = directory_of(asked, out, raw["cache_dir"])
    with doing("loading torch"):
        from core.user_code.guard import printed_apart
        from engine.execution.code_proof import assumed_to_go_on
        from engine.execution.launch import planned, refuse_as_run
        from engine.execution.tuner import beyond_machine
        from engine.forecast.plan_text import describe_plan, plan_record

    with lines_told(study, raw), printed_apart():
        made = assumed_to_go_on(planned(asked, options, directory))
    refused = refuse_as_run(made)
    with doing("timing a few steps for the forecast"):
        if not as_json:
            describe_plan(made, console())
            for fault in refused:
                echo(f"`run` would be refused: {fault}")
            for fault in beyond_machine(made):
                echo(f"`run` would be refused on this machine: {fault}")
            return
        record = plan_record(made)
    echo(json.dumps(record, ensure_ascii=False))


@main.command()
@click.argument("study")
@out_option("results/STUDY")
@study_options
@code_option
@incumbent_option
def run(study: str, out: str | None, incumbent: str | None, trust: bool, **raw: Any) -> None:
    """Carry out a study: a name of `list`, or a .yaml file."""
    asked, options = _asked(study, incumbent, trust, raw)
    with lines_told(study, raw):
        _begin(asked, options, directory_of(asked, out, raw["cache_dir"]))


def _begin_early(options: Mapping[str, Any]) -> None:
    """Starts Ray beside the imports and the plan, in a process whose only command this is."""
    if __name__ == "__main__":
        from engine.execution.local_ray import begin_early

        atexit.register(gc.freeze)  # else Python looks for garbage once more before it exits, 1.5 s
        begin_early(options, meanwhile=_import_report)


def _import_report() -> None:
    """Import what the table at the end needs while the first trial's process imports torch."""
    import altair  # noqa: F401

    import analysis.console
    import analysis.report.build  # noqa: F401


def _begin(study: "AnyStudy", options: "Options", directory: Path) -> None:
    def work() -> None:
        with doing("loading torch and Ray"):
            _begin_early(dict(options))
            from engine.execution.launch import start

        start(study, options, directory, sys.argv[1:], console())

    in_foreground(directory, work, _report, new=True)


@main.command()
@click.argument("run_dir", type=click.Path())
@option(MUCH, "--top", **FROM_1, default=3, help="How many of the best configurations (default: 3).")
@option(MUCH, "--seeds", **COUNT, help="Replicates of each, with seeds the search did not use (default: 5).")
@out_option("RUN_DIR-confirm")
@resource_options
@place_options
@csv_option
@trust_option
def confirm(run_dir: str, top: int, out: str | None, trust: bool, **raw: Any) -> None:
    """Run a search's winners again with fresh seeds.

    They are a paired ablation, against the default and each other.
    """
    with doing(f"reading the search {run_dir}"):
        options, source = parsed_options(raw), existing(run_dir, raw["cache_dir"])
        consented(source, trust)
        from core.user_code.references import use
        from engine.search.confirm import confirmation

        asked, options = confirmation(source, top, options)
        use(options.folders)
    address = RunDirectory(source).remote or str(source)
    _begin(asked, options, directory_of(asked, out or f"{address.rstrip('/')}-confirm", raw["cache_dir"]))


@main.command()
@click.argument("run_dir", type=click.Path())
@study_options
@trust_option
def resume(run_dir: str, trust: bool, **raw: Any) -> None:
    """Go on with a run; --seeds, --samples, --levels extend it."""
    with doing(f"reading the run {run_dir}"):
        directory, _ = existing(run_dir, raw["cache_dir"]), parsed_options(raw)
        consented(directory, trust, given_options(raw))

    def work() -> None:
        with doing("loading torch and Ray"):
            from engine.runlog.study_file import read_request, unfinished

            run, record = read_request(directory)
            if given_options(raw) or unfinished(run, record):
                _begin_early({**record["request"]["options"], **given_options(raw)})
            from engine.execution.launch import go_on

        go_on(directory, given_options(raw), sys.argv[1:], console())

    in_foreground(directory, work, _report)


def _report(directory: Path) -> int:
    records = _written(directory)
    return FAILED if records.findings or records.lost or not records.of_status("failed").empty else DONE


def _written(directory: Path, csv_safe: bool | None = None) -> "Records":
    """Print a run's tables, first the one that answers its question, and write its report; say what is broken.

    `csv_safe`: None as the run's option says.
    """
    with doing("writing the report"):
        from analysis.console import console_table, damage, losses
        from analysis.report.build import contents_of, make_report
        from analysis.tables.ranking import settings_of_cells
        from analysis.tables.spec import TABLES

        if RunDirectory(directory).remote:
            from engine.integrations.remote_sync import fetch_outputs

            fetch_outputs(directory)
        contents = contents_of(directory)
        first, table = contents.first_table
        settings = settings_of_cells(table) if first == "ranking" and contents.records.is_search else ()
        console().print(console_table(first, table, settings))

        def tell(tables: "Mapping[str, pd.DataFrame]") -> None:
            for name in (name for name, spec in TABLES.items() if spec.make and name in tables):
                console().print(console_table(name, tables[name]))

        made = make_report(contents, tell, csv_safe=csv_safe)
    echo(f"report: {made.index}")
    for name, why in made.undrawn.items():
        echo(f"figure {name}: could not be drawn: {why}", err=True)
    if failed := len(made.records.of_status("failed")):
        echo(f"{failed} trials failed; `resume {RunDirectory(directory).address}` tries them again", err=True)
    address = RunDirectory(directory).address
    for line in (*damage(made.records, address), *losses(made.records, address)):
        echo(line, err=True)
    return made.records


@main.command()
@click.argument("run_dirs", metavar="RUN_DIR...", type=click.Path(), nargs=-1, required=True)
def status(run_dirs: tuple[str, ...]) -> None:
    """Show how far runs are: trials by state, best, time left.

    A RUN_DIR may be a folder of runs. Works while a run goes on, and says of one that no process runs why it ended.
    """
    from analysis.console import damage, describe
    from analysis.records.store import read_records

    places, whole = [run for place in run_dirs for run in runs_in(place)], True
    for number, place in enumerate(places):
        directory = existing(place, every_link=False)
        records = read_records(directory)
        if len(places) > 1:
            echo(f"{chr(10) * bool(number)}{place}")
        for line in describe(directory, at_work(directory), records):
            echo(line)
        for line in damage(records, RunDirectory(directory).address):
            echo(line, err=True)
            whole = False
    sys.exit(DONE if whole else FAILED)


@main.command()
@click.argument("run_dir", type=click.Path())
@click.option("--serve", is_flag=True, help="Show it to a browser of this machine, until Ctrl-C.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of --serve (default: any that is free).")
@tracker_options
@csv_option
def report(
    run_dir: str, serve: bool, port: int, tensorboard: bool | None, mlflow: str | None, csv_safe: bool | None
) -> None:
    """Write RUN_DIR/report again, and print its tables."""
    directory = existing(run_dir)
    if mlflow:
        parsed_options({"mlflow": mlflow})
    if tensorboard or mlflow:
        from engine.integrations.log_follower import hand_over

        hand_over(RunDirectory(directory), bool(tensorboard), mlflow, lambda text: echo(text, err=True))
    records = _written(directory, csv_safe)
    if RunDirectory(directory).remote:
        from engine.integrations.remote_sync import send_report

        send_report(directory)
    if serve:
        _serve(RunDirectory(directory).report, port)
    sys.exit(FAILED if records.findings else DONE)


def _serve(folder: Path, port: int) -> None:
    from analysis.report.server import server

    try:
        running = server(folder, port)
    except OSError as error:
        raise PlanError(f"--port {port}: cannot be served on ({error.strerror}); 0 takes any that is free") from None
    with running:
        echo(f"serving: http://127.0.0.1:{running.server_address[1]}/ (Ctrl-C ends it)")
        running.serve_forever()


@main.command()
@click.argument("run_dir", type=click.Path())
def check(run_dir: str) -> None:
    """Verify all files of a run; say what is damaged or missing.

    A line a finding, with what it costs; nothing is changed. `resume` makes again what can be. Status 1 where anything
    is damaged or missing.
    """
    from contextlib import nullcontext

    from analysis.records.study_json import read_study
    from analysis.report.check import check as checked
    from analysis.report.check import summary
    from core.files import scratch
    from engine.runlog.signature import SIGNATURE, is_valid

    directory = existing(run_dir)
    address, busy = RunDirectory(directory).address, at_work(directory)
    with doing("checking the files"), scratch() if RunDirectory(directory).remote else nullcontext(directory) as place:
        if place != directory:
            from engine.integrations.remote_sync import copy_of

            copy_of(directory, place)
        found, study = checked(place, busy), read_study(RunDirectory(place))
    for each in found:
        echo(str(each))
    if SIGNATURE in study and not is_valid(study):
        echo("study.json: not signed by this user's key, so it is another user's run, or was changed")
    echo(summary(found, address))
    sys.exit(FAILED if found else DONE)


@main.command()
@click.argument("run_a", type=click.Path())
@click.argument("run_b", type=click.Path())
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the tables as files.")
@csv_option
def compare(run_a: str, run_b: str, out: Path | None, csv_safe: bool | None) -> None:
    """Put two runs side by side: cells, effects, differences."""
    from analysis.console import console_table
    from analysis.report.exports import write_tables
    from analysis.tables.compare import CompareError, compare_runs

    with doing("comparing the runs"):
        comparison = compare_runs(local(run_a), local(run_b))
    for name, run_dir in (("A", run_a), ("B", run_b)):
        echo(f"{name}: {run_dir}")
    for name, table in comparison.tables.items():
        console().print(console_table(name, table))
    for note in comparison.notes:
        echo(note)
    if out:
        try:
            write_tables(comparison.tables, out, bool(csv_safe))
        except OSError as error:
            raise CompareError(f"--out {out}: cannot be written ({error.strerror})") from None
        echo(f"written: {out.resolve()}")
    for line in comparison.damaged[:MOST_DAMAGE]:
        echo(line, err=True)
    sys.exit(FAILED if comparison.damaged else DONE)


for command in (predict, export, rerun):
    main.add_command(command)


if __name__ == "__main__":
    from engine.cli.output import keep_writing

    leave_at_once()
    keep_writing()
    try:
        main()
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            sys.stdout.flush()
            os._exit(INTERRUPTED)  # Python ends slowly after torch, and one more Ctrl-C would change the status
        raise
