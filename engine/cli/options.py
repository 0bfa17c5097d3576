"""The command line's options, as click declares them, and their conversion to `Options`.

The program's modules are imported where they are needed, so that a command without a study starts fast.
"""

import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.errors import PlanError
from core.value_words import LONGEST, cut
from core.yaml_text import DEEPEST, depth_of

if TYPE_CHECKING:
    from engine.planning.run_options import Options
    from search_spaces.study import AnyStudy

Command = Callable[..., Any]
GROUPS = ("What to run", "How much", "Where", "Resources", "Records", "Options")
WHAT, MUCH, WHERE, RESOURCES, RECORDS, OTHER = GROUPS
SHORT = {
    "epochs": "training.epochs",
    "limit_train": "dataset.limit_train",
    "limit_eval": "dataset.limit_eval",
    "drop_leaks": "dataset.drop_leaks",
}
"""options that stand for a setting"""
SECRETIVE = ("data_root", "cache_dir", "reuse_from", "enqueue", "code", "mlflow")
"""options that take a place, in whose URL there may be secrets"""
MOST_SETTINGS = 500  # `--set` or `--levels`


class GroupedCommand(click.Command):
    """Lists its options under the titles of `GROUPS`."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        found: dict[str, list[tuple[str, str]]] = {title: [] for title in GROUPS}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)):
                found[getattr(parameter, "group", OTHER)].append(record)
        for title, records in found.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def option(group: str, *names: str, **facts: Any) -> Callable[[Command], Command]:
    """`click.option` under a title of `GROUPS`."""

    def decorate(command: Command) -> Command:
        command = click.option(*names, **facts)(command)
        command.__click_params__[-1].group = group  # type: ignore[attr-defined]
        return command

    return decorate


def _pairs(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    wrong = [value for value in values if not value.partition("=")[1] or not value.partition("=")[0]]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is not of the form {parameter.metavar}")
    if len(values) > MOST_SETTINGS:
        raise PlanError(f"{parameter.opts[0]}: is given {len(values):,} times; allowed: up to {MOST_SETTINGS}")
    for key, _, value in (value.partition("=") for value in values):
        if depth_of(value) > DEEPEST or key.count(".") > DEEPEST:
            named = f"{parameter.opts[0]} {cut(key, LONGEST)}"
            raise PlanError(f"{named}: holds more than {DEEPEST} lists, mappings or dots within each other")
    pairs = [(key, value) for key, _, value in (value.partition("=") for value in dict.fromkeys(values))]
    if twice := [key for key, number in Counter(key for key, _ in pairs).items() if number > 1]:
        given = ", ".join(repr(value) for key, value in pairs if key == twice[0])
        raise click.BadParameter(f"{twice[0]!r} is given twice, as {given}; give it once")
    return dict(pairs)


def _all_of(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """These options, or groups of them, as one decorator; `--help` lists them in this order."""
    return lambda command: reduce(lambda decorated, option: option(decorated), reversed(options), command)


def out_option(default: str) -> Callable[[Command], Command]:
    return option(WHERE, "--out", type=click.Path(), help=f"Run directory, or its URL (default: {default}).")


COUNT: dict[str, Any] = {"type": int, "metavar": "N"}
FROM_0: dict[str, Any] = {"type": click.IntRange(0), "metavar": "N"}
FROM_1: dict[str, Any] = {"type": click.IntRange(1), "metavar": "N"}
FLAG: dict[str, Any] = {"is_flag": True, "default": None}
PATH = click.Path()

# for every command that reads data
place_options = _all_of(
    option(WHERE, "--data-root", type=PATH, envvar="DATA_ROOT", help="Folder of the data sets (or $DATA_ROOT)."),
    option(
        WHERE,
        "--cache-dir",
        type=PATH,
        envvar="CACHE_DIR",
        help="Folder of decoded data (or $CACHE_DIR; default: ~/.cache/vision-ablation).",
    ),
)
set_option = option(
    WHAT,
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_pairs,
    help="A setting by its dotted name, as optimizer.lr=0.01; may be repeated. `settings` lists them all.",
)
# for commands with dataset settings
data_options = _all_of(
    set_option,
    option(
        WHAT,
        "--drop-leaks",
        **FLAG,
        help="Leave out training copies of held-out pictures (default: they stay, and `prepare` counts them).",
    ),
    option(MUCH, "--limit-train", **FROM_0, help="First N training examples (default: 0 = all)."),
    option(MUCH, "--limit-eval", **FROM_0, help="First N of validation and of test (default: 0 = all)."),
    place_options,
)
# for commands that send trials to trackers
tracker_options = _all_of(
    option(RECORDS, "--tensorboard", **FLAG, help="Also event files, in RUN_DIR/tensorboard."),
    option(
        RECORDS,
        "--mlflow",
        metavar="URI",
        help="Also log to an MLflow tracking server (extra `mlflow`); none: no more (default: none).",
    ),
)
csv_option = option(
    RECORDS,
    "--csv-safe/--csv-plain",
    default=None,
    help="CSV files of the report with ' before text that a spreadsheet would compute (default: plain).",
)
# limits of time, disk, CPUs and GPUs
resource_options = _all_of(
    option(MUCH, "--time-budget", metavar="8h", help="Stop after so long; `resume` goes on (default: no limit)."),
    option(WHERE, "--address", help="auto or HOST:PORT of a Ray cluster (default: local, a private Ray)."),
    option(RESOURCES, "--gpus-per-trial", metavar="X|auto", help="GPUs of a trial (default: 1 if there is one)."),
    option(
        RESOURCES, "--cpus-per-trial", type=float, metavar="X", help="CPUs of a trial, and its threads (default: 1)."
    ),
    option(RESOURCES, "--max-concurrent", **COUNT, help="Trials at a time (default: as many as fit)."),
    option(RESOURCES, "--fuse", metavar="off|auto|K", help="Trials trained side by side (default: off)."),
    option(
        RESOURCES,
        "--disk-budget",
        metavar="20GB",
        help="What checkpoints may hold; last states of ended trials go first (default: no limit).",
    ),
    option(
        RESOURCES,
        "--keep",
        metavar="last|best",
        help="Checkpoints of ended trials: best.pt alone, or last.pt too, from which --epochs go on (default: last).",
    ),
    option(
        RESOURCES,
        "--checkpoint-every",
        metavar="1s",
        help="Work between checkpoints (default: 1s; 0s: every epoch, as where a trial scheduler decides).",
    ),
)
# for commands that follow the record of a run that is there already
trust_option = option(
    RECORDS,
    "--trust",
    is_flag=True,
    help="Of a run that is not signed as yours: let its record execute code and connect, and sign it.",
)
# for plan and run only: a study begun from a search's winner stores what it took from it
incumbent_option = _all_of(
    option(
        WHAT, "--incumbent", type=PATH, help="Run directory of a search: ask which of its winner's settings matter."
    ),
    trust_option,
)
code_option = option(
    WHAT, "--code", type=PATH, multiple=True, help="A file of your own that registers components; may be repeated."
)
# for plan, run and resume
study_options = _all_of(
    option(MUCH, "--seeds", **COUNT, help="Replicates of each cell or configuration (default: the study's)."),
    option(MUCH, "--epochs", **COUNT, help="Epochs of every trial; schedules keep their shape (default: the study's)."),
    option(MUCH, "--samples", **COUNT, help="Configurations a search tries (default: the study's)."),
    data_options,
    option(
        WHAT,
        "--levels",
        multiple=True,
        metavar="FACTOR=A,B",
        callback=_pairs,
        help="Restrict a factor to some levels, or add.",
    ),
    option(WHAT, "--design", help="one_at_a_time, leave_one_out, ladder, factorial or path (default: the study's)."),
    option(WHAT, "--sampler", help="tpe, random, qmc, grid or cmaes (searches; default: the study's)."),
    option(WHAT, "--trial-scheduler", help="none, asha, hyperband, median or pbt (searches; default: the study's)."),
    option(WHAT, "--objectives", metavar="A,B", help="Several metrics to search by, such as val_accuracy,seconds."),
    option(
        WHAT, "--enqueue", type=click.Path(exists=True, dir_okay=False), help="File of configurations to try first."
    ),
    option(WHAT, "--skip-invalid", **FLAG, help="Run the other cells if some cannot run (default: no)."),
    option(WHERE, "--reuse-from", type=PATH, help="Run directory whose finished trials are taken over."),
    resource_options,
    tracker_options,
    csv_option,
)


def given_options(raw: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, in the form of `engine.planning.run_options.Options`."""
    from core.errors import PlanError
    from core.text import secret_faults
    from engine.planning.paths import absolute, anchored
    from trainables.config import parse_value

    given = {key: value for key, value in raw.items() if value is not None}
    places = {f"--{name.replace('_', '-')}": raw[name] for name in SECRETIVE if raw.get(name)}
    if raw.get("address"):  # which may have no scheme
        places["--address"] = f"//{raw['address'].rpartition('//')[2]}"
    if secrets := [*secret_faults(places)]:
        raise PlanError(secrets)
    given["settings"] = {key: parse_value(value, key) for key, value in raw.get("settings", {}).items()}
    _refuse_twice(given)
    for name in ("limit_train", "limit_eval", "drop_leaks"):
        if name in given:
            given["settings"][f"dataset.{name}"] = given.pop(name)
    if "levels" in given:
        given["levels"] = {factor: absolute(_names(names), [Path.cwd()]) for factor, names in raw["levels"].items()}
    if "objectives" in given:
        given["objectives"] = _names(raw["objectives"])
    if "enqueue" in given:
        given["enqueue"] = _configurations(Path(raw["enqueue"]), raw.get("data_root"))
    for name in ("data_root", "cache_dir", "reuse_from"):
        if name in given:
            given[name] = _absolute(given[name])
    for name in ("settings", "code"):
        given |= anchored({name: given.get(name, ())}, [Path.cwd()], given.get("data_root"))
    if "mlflow" in given:
        given["mlflow"] = _absolute_uri(given["mlflow"])
    return given


def _refuse_twice(given: dict[str, Any]) -> None:
    """PlanError where an option and `--set` give one setting two values, of which one would count for nothing."""
    faults = [
        f"--{name.replace('_', '-')} and --set {key} give {json.dumps(given[name])} and {json.dumps(value)}; give one"
        for name, key in SHORT.items()
        if name in given and (value := given["settings"].get(key, given[name])) != given[name]
    ]
    if faults:
        raise PlanError(faults)


def _absolute_uri(uri: str) -> str:
    """A tracking server's URI, its path absolute if it is a folder or SQLite's file, so that `resume` finds it too."""
    head, _, path = uri.rpartition("sqlite:///")
    local = ":" not in uri and uri not in ("none", "databricks")
    return f"sqlite:///{_absolute(path)}" if not head and path and uri != path else _absolute(uri) if local else uri


def _names(text: str) -> tuple[str, ...]:
    return tuple(unicodedata.normalize("NFC", name.strip()) for name in text.split(","))


def _configurations(path: Path, data_root: str | None) -> tuple[dict[str, Any], ...]:
    """The file of `--enqueue`: a list of mappings from setting to value."""
    from engine.planning.paths import anchored
    from search_spaces.study_file import read_yaml
    from trainables.config import takes_text

    found = read_yaml(path, lambda place: len(place) == 2 and takes_text(str(place[1])))
    if found.faults:
        raise PlanError([f"--enqueue {path}: line {line}: {fault}" for line, fault in found.faults])
    points = found.content
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise PlanError(f"--enqueue {path}: holds no list of configurations, each a mapping from setting to value")
    return tuple(anchored(points, [path.parent, Path.cwd()], data_root))


def _absolute(path: str | Path) -> str:
    return str(Path(path).expanduser().resolve())


def parsed_options(raw: dict[str, Any]) -> "Options":
    """The options of a command; PlanError lists every invalid one."""
    from pydantic import ValidationError

    from core.value_words import value_fault
    from engine.planning.run_options import Options

    try:
        return Options(**given_options(raw))
    except ValidationError as error:
        # of an option of several types the first one's fault says enough
        first = {str(fault["loc"][0]): fault for fault in reversed(error.errors())}
        raise PlanError(
            f"--{name.replace('_', '-')}: {value_fault(fault)}" for name, fault in reversed(first.items())
        ) from None


@contextmanager
def lines_told(study: str, raw: dict[str, Any]) -> Iterator[None]:
    """Faults of a file, of a study or of `--enqueue`, that only the plan shows are told with their lines too."""
    from core.errors import FaultError

    try:
        yield
    except FaultError as error:
        from search_spaces.study_file import with_enqueued_lines, with_lines

        faults = error.faults
        if raw.get("enqueue"):
            faults = with_enqueued_lines(faults, Path(raw["enqueue"]))
        if _is_file(study):
            faults = with_lines(faults, Path(study), raw["settings"])
        raise PlanError(faults) from error


def _is_file(study: str) -> bool:
    from search_spaces.registry import STUDIES

    return Path(study).suffix in (".yaml", ".yml") and study not in STUDIES


def study_named(name: str, data_root: str | None) -> "AnyStudy":
    """A study of the registry, or of a YAML file: relative paths in it are relative to its folder."""
    from core.component import did_you_mean
    from engine.planning.paths import anchored
    from search_spaces.registry import STUDIES
    from search_spaces.study import StudyError, parse_study
    from search_spaces.study_file import read_study

    if name in STUDIES:
        return STUDIES[name]
    if _is_file(name):
        study = read_study(Path(name))
        tree = anchored(study.model_dump(mode="json"), [Path(name).parent, Path.cwd()], data_root)
        return parse_study(tree, name)
    raise StudyError(f"{name}: no such study, and no .yaml file; {did_you_mean(name, STUDIES)}")
