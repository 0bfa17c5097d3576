"""The command line's options, as click declares them, and their conversion to `Options`.

The program's modules are imported where they are needed, so that a command without a study starts fast.
"""

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core import ROOT

if TYPE_CHECKING:
    from engine.planning.run_options import Options
    from search_spaces.study import AnyStudy

Command = Callable[..., Any]


def _pairs_option(option: str, name: str, metavar: str, text: str) -> Callable[[Command], Command]:
    return click.option(option, name, multiple=True, metavar=metavar, callback=_pairs, help=text)


def _pairs(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    wrong = [value for value in values if not value.partition("=")[1] or not value.partition("=")[0]]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is not of the form {parameter.metavar}")
    return {key: value for key, _, value in (value.partition("=") for value in values)}


def _all_of(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """These options, or groups of them, as one decorator."""
    return lambda command: reduce(lambda decorated, option: option(decorated), options, command)


# for every command that reads data
place_options = _all_of(
    click.option("--data-root", type=click.Path(), envvar="DATA_ROOT", help="Folder of the data sets (or $DATA_ROOT)."),
    click.option("--cache-dir", type=click.Path(), envvar="CACHE_DIR", help="Folder of decoded data (or $CACHE_DIR)."),
)
set_option = _pairs_option("--set", "settings", "KEY=VALUE", "A setting by its dotted name.")
# for commands with dataset settings
data_options = _all_of(
    click.option("--limit-train", type=click.IntRange(0), help="First N training examples; 0 = all."),
    click.option("--limit-eval", type=click.IntRange(0), help="First N of validation and of test; 0 = all."),
    click.option("--drop-leaks", is_flag=True, default=None, help="Leave out training copies of held-out pictures."),
    set_option,
    place_options,
)
# for commands that send trials to trackers
tracker_options = _all_of(
    click.option("--tensorboard", is_flag=True, default=None, help="Event files in RUN_DIR/tensorboard."),
    click.option(
        "--mlflow", metavar="URI", help="Also log to an MLflow tracking server (extra `mlflow`); none: no more."
    ),
)
# limits of time, disk, CPUs and GPUs
resource_options = _all_of(
    click.option("--time-budget", metavar="8h", help="Stop after so long; `resume` goes on."),
    click.option(
        "--disk-budget", metavar="20GB", help="What checkpoints may hold; last states of ended trials go first."
    ),
    click.option(
        "--checkpoint-every",
        metavar="1s",
        help="Work between checkpoints (default 1s; 0s: every epoch, as where a trial scheduler decides).",
    ),
    click.option("--cpus-per-trial", type=float, help="CPUs of a trial, and its torch threads (default 1)."),
    click.option("--gpus-per-trial", metavar="X|auto", help="GPUs of a trial (default: 1 if there is one)."),
    click.option("--max-concurrent", type=int, help="Trials at a time (default: as many as fit)."),
    click.option("--fuse", metavar="off|auto|K", help="Trials trained side by side (default: off)."),
    click.option("--address", help="auto or HOST:PORT of a Ray cluster (default: local, a private Ray)."),
)
# for plan and run only: a study begun from a search's winner stores what it took from it
incumbent_option = click.option(
    "--incumbent", type=click.Path(), help="Run directory of a search: ask which of its winner's settings matter."
)
# for plan, run and resume
study_options = _all_of(
    click.option("--seeds", type=int, help="Replicates of every cell or configuration."),
    click.option("--epochs", type=int, help="Epochs of every trial; schedules keep their shape."),
    click.option("--samples", type=int, help="Configurations a search tries."),
    _pairs_option("--levels", "levels", "FACTOR=A,B", "Restrict a factor to some levels, or add."),
    click.option("--design", help="one_at_a_time, leave_one_out, ladder, factorial or path."),
    click.option("--sampler", help="tpe, random, qmc, grid or cmaes (searches)."),
    click.option("--trial-scheduler", help="none, asha, hyperband, median or pbt (searches)."),
    click.option("--objectives", metavar="A,B", help="Several metrics to search by, such as val_accuracy,seconds."),
    click.option(
        "--enqueue", type=click.Path(exists=True, dir_okay=False), help="File of configurations to try first."
    ),
    click.option("--reuse-from", type=click.Path(), help="Run directory whose finished trials are taken over."),
    click.option("--skip-invalid", is_flag=True, default=None, help="Run the other cells where some cannot run."),
    resource_options,
    data_options,
    tracker_options,
)


def given_options(raw: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, in the form of `engine.planning.run_options.Options`."""
    from trainables.config import parse_value

    given = {key: value for key, value in raw.items() if value is not None}
    given["settings"] = {key: parse_value(value) for key, value in raw.get("settings", {}).items()}
    for name in ("limit_train", "limit_eval"):
        if name in given:
            given["settings"][f"dataset.{name}"] = given.pop(name)
    if given.pop("drop_leaks", False):
        given["settings"]["dataset.drop_leaks"] = True
    if "levels" in given:
        given["levels"] = {factor: tuple(names.split(",")) for factor, names in raw["levels"].items()}
    if "objectives" in given:
        given["objectives"] = tuple(raw["objectives"].split(","))
    if "enqueue" in given:
        given["enqueue"] = _configurations(Path(raw["enqueue"]))
    for name in ("data_root", "cache_dir", "reuse_from"):
        if name in given:
            given[name] = _absolute(given[name])
    path = given["settings"].get("dataset.path")
    if isinstance(path, str) and not (Path(given.get("data_root", ROOT)) / path).is_dir() and Path(path).is_dir():
        given["settings"]["dataset.path"] = _absolute(path)  # so that `resume` finds it from any folder
    return given


def _configurations(path: Path) -> tuple[dict[str, Any], ...]:
    """The file of `--enqueue`: a list of mappings from setting to value."""
    from core.errors import PlanError
    from search_spaces.study import read_yaml

    found = read_yaml(path)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise PlanError([f"--enqueue {path}: holds no list of configurations, each a mapping from setting to value"])
    return tuple(found)


def _absolute(path: str | Path) -> str:
    return str(Path(path).expanduser().resolve())


NO_AMOUNT = "not an amount such as 20GB, 1.5GiB or 800MB"


def parsed_options(raw: dict[str, Any]) -> "Options":
    """The options of a command; PlanError lists every invalid one."""
    from pydantic import ValidationError

    from core.errors import PlanError
    from engine.planning.run_options import Options

    try:
        return Options(**given_options(raw))
    except ValidationError as error:
        faults = [
            f"--{str(fault['loc'][0]).replace('_', '-')}: "
            f"{NO_AMOUNT if fault['type'].startswith('byte_size') else fault['msg'].removeprefix('Value error, ')} "
            f"(got {fault['input']!r})"
            for fault in error.errors()
        ]
        raise PlanError(faults) from None


def study_named(name: str) -> "AnyStudy":
    """A study of the registry, or of a YAML file."""
    from core.component import did_you_mean
    from search_spaces.registry import STUDIES
    from search_spaces.study import StudyError, read_study

    if name in STUDIES:
        return STUDIES[name]
    if Path(name).suffix in (".yaml", ".yml"):
        return read_study(Path(name))
    raise StudyError([f"{name}: no such study, and no .yaml file; {did_you_mean(name, STUDIES)}"])
