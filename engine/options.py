"""What a user asks of a study on the command line, apart from the study itself."""

from typing import Annotated, Any, Self

from pydantic import Field

from datasets.component import Component, did_you_mean
from search_spaces.factors import Factor, Level
from search_spaces.study import AblationStudy, AnyStudy, StudyError, parse_study
from trainables.config import parse_value


class Options(Component):
    """Options of plan, run and resume; None is "as the study says". Paths are absolute, as text."""

    data_root: str | None = None
    cache_dir: str | None = None
    seeds: Annotated[int, Field(ge=1)] | None = None
    epochs: Annotated[int, Field(ge=1)] | None = None
    samples: Annotated[int, Field(ge=1)] | None = None
    settings: dict[str, Any] = {}
    levels: dict[str, tuple[str, ...]] = {}
    design: str | None = None
    sampler: str | None = None
    cpus_per_trial: Annotated[float, Field(gt=0)] = 1.0
    gpus_per_trial: Annotated[float, Field(ge=0)] | None = None
    max_concurrent: Annotated[int, Field(ge=1)] | None = None
    skip_invalid: bool = False

    def extended(self, given: dict[str, Any]) -> Self:
        """These options with those that a later command gives; its settings and levels join the earlier ones."""
        merged = {**self.model_dump(), **given}
        merged["settings"] = {**self.settings, **given.get("settings", {})}
        merged["levels"] = {**self.levels, **given.get("levels", {})}
        return type(self).model_validate(merged)

    @property
    def threads(self) -> int:
        """A trial's torch threads."""
        return max(1, int(self.cpus_per_trial))


def apply(study: AnyStudy, options: Options) -> AnyStudy:
    """The study as the options change it; StudyError lists every option that does not fit it."""
    faults = [
        f"--set {key}: the study varies it; use --levels or another study"
        for key in options.settings
        if key in study.varied
    ]
    tree = study.model_dump(mode="json")
    tree["baseline"] |= options.settings
    for name in ("seeds", "epochs"):
        if (value := getattr(options, name)) is not None:
            tree[name] = value
    only = {"search": ("samples", "sampler"), "ablation": ("design",)}
    for kind, names in only.items():
        for name in names:
            value = getattr(options, name)
            if value is None:
                continue
            if study.kind != kind:
                article = "a search" if study.kind == "search" else "an ablation"
                faults.append(f"--{name}: {study.name} is {article}, which has no {name}")
            tree[name] = value
    if isinstance(study, AblationStudy):
        factors, more = _levels(study, options)
        faults += more
        tree["factors"] = [factor.model_dump(mode="json") for factor in factors]
        if options.design or options.levels:
            tree["references"] = {}  # they name cells of the study's own layout
    elif options.levels:
        faults.append(f"--levels: {study.name} is a search, which has a space and no factors")
    if faults:
        raise StudyError(faults)
    return parse_study(tree, study.name)


def _levels(study: AblationStudy, options: Options) -> tuple[list[Factor], list[str]]:
    """Factors restricted to the levels named, in the study's order; a new level of a one-setting factor is added."""
    factors, faults = [], []
    names = [factor.name for factor in study.factors]
    faults += [
        f"--levels {name}: no such factor; {did_you_mean(name, names)}" for name in options.levels if name not in names
    ]
    for factor in study.factors:
        asked = options.levels.get(factor.name)
        if asked is None:
            factors.append(factor)
            continue
        known = {level.name: level for level in factor.levels}
        kept = [level for level in factor.levels if level.name in asked]
        for name in asked:
            if name not in known:
                level = _new_level(factor, name)
                if level is None:
                    faults.append(f"--levels {factor.name}: no level {name!r}; {did_you_mean(name, known)}")
                else:
                    kept.append(level)
        if factor.levels[0] not in kept:
            faults.append(f"--levels {factor.name}: the baseline level {factor.levels[0].name!r} must be among them")
        elif len(kept) < 2:
            faults.append(f"--levels {factor.name}: one level leaves nothing to compare; {did_you_mean('', known)}")
        else:
            factors.append(Factor(name=factor.name, levels=tuple(kept)))
    return factors, faults


def _new_level(factor: Factor, name: str) -> Level | None:
    """A value that is not among the levels, where every level sets one and the same setting to a number."""
    values = [level.settings for level in factor.levels]
    value = parse_value(name)
    numeric = all(
        isinstance(v, int | float) and not isinstance(v, bool) for settings in values for v in settings.values()
    )
    if len(factor.keys) != 1 or not numeric or not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return Level(name=name, settings={next(iter(factor.keys)): value})
