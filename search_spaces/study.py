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
from search_spaces.designs import DESIGNS, Layout, cells_ahead
from search_spaces.factors import Factor, Level
from search_spaces.spaces import AnyParameter, Choice, Number, mutable, order_faults, point_faults, size
from search_spaces.trial_schedulers import PBT, AnyTrialScheduler, NoScheduler


class StudyError(FaultError, ValueError):
    """A study that cannot be."""


class Study(Component):
    """What ablations and searches share. `baseline` holds dotted settings laid over the workload's defaults."""

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
        """How the trials are bred, where they are the members of one population a seed."""
        return None

    @property
    def scheduled(self) -> bool:
        """Whether a trial scheduler may stop a trial after any epoch."""
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
    """The source's own figure by cell, shown beside ours and marked as theirs."""
    path: tuple[str, ...] = ()
    """With design path: the factors of the steps that were chosen so far, written here while it runs."""

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
        """How the design's rows are read."""
        return DESIGNS[self.design].traits

    @property
    def is_path(self) -> bool:
        """Whether the design chooses its steps while it runs."""
        return self.traits.question == "steps"

    @property
    def steps(self) -> tuple[str, ...]:
        """The path as far as it is known: once a single factor is left, there is nothing to choose."""
        left = [factor.name for factor in self.factors if factor.name not in self.path]
        return (*self.path, *left) if self.is_path and len(left) == 1 else self.path

    @property
    def replicates(self) -> range:
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def ahead(self) -> int:
        """How many trials there may be beside those of the layout: of a path's later steps."""
        return cells_ahead(self.factors, self.path) * self.seeds if self.is_path else 0

    @property
    def varied(self) -> set[str]:
        """Every dotted setting that a factor changes."""
        return {key for factor in self.factors for key in factor.keys}


SAMPLERS = ("tpe", "random", "qmc", "grid", "cmaes")


class SearchStudy(Study):
    """Configurations proposed by a sampler; they are ranked by the validation counterpart of `metric`.

    With two or more `objectives` the search looks for the configurations that none beats in all of them. Those of
    `enqueue` are tried first; what one leaves out is drawn.
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
        """How many distinct ones the search can try: as many as asked for, or as its space holds."""
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
    """A study from plain data; `where` names its file in the faults of StudyError."""
    guessed = {"kind": "search" if "space" in tree else "ablation", **tree}
    try:
        return _ADAPTER.validate_json(json.dumps(guessed))
    except ValidationError as error:
        raise StudyError([_sentence(where, fault) for fault in error.errors()]) from None
    except TypeError as error:
        raise StudyError([f"{where}: {error}"]) from None


def read_study(path: Path) -> AnyStudy:
    """A user's own study, from YAML."""
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise StudyError([f"{path}: a study is a mapping with name, workload, epochs, and factors or space"])
    return parse_study(tree, str(path))


def read_yaml(path: Path) -> Any:
    """What a YAML (or JSON) file holds. Numbers are YAML 1.2's, so that 1e-3 is a number."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StudyError([f"{path}: cannot be read: {error}"]) from None


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core words: 1e-3 is a number, and off, on, yes and no are names of levels."""

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


# What pydantic's locations name on the way to a field, by whose fields are allowed there.
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
