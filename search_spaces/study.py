"""A study is what a user launches: an ablation (a design over factors) or a search (a sampler over a space).

The same schema reads a user's YAML file and is what `plan --json` prints.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from core.component import Component, did_you_mean
from core.designs import DesignTraits
from core.errors import FaultError
from core.metrics import counterpart, split_of
from search_spaces.designs import DESIGNS, Layout, cells_ahead
from search_spaces.factors import Factor, Level
from search_spaces.spaces import AnyParameter, Choice, Number, mutable, order_faults, point_faults, size
from search_spaces.trial_schedulers import PBT, AnyTrialScheduler, NoScheduler


class StudyError(FaultError, ValueError):
    """An invalid study."""


class Study(Component):
    """Fields of ablations and searches. `baseline`: dotted settings that override the workload's defaults."""

    name: str = Field(min_length=1)
    question: str = ""
    workload: str
    baseline: dict[str, Any] = {}
    epochs: Annotated[int, Field(ge=1)]
    metric: str = "test_accuracy"
    further_metrics: tuple[str, ...] = ()
    seeds: Annotated[int, Field(ge=1)] = 1

    @property
    def replicates(self) -> range:
        """The seeds that every cell or configuration is run with."""
        return range(self.seeds)

    @property
    def population(self) -> PBT | None:
        """The settings of population based training; None without it."""
        return None

    @property
    def scheduled(self) -> bool:
        """Whether the study has a trial scheduler, which may decide on a trial after any epoch."""
        return False

    @property
    def adaptive(self) -> str | None:
        """The sampler or trial scheduler that adapts to results; None where trials are independent of each other."""
        return None


class AblationStudy(Study):
    """Cells laid out by a design over factors, each run with every seed."""

    kind: Literal["ablation"] = "ablation"
    design: str
    factors: tuple[Factor, ...] = Field(min_length=1)
    seeds: Annotated[int, Field(ge=1)] = 5
    first_seed: Annotated[int, Field(ge=0)] = 0
    references: dict[str, str] = {}
    """By cell, the result that the source reports, shown beside ours and marked as the source's."""
    path: tuple[str, ...] = ()
    """With design path: the factors of the steps chosen so far, updated during the run."""

    @model_validator(mode="after")
    def _design_fits(self) -> Self:
        if self.design not in DESIGNS:
            raise ValueError(f"design {self.design!r} is unknown; {did_you_mean(self.design, DESIGNS)}")
        names = [factor.name for factor in self.factors]
        if len(set(names)) < len(names):
            raise ValueError(f"a factor stands twice: {', '.join(names)}")
        if self.path and not self.is_path:
            raise ValueError(f"path: belongs to design path, and the design is {self.design}")
        if unknown := [name for name in self.path if name not in names]:
            raise ValueError(f"path: {unknown[0]!r} is no factor; {did_you_mean(unknown[0], names)}")
        if len(set(self.path)) < len(self.path):
            raise ValueError(f"path: a factor stands twice: {', '.join(self.path)}")
        cells = [cell.name for cell in self.layout().cells]
        if unknown := sorted(set(self.references) - set(cells)):
            raise ValueError(f"references name no cell: {', '.join(unknown)}; {did_you_mean(unknown[0], cells)}")
        return self

    def layout(self) -> Layout:
        return DESIGNS[self.design].layout(self.factors, self.steps)

    @property
    def traits(self) -> DesignTraits:
        """How to read the rows of the design's table."""
        return DESIGNS[self.design].traits

    @property
    def is_path(self) -> bool:
        """Whether the design chooses its steps while it runs."""
        return self.traits.question == "steps"

    @property
    def steps(self) -> tuple[str, ...]:
        """A path's known steps: `path`, and the last factor once it is the only one left."""
        left = [factor.name for factor in self.factors if factor.name not in self.path]
        return (*self.path, *left) if self.is_path and len(left) == 1 else self.path

    @property
    def replicates(self) -> range:
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def ahead(self) -> int:
        """The most trials beyond those of the layout: those of a path's later steps."""
        return cells_ahead(self.factors, self.path) * self.seeds if self.is_path else 0

    @property
    def varied(self) -> set[str]:
        """Every dotted setting that a factor changes."""
        return {key for factor in self.factors for key in factor.keys}


SAMPLERS = ("tpe", "random", "qmc", "grid", "cmaes")


class SearchStudy(Study):
    """Configurations proposed by a sampler, and ranked by the validation counterpart of `metric`.

    With two or more `objectives` the search looks for the Pareto front. Configurations of `enqueue` are tried first;
    settings that one leaves out are sampled.
    """

    kind: Literal["search"] = "search"
    space: tuple[AnyParameter, ...] = Field(min_length=1)
    samples: Annotated[int, Field(ge=1)] = 20
    sampler: str = "tpe"
    trial_scheduler: AnyTrialScheduler = NoScheduler()
    objectives: tuple[str, ...] = ()
    enqueue: tuple[dict[str, Any], ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        faults = [*order_faults(self.space), *self._sampler_faults(), *self._scheduler_faults()]
        for point in self.enqueue:
            faults += point_faults(self.space, point)
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _sampler_faults(self) -> list[str]:
        if self.sampler not in SAMPLERS:
            return [f"sampler {self.sampler!r} is unknown; {did_you_mean(self.sampler, SAMPLERS)}"]
        ranges = [parameter.key for parameter in self.space if isinstance(parameter, Number)]
        if self.sampler == "grid" and ranges:
            return [f"sampler grid: takes choices only, and {', '.join(ranges)} are ranges; use qmc, random or tpe"]
        unfit = [parameter.key for parameter in self.space if isinstance(parameter, Choice) or parameter.when]
        if self.sampler == "cmaes" and (unfit or len(ranges) < 2):
            what = f"{', '.join(unfit)} are not" if unfit else "there is one"
            return [f"sampler cmaes: takes two or more ranges without conditions, and {what}; use tpe"]
        if self.sampler == "cmaes" and len(self.objectives) > 1:
            return ["sampler cmaes: has one objective; use tpe, random, qmc or grid for several"]
        return []

    def _scheduler_faults(self) -> list[str]:
        name, faults = self.trial_scheduler.name, []
        if name != "none" and len(self.objectives) > 1:
            faults.append(f"trial_scheduler {name}: compares trials by one metric, and there are several objectives")
        if name == "pbt":
            if self.sampler != "random":
                faults.append(f"trial_scheduler pbt: its population is drawn by sampler random, not {self.sampler}")
            if not any(isinstance(parameter, Number) and mutable(parameter.key) for parameter in self.space):
                faults.append("trial_scheduler pbt: the space has no range of numbers that may change during training")
            if self.samples < 4:
                faults.append(f"trial_scheduler pbt: --samples {self.samples} is no population; allowed: 4 and more")
        if len(set(self.objectives)) < len(self.objectives):
            faults.append(f"objectives: one stands twice in {', '.join(self.objectives)}")
        return faults

    @property
    def varied(self) -> set[str]:
        return {parameter.key for parameter in self.space}

    @property
    def configurations(self) -> int:
        """How many distinct configurations the search tries: `samples`, or all if its space holds fewer."""
        return min(self.samples, size(self.space) or self.samples)

    @property
    def scheduled(self) -> bool:
        return self.trial_scheduler.name != "none"

    @property
    def adaptive(self) -> str | None:
        if self.scheduled:
            return f"trial scheduler {self.trial_scheduler.name}"
        return None if self.sampler in ("random", "qmc", "grid") else f"sampler {self.sampler}"

    @property
    def population(self) -> PBT | None:
        return self.trial_scheduler if isinstance(self.trial_scheduler, PBT) else None


AnyStudy = AblationStudy | SearchStudy
_ADAPTER: TypeAdapter[AnyStudy] = TypeAdapter(Annotated[AnyStudy, Field(discriminator="kind")])


def parse_study(tree: dict[str, Any], where: str) -> AnyStudy:
    """A study from plain data; StudyError, whose faults begin with `where`, if it is invalid."""
    guessed = {"kind": "search" if "space" in tree else "ablation", **tree}
    try:
        return _ADAPTER.validate_json(json.dumps(guessed))
    except ValidationError as error:
        raise StudyError([_sentence(where, fault) for fault in error.errors()]) from None
    except TypeError as error:
        raise StudyError([f"{where}: {error}"]) from None


def read_study(path: Path) -> AnyStudy:
    """A user's study from a YAML file; StudyError if it is unreadable or invalid."""
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise StudyError([f"{path}: a study is a mapping with name, workload, epochs, and factors or space"])
    return parse_study(with_one_objective(tree, f"{path}: objectives"), str(path))


def with_one_objective(tree: dict[str, Any], where: str) -> dict[str, Any]:
    """A study's fields, with a single objective made the metric that is ranked and shown; StudyError if both differ."""
    objectives = tree.get("objectives")
    if not isinstance(objectives, list) or len(objectives) != 1 or split_of(str(objectives[0]))[0] != "val":
        return tree
    metric = tree.get("metric", counterpart(objectives[0], "test"))
    if counterpart(str(metric), "val") != objectives[0]:
        raise StudyError(
            [f"{where}: {objectives[0]} alone is what the search goes by, and metric is {metric!r}; give one of them"]
        )
    return {**tree, "objectives": [], "metric": metric}


def read_yaml(path: Path) -> Any:
    """The content of a YAML (or JSON) file; StudyError if unreadable. As in YAML 1.2, 1e-3 is a number."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StudyError([f"{path}: cannot be read: {error}"]) from None


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A YAML 1.2 loader: 1e-3 is a number, and off, on, yes and no are strings, as levels are named so."""

    yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


# Parts of pydantic's error locations, with the class whose fields are allowed there.
_OWNERS: dict[str | int, type[Component]] = {
    "ablation": AblationStudy,
    "search": SearchStudy,
    "factors": Factor,
    "levels": Level,
    "float": Number,
    "int": Number,
    "choice": Choice,
}


def _sentence(where: str, fault: Any) -> str:
    key = ".".join(str(part) for part in fault["loc"] if part not in ("ablation", "search"))
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        owner = next(_OWNERS[part] for part in reversed(fault["loc"][:-1]) if part in _OWNERS)
        message = f"unknown field; {did_you_mean(fault['loc'][-1], owner.model_fields)}"
    return f"{where}: {key + ': ' if key else ''}{message}" + ("" if "ctx" in fault else f" (got {fault['input']!r})")
