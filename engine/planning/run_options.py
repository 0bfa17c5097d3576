"""The command line's options as settings, and how they change a study."""

import math
import re
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ByteSize, Field, field_validator

from core.component import Component, did_you_mean
from core.text import ELSEWHERE, secret_faults, secrets_in
from core.user_code.references import is_reference
from core.yaml_text import MOST_DIGITS, MOST_FAULTS
from engine.planning.paths import REFERENCES
from search_spaces.designs import DESIGNS
from search_spaces.factors import MOST_LEVELS, Factor, Level
from search_spaces.spaces import point_faults
from search_spaces.study import (
    AblationStudy,
    AnyStudy,
    Count,
    SearchStudy,
    StudyError,
    parse_study,
    with_one_objective,
)
from search_spaces.trial_schedulers import TRIAL_SCHEDULERS
from trainables.config import laid_over, parse_value

UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def seconds_of(text: str) -> float:
    """Seconds of a duration such as 8h, 1h30m or 90s; ValueError otherwise."""
    if not re.fullmatch(r"(\d+(\.\d+)?[dhms])+", text):
        raise ValueError("not a duration such as 8h, 90m, 1h30m or 45s")
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(r"([\d.]+)([dhms])", text))


class Options(Component):
    """Options of plan, run and resume; None: as the study says. Paths are absolute."""

    data_root: str | None = None
    cache_dir: str | None = None
    seeds: Count | None = None
    epochs: Count | None = None
    samples: Count | None = None
    settings: dict[str, Any] = {}
    levels: dict[str, tuple[str, ...]] = {}
    design: str | None = None
    sampler: str | None = None
    trial_scheduler: str | None = None
    objectives: tuple[str, ...] | None = None
    enqueue: tuple[dict[str, Any], ...] | None = None
    reuse_from: str | None = None
    time_budget: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """seconds from the first trial's start"""
    checkpoint_every: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """seconds after a checkpoint from which the next epoch writes another: about the work lost with a process"""
    disk_budget: Annotated[ByteSize, Field(gt=0)] | None = None
    """bytes that checkpoints/ may hold"""
    keep: Literal["last", "best"] | None = None
    """checkpoints of an ended trial: with `last` its last state too, from which more epochs go on; None: last"""
    cpus_per_trial: Annotated[float, Field(gt=0)] = 1.0
    gpus_per_trial: Annotated[float, Field(ge=0)] | Literal["auto"] | None = None
    max_concurrent: Annotated[int, Field(ge=1)] | None = None
    fuse: int | str | None = None
    """trials trained as one program, `auto` or `off`; None: off"""
    address: str | None = None
    skip_invalid: bool = False
    code: tuple[str, ...] = ()
    """files of the user's own that register components"""
    folders: dict[str, str] = {}
    """the folders of the user's own files by label, to which references are relative"""
    tensorboard: bool = False
    mlflow: str | None = None
    """URI of a tracking server"""
    csv_safe: bool = False
    """whether the report's CSV files hold `'` before text that a spreadsheet would compute"""

    def extended(self, given: dict[str, Any]) -> Self:
        """These options updated by a later command's; settings and levels are merged."""
        merged = {**self.model_dump(), **given}
        merged["settings"] = {**self.settings, **given.get("settings", {})}
        merged["levels"] = {**self.levels, **given.get("levels", {})}
        return type(self).model_validate(merged)

    @field_validator("time_budget", "checkpoint_every", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        return seconds_of(value) if isinstance(value, str) else value

    @field_validator("mlflow")
    @classmethod
    def _without_secret(cls, value: str | None) -> str | None:
        if value and (secrets := secrets_in(value)):
            raise ValueError(f"holds {' and '.join(secrets)}, which the records would show; {ELSEWHERE}")
        return value

    @field_validator("fuse")
    @classmethod
    def _lanes(cls, value: int | str | None) -> int | str | None:
        number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < MOST_DIGITS else value
        if number not in (None, "off", "auto") and not (isinstance(number, int) and number >= 2):
            raise ValueError("neither off, auto nor a number of trials from 2 on")
        return number

    @field_validator("gpus_per_trial", mode="before")
    @classmethod
    def _part(cls, value: Any) -> Any:
        if not isinstance(value, str) or value == "auto":
            return value
        try:
            return float(value)
        except ValueError:
            raise ValueError("neither a number nor auto") from None

    @property
    def places(self) -> tuple[Path | None, Path | None]:
        """The data root and the cache folder."""
        root, cache = (None if place is None else Path(place) for place in (self.data_root, self.cache_dir))
        return root, cache

    @property
    def checkpoint_seconds(self) -> float:
        """`checkpoint_every`, but for the half of a time budget at most: else it could pass without a checkpoint."""
        return min(self.checkpoint_every, (self.time_budget or math.inf) / 2)

    @property
    def threads(self) -> int:
        """A trial's torch threads."""
        return max(1, int(self.cpus_per_trial))


NO_OPTION = {
    "search": "a search, which has a space and no design; --incumbent RUN_DIR, a finished run of it, gives it factors",
    "ablation": "an ablation, whose every cell is run in full",
}


def apply(study: AnyStudy, options: Options) -> AnyStudy:
    """The study changed by the options; StudyError lists every option that does not fit it."""
    overriding = {f"--set {key}": key for key in options.settings}
    if options.epochs is not None and study.kind == "search":  # of an ablation, it shortens every cell
        overriding["--epochs"] = "training.epochs"
    faults = [
        f"{option}: the study varies {'it' if option.endswith(varied) else varied}; use "
        f"{'--levels or ' * (study.kind == 'ablation')}another study"
        for option, key in overriding.items()
        for varied in sorted(study.varied)
        if f"{varied}.".startswith(f"{key}.") or f"{key}.".startswith(f"{varied}.")
    ]
    tree = study.model_dump(mode="json")
    tree["baseline"] = laid_over(tree["baseline"], options.settings)
    faults += secret_faults({name: tree.get(name) for name in ("baseline", "factors", "space")})
    tree["code"] = list(dict.fromkeys([*tree["code"], *options.code]))
    for name in ("seeds", "epochs"):
        if (value := getattr(options, name)) is not None:
            tree[name] = value
    only = {"search": ("samples", "sampler", "trial_scheduler", "objectives", "enqueue"), "ablation": ("design",)}
    for kind, names in only.items():
        for name in names:
            value = getattr(options, name)
            if value is None:
                continue
            option = f"--{name.replace('_', '-')}"
            if study.kind != kind:
                faults.append(f"{option}: {study.name} is {NO_OPTION[study.kind]}")
            elif name == "enqueue" and (wrong := _enqueue_faults(study, value)):
                faults += wrong
            elif name == "trial_scheduler":
                faults += _choose_scheduler(tree, value)
            elif name == "objectives":
                tree.pop("metric")  # a single objective is the metric
                tree = with_one_objective({**tree, "objectives": list(value)})
                tree.setdefault("metric", study.metric)
            else:
                tree[name] = value
    if isinstance(study, AblationStudy):
        tree["factors"], more = _levels(study, options)
        faults += more
        if options.design or options.levels:
            tree["references"] = {}  # they name cells of the study's own layout
        if not ((design := DESIGNS.get(tree["design"])) and design.traits.question == "steps"):
            tree["path"] = []
    elif options.levels:
        faults.append(f"--levels: {study.name} is a search, which has a space and no factors")
    if faults:
        raise StudyError(faults)
    return parse_study(tree, study.name)


def _enqueue_faults(study: AnyStudy, points: tuple[dict[str, Any], ...]) -> list[str]:
    space = study.space if isinstance(study, SearchStudy) else ()
    found = (f"--enqueue: {i}: {fault}" for i, point in enumerate(points, 1) for fault in point_faults(space, point))
    return list(islice(found, MOST_FAULTS))


def _choose_scheduler(tree: dict[str, Any], name: str) -> list[str]:
    """Set the tree's trial scheduler to `name`; the study's own keeps its settings. Returns faults."""
    if name not in TRIAL_SCHEDULERS:
        return [f"--trial-scheduler: {name!r} is unknown; {did_you_mean(name, TRIAL_SCHEDULERS)}"]
    if tree["trial_scheduler"]["name"] != name:
        tree["trial_scheduler"] = {"name": name}
    return []


def _levels(study: AblationStudy, options: Options) -> tuple[list[dict[str, Any]], list[str]]:
    """(factors as plain data, with the levels asked for in the study's order and `_new_level`s after them; faults)."""
    factors, names = [], [factor.name for factor in study.factors]
    faults = [
        f"--levels {name}: no such factor; {did_you_mean(name, names)}" for name in options.levels if name not in names
    ]
    for factor in study.factors:
        kept, first = list(factor.levels), factor.levels[0]
        if asked := options.levels.get(factor.name):
            kept, more = _asked_levels(factor, asked)
            faults += more
            if first not in kept:
                faults.append(f"--levels {factor.name}: the baseline level {first.name!r} must be among them")
            elif len(kept) < 2:
                known = [level.name for level in factor.levels]
                faults.append(f"--levels {factor.name}: one level leaves nothing to compare; {did_you_mean('', known)}")
        factors.append({"name": factor.name, "levels": [level.model_dump(mode="json") for level in kept]})
    return factors, faults


def _asked_levels(factor: Factor, asked: tuple[str, ...]) -> tuple[list[Level], list[str]]:
    """(the levels that are asked for by name or by number, in the factor's order, then new ones; faults)."""
    if len(asked) > MOST_LEVELS:
        return [], [f"--levels {factor.name}: names {len(asked):,} levels; allowed: up to {MOST_LEVELS:,}"]
    faults, kept, new = list[str](), set[str](), dict[str, Level]()
    known = {level.name: level for level in factor.levels}
    numbers = _numbers(factor)
    for name in asked:
        level = known.get(name) or _by_number(factor, numbers, name) or _by_reference(factor, name)
        if level is None and len(faults) < MOST_FAULTS:
            faults.append(f"--levels {factor.name}: no level {name!r}; {did_you_mean(name, known)}")
        elif level and level.name in known:
            kept.add(level.name)
        elif level:
            new.setdefault(level.name, level)
    return [*(level for level in factor.levels if level.name in kept), *new.values()], faults


def _numbers(factor: Factor) -> dict[float, Level] | None:
    """The first level of each number that the levels set; None unless all set one and the same setting to a number."""
    values = [value for level in factor.levels for value in level.settings.values()]
    if len(factor.keys) != 1 or not all(map(_is_number, values)):
        return None
    return {value: level for level in reversed(factor.levels) for value in level.settings.values()}


def _by_number(factor: Factor, numbers: dict[float, Level] | None, name: str) -> Level | None:
    """A level for a number, which is then among the `numbers`; None where a name is no number, or they are None.

    It is the one that sets that number already, where there is one: 0.90 asks for the level 0.9.
    """
    if numbers is None:
        return None
    (key,) = factor.keys
    value = parse_value(name, key)
    return numbers.setdefault(value, Level(name=name, settings={key: value})) if _is_number(value) else None


def _by_reference(factor: Factor, name: str) -> Level | None:
    """A level for a reference, if all levels of the factor choose one and the same component."""
    (key, *more) = sorted(factor.keys)
    if more or key not in REFERENCES or not is_reference(name):
        return None
    same = (level for level in factor.levels if level.settings.get(key) == name)
    return next(same, Level(name=name, settings={key: name}))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
