"""A study is what a user launches: an ablation (a design over factors) or a search (a sampler over a space).

The same schema reads a user's YAML file (`study_file`) and is what `plan --json` prints.
"""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from core.component import Component, did_you_mean
from core.designs import DesignTraits
from core.errors import FaultError
from core.metrics import MetricError, counterpart, metric_of, split_of
from core.value_words import value_fault
from core.yaml_text import MOST_FAULTS, Document, Place
from search_spaces.designs import DESIGNS, Layout, cells_ahead, layout_faults, size_fault
from search_spaces.factors import MOST_SETTINGS, Factor, Level
from search_spaces.names import Misfit, Name, Placed, StudyName, known, twice
from search_spaces.spaces import (
    AnyParameter,
    Choice,
    Number,
    condition_faults,
    is_finite,
    mutable,
    order_faults,
    point_faults,
    size,
    with_kind,
    with_whole_lists,
)
from search_spaces.trial_schedulers import PBT, TRIAL_SCHEDULERS, AnyTrialScheduler, NoScheduler
from trainables.metrics.setting import column_of

MOST = 1_000_000  # epochs, seeds, samples, and trials of a plan
LAST_SEED = 2**53 - 1
"""the greatest whole number that a page in a browser shows as it is; Parquet's end at 2⁶³"""
MOST_NAMES = 100  # of metrics, or of files
MOST_FACTORS = 1000
MOST_PARAMETERS = 200
LONGEST_QUESTION = 10_000  # characters
Count = Annotated[int, Field(ge=1, le=MOST)]


class StudyError(FaultError, ValueError):
    """An invalid study."""


class Study(Component):
    """Fields of ablations and searches; `new` writes what is said of each into the file that it makes.

    In a file, the baseline's `metrics` may stand as a field of the study.
    """

    name: StudyName
    """the study's name; results/NAME is its default folder"""
    question: Annotated[str, Field(max_length=LONGEST_QUESTION)] = ""
    """what the report's first line asks"""
    workload: str
    """data set and network: a name of `python run_search.py list workloads`"""
    baseline: Annotated[dict[str, Any], Field(max_length=MOST_SETTINGS)] = {}
    """settings of all trials, over the workload's defaults; `python run_search.py settings` lists them"""
    code: tuple[str, ...] = Field((), max_length=MOST_NAMES)
    """files of one's own that register components beside the program's"""
    epochs: Count
    """the budget of every trial, in passes over the training split"""
    metric: str = "test_accuracy"
    """what the tables are of, at the epoch that validation chose; a search ranks by its validation counterpart"""
    further_metrics: tuple[str, ...] = Field((), max_length=MOST_NAMES)
    """an ablation has a table of each of these too"""
    seeds: Count = 1
    """replicates of every cell or configuration; fewer than three give no verdict"""

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
    design: Annotated[str, known("design", DESIGNS)]
    """which cells there are, and which are compared"""
    factors: tuple[Factor, ...] = Field(min_length=1, max_length=MOST_FACTORS)
    """what is varied; a level's settings lie over the baseline, and the first level is the factor's own baseline"""
    seeds: Count = 5
    first_seed: Annotated[int, Field(ge=0)] = 0
    """the seeds are first_seed, first_seed + 1 and so on"""
    references: dict[Name, str] = {}
    """by cell, the result that the source reports, shown beside ours and marked as the source's"""
    path: tuple[Name, ...] = ()
    """With design path: the factors of the steps chosen so far, updated during the run."""

    @model_validator(mode="after")
    def _design_fits(self) -> Self:
        names = [factor.name for factor in self.factors]
        faults: Placed = [(("factors", i, "name"), fault) for i, fault in twice("a factor stands", names)]
        faults += [(("path",), fault) for fault in self._path_faults(names)]
        if self.first_seed > (last := LAST_SEED + 1 - self.seeds):
            what = f"{self.first_seed} with {self.seeds} seeds goes beyond the last seed"
            faults.append((("first_seed",), f"first_seed: {what}; allowed: up to {last}"))
        if faults or (faults := self._layout_faults()):
            raise Misfit(faults)
        return self

    def _path_faults(self, names: list[str]) -> Iterator[str]:
        if self.path and not self.is_path:
            yield f"path: belongs to design path, and the design is {self.design}"
        if unknown := [name for name in self.path if name not in names]:
            yield f"path: {unknown[0]!r} is no factor; {did_you_mean(unknown[0], names)}"
        if len(set(self.path)) < len(self.path):
            yield f"path: a factor stands twice: {', '.join(self.path)}"

    def _layout_faults(self) -> Placed:
        if fault := size_fault(DESIGNS[self.design], self.factors):
            return [(("design",), fault)]
        if faults := self._trial_faults(DESIGNS[self.design].size(self.factors)):
            return faults
        try:
            layout = self.layout()
        except ValueError as error:
            return [(("design",), str(error))]
        if wrong := layout_faults(layout):
            return [(("factors",), f"design {self.design}: {fault}") for fault in wrong[:MOST_FAULTS]]
        cells = [cell.name for cell in layout.cells]
        if faults := self._trial_faults(len(cells)):
            return faults
        return [
            (("references", name), f"references name no cell: {name}; {did_you_mean(name, cells)}")
            for name in self.references
            if name not in cells
        ]

    def _trial_faults(self, cells: int) -> Placed:
        if (trials := cells * self.seeds + self.ahead) <= MOST:
            return []
        what = f"{self.seeds} of each of {trials // self.seeds} cells are {trials:,} trials"
        return [(("seeds",), f"seeds: {what}; allowed: up to {MOST:,}")]

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
    space: tuple[AnyParameter, ...] = Field(min_length=1, max_length=MOST_PARAMETERS)
    """the parameters; a number without bounds takes the range that `python run_search.py settings` shows"""
    samples: Count = 20
    """configurations to try"""
    sampler: Annotated[str, known("sampler", SAMPLERS)] = "tpe"
    """who proposes them: tpe, random, qmc, grid or cmaes"""
    trial_scheduler: AnyTrialScheduler = NoScheduler()
    """who stops or changes trials early: none, asha, hyperband, median or pbt"""
    objectives: tuple[str, ...] = Field((), max_length=MOST_NAMES)
    """two or more metrics to trade off, of validation or seconds, in place of the metric"""
    enqueue: tuple[dict[str, Any], ...] = ()
    """configurations to try first; what one leaves out is drawn"""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        found_at = (
            (place, fault)
            for place, found in (
                *((("space", i), [found]) for i, found in (*order_faults(self.space), *condition_faults(self.space))),
                (("sampler",), self._sampler_faults()),
                (("objectives",), self._objective_faults()),
                (("trial_scheduler",), self._scheduler_faults()),
                *((("enqueue", i), point_faults(self.space, point)) for i, point in enumerate(self.enqueue)),
            )
            for fault in found
        )
        faults: Placed = list(islice(found_at, MOST_FAULTS))
        if not faults:
            try:
                size(self.space, self.samples)
            except ValueError as error:
                faults.append((("space",), f"space: {error}"))
        if (trials := self.samples * self.seeds) > MOST:
            what = f"{self.samples} of {self.seeds} seeds each are {trials:,} trials"
            faults.append((("samples",), f"samples: {what}; allowed: up to {MOST:,}"))
        if faults:
            raise Misfit(faults)
        return self

    def _sampler_faults(self) -> list[str]:
        ranges = [parameter.key for parameter in self.space if isinstance(parameter, Number)]
        if self.sampler == "grid" and (endless := [each.key for each in self.space if not is_finite((each,))]):
            what = f"takes choices and ranges with a step, and {', '.join(endless)} are ranges without"
            return [f"sampler grid: {what}; give them a step, or use qmc, random or tpe"]
        unfit = [parameter.key for parameter in self.space if isinstance(parameter, Choice) or parameter.when]
        if self.sampler == "cmaes" and (unfit or len(ranges) < 2):
            what = f"{', '.join(unfit)} are not" if unfit else "there is one"
            return [f"sampler cmaes: takes two or more ranges without conditions, and {what}; use tpe"]
        if self.sampler == "cmaes" and len(self.objectives) > 1:
            return ["sampler cmaes: has one objective; use tpe, random, qmc or grid for several"]
        return []

    def _scheduler_faults(self) -> Iterator[str]:
        name = self.trial_scheduler.name
        if name != "none" and len(self.objectives) > 1:
            yield f"trial_scheduler {name}: compares trials by one metric, and there are several objectives"
        if name == "pbt":
            if self.sampler != "random":
                yield f"trial_scheduler pbt: its population is drawn by sampler random, not {self.sampler}"
            if not any(isinstance(parameter, Number) and mutable(parameter.key) for parameter in self.space):
                yield "trial_scheduler pbt: the space has no range of numbers that may change during training"
            if self.samples < 4:
                yield f"trial_scheduler pbt: --samples {self.samples} is no population; allowed: 4 and more"

    def _objective_faults(self) -> list[str]:
        repeated = len(set(self.objectives)) < len(self.objectives)
        return [f"objectives: one stands twice in {', '.join(self.objectives)}"] if repeated else []

    @property
    def varied(self) -> set[str]:
        return {parameter.key for parameter in self.space}

    @property
    def configurations(self) -> int:
        """How many distinct configurations the search tries: `samples`, or all if its space holds fewer."""
        held = size(self.space, self.samples)
        return self.samples if held is None else held

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
Faults = list[tuple[int, str]]
"""(line, what is wrong there); line 0 where the study was no file"""


def parse_study(tree: dict[str, Any], where: str) -> AnyStudy:
    """A study from plain data; StudyError, whose faults begin with `where`, if it is invalid."""
    study, faults = parsed(tree, Document())
    if study is None:
        raise StudyError([f"{where}: {fault}" for _, fault in faults])
    return study


def parsed(tree: dict[str, Any], document: Document) -> tuple[AnyStudy | None, Faults]:
    """The study that plain data holds, or what is wrong with it, at the lines of the `document` that held it."""
    if "metrics" in tree and isinstance(baseline := tree.get("baseline", {}), dict):
        if "metrics" in baseline:
            return None, [(document.line(("metrics",)) or 0, "metrics: stands in the baseline too; give it once")]
        tree = {**tree, "baseline": {**baseline, "metrics": tree["metrics"]}}
        del tree["metrics"]
    space = tree.get("space")
    spaced = {"space": [with_kind(each) for each in with_whole_lists(space)]} if isinstance(space, list) else {}
    kind = "search" if "space" in tree else "ablation"
    guessed = {**tree, **spaced, "kind": kind if tree.get("kind") is None else tree["kind"]}
    try:
        return _ADAPTER.validate_json(json.dumps(guessed, allow_nan=False)), []
    except ValidationError as error:
        own = islice((fault for fault in error.errors(include_url=False) if not _follows(fault)), MOST_FAULTS)
        return None, [found for fault in own for found in _faults(guessed, fault, document)]
    except (TypeError, ValueError, RecursionError) as error:
        return None, [(0, f"holds what JSON cannot: {error}")]


def with_one_objective(tree: dict[str, Any]) -> dict[str, Any]:
    """A study's fields, with a single objective made the metric that is ranked and shown; StudyError if both differ."""
    objectives = tree.get("objectives")
    if not isinstance(objectives, list) or len(objectives) != 1 or split_of(str(objectives[0]))[0] != "val":
        return tree
    if not _of_an_epoch(objectives[0], tree):  # the plan says so of the objective
        return tree
    metric = tree.get("metric", counterpart(objectives[0], "test"))
    if counterpart(str(metric), "val") != objectives[0]:
        what = f"{objectives[0]} alone is what the search goes by, and metric is {metric!r}"
        raise StudyError(f"objectives: {what}; give one")
    return {**tree, "objectives": [], "metric": metric}


def _of_an_epoch(column: str, tree: dict[str, Any]) -> bool:
    baseline = tree.get("baseline")
    asked = tree.get("metrics", baseline.get("metrics") if isinstance(baseline, dict) else None)
    if isinstance(asked, list) and split_of(column)[1] in map(column_of, asked):
        return True
    try:
        return metric_of(column).of == "epoch"
    except MetricError:
        return False


def _follows(fault: Any) -> bool:
    """Whether a list is called too short only because its items are faulty, which is told of each."""
    return fault["type"] == "too_short" and len(fault["input"]) >= fault["ctx"]["min_length"]


# Parts of pydantic's error locations, with the class whose fields are allowed there.
_OWNERS: dict[Any, type[Component]] = {
    **{"ablation": AblationStudy, "search": SearchStudy, "factors": Factor, "levels": Level},
    **{"float": Number, "int": Number, "choice": Choice},
    **TRIAL_SCHEDULERS,
}


def _faults(tree: dict[str, Any], fault: Any, document: Document) -> Faults:
    """One pydantic error in the project's words, or all those of fields that do not fit each other."""
    place = _place(tree, fault)
    error = fault.get("ctx", {}).get("error")
    if isinstance(error, Misfit):
        return [(document.line((*place, *below)) or 0, text) for below, text in error.faults]
    message = value_fault(fault)
    if fault["type"] == "extra_forbidden":
        message = _unknown(tree["kind"], fault["loc"])
    elif fault["type"].startswith("union_tag"):
        place = (*place, fault["ctx"]["discriminator"].strip("'"))
    elif fault["type"] == "missing" and place == ("factors",):
        message = "is missing, and so is `space`: an ablation has factors and a design, a search has a space"
    key = ".".join(map(str, place))
    return [(document.line(place) or 0, f"{key}: {message}" if key else message)]


def _place(tree: Any, fault: Any) -> Place:
    """Where a pydantic error stands in the study: its location without the tags of unions."""
    place: Place = ()
    for part in fault["loc"]:
        if part in tree if isinstance(tree, dict) else isinstance(tree, list) and part in range(len(tree)):
            place, tree = (*place, part), tree[part]
    return (*place, fault["loc"][-1]) if fault["type"] == "missing" else place


def _unknown(kind: str, location: Place) -> str:
    *above, name = location
    owner = next(_OWNERS[part] for part in reversed(above) if part in _OWNERS)
    other: type[Component] = SearchStudy if kind == "ablation" else AblationStudy
    if len(above) == 1 and name in other.model_fields:
        return f"unknown field of {'an ablation' if kind == 'ablation' else 'a search'}, which the study is by its kind"
    allowed = [*owner.model_fields, *(["metrics"] if len(above) == 1 else [])]
    return f"unknown field; {did_you_mean(name, allowed)}"
