"""study.json: its schema, and reading it."""

from collections import Counter
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from analysis.records.run_directory import RunDirectory
from analysis.records.untrusted import (
    Count,
    Epoch,
    Key,
    Name,
    Number,
    Record,
    Seed,
    Settings,
    Text,
    fault_of,
    parsed,
)
from core.errors import PlanError
from core.metrics import MetricError, declare

LARGEST = 2**28  # bytes; a run of a million trials has a third of that


class Level(Record):
    name: Name
    settings: Settings = {}


class Factor(Record):
    name: Name
    levels: list[Level]


class Cell(Record):
    name: Name
    levels: dict[Name, Name] = {}
    reference: Text | Number | None = None
    identical_to: Name | None = None
    invalid: Text | None = None


class Comparison(Record):
    factor: Name
    level: Name
    baseline_level: Name
    cell: Name
    baseline_cell: Name


class Planned(Record):
    trial: Key
    cell: Name
    seed: Seed
    epochs: Epoch | None = None


class Traits(Record):
    rows: Literal["levels", "cells"]
    against: Literal["baseline", "previous", "first"]
    question: Literal["factors", "effects", "rungs", "steps"]


class Dimension(Record):
    key: Name
    kind: Literal["float", "int", "choice"] | None = None
    low: Number | None = None
    high: Number | None = None
    step: Number | None = None
    log: bool | None = None
    choices: list[Any] | None = Field(default=None, min_length=1)
    when: dict[Name, list[Any]] | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.kind == "choice" and not self.choices:
            raise ValueError("choices: is missing")
        if self.kind in ("float", "int"):
            if self.low is None or self.high is None or not self.low <= self.high:
                raise ValueError("low, high: are no range")
            if (self.log and self.low <= 0) or (self.step is not None and self.step <= 0):
                raise ValueError("log, step: do not fit the range")
        return self


class OwnMetric(Record):
    name: Name
    maximise: bool


class Selection(Record):
    rule: Literal["best", "last", "epoch"]
    metric: Name = ""
    epoch: Count = 0


class Options(Record):
    settings: Settings = {}
    code: list[Text] = []
    data_root: Text | None = None
    cache_dir: Text | None = None
    address: Text | None = None
    mlflow: Text | None = None
    folders: dict[Name, Text] = {}


class Request(Record):
    study: dict[str, Any] = {}
    options: Options = Options()


class Data(Record):
    name: Name | None = None
    fingerprint: Name | None = None
    classes: list[Text] = []
    image_shape: list[Count] | None = None
    counts: dict[Name, list[Count]] | None = None
    audit: list[Text] = []
    leaks: list[Text] = []


class Git(Record):
    commit: Name | None = None
    dirty: bool | None = None


class Machine(Record):
    node: Name | None = None
    cpus: Count | None = None
    system: Name | None = None


Digest = Annotated[str, StringConstraints(pattern="^(?:[0-9a-f]{16}|[0-9a-f]{64})$")]


class Code(Record):
    folders: dict[Name, Text] = {}
    files: dict[Name, Digest] = {}


class Study(Record):
    format: Literal[1] = 1
    name: Name = Field(min_length=1)
    kind: Literal["ablation", "search"]
    metric: Name
    selection: Selection
    question: Text = ""
    design: Name | None = None
    traits: Traits | None = None
    workload: Name | None = None
    baseline: Settings = {}
    factors: list[Factor] = []
    cells: list[Cell] = []
    comparisons: list[Comparison] = []
    path: list[Any] | None = None
    trials_ahead: Count | None = None
    space: list[Dimension] = []
    samples: Count | None = None
    configurations: Count | None = None
    sampler: Name | Settings | None = None
    trial_scheduler: Settings | None = None
    objectives: list[Name] | None = None
    seeds: list[Seed] = []
    epochs: Epoch | None = None
    further_metrics: list[Name] = []
    metrics: list[OwnMetric] = []
    trials: list[Planned] = []
    request: Request | None = None
    command: list[Text] = []
    created_at: Name | None = None
    resumed_at: Name | list[Name] | None = None
    versions: dict[Name, Name] = {}
    git: Git | None = None
    machine: Machine | None = None
    data: Data | None = None
    code: Code | None = None
    scripts: dict[Name, Digest] = {}
    signature: Digest | None = None


class RecordError(PlanError, ValueError):
    """Records that cannot be read; the text names the file, and the field or line."""


def _cross_fault(study: dict[str, Any]) -> str | None:
    """The first name that stands twice, or stands for nothing; None if there is none."""
    rule = study["selection"]
    if rule["rule"] == "best" and not str(rule.get("metric")).startswith("val_"):
        return f"selection.metric: {rule.get('metric')!r:.80} is no metric of the validation split"
    cells = [cell["name"] for cell in study.get("cells", [])]
    for field, names in (("cells", cells), ("trials", [planned["trial"] for planned in study.get("trials", [])])):
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            return f"{field}: {twice[0]!r:.80} stands twice"
    named = [("cells", "identical_to", cell.get("identical_to")) for cell in study.get("cells", [])]
    for each in study.get("comparisons", []):
        named += [("comparisons", field, each[field]) for field in ("cell", "baseline_cell")]
    known = set(cells)
    for part, field, name in named:
        if name is not None and name not in known:
            return f"{part}: {field}: {name!r:.80} is none of the cells"
    return None


def read_study(run: RunDirectory) -> dict[str, Any]:
    """A run's study.json; the directions of its metrics are known from then on. RecordError where it is damaged."""
    try:
        if (size := run.study.stat().st_size) > LARGEST:
            raise ValueError(f"holds {size} bytes; allowed: up to {LARGEST}")
        study = parsed(run.study.read_bytes())
        if fault := fault_of(Study, study) or _cross_fault(study):
            raise ValueError(fault)
        declare(study.get("metrics", []))
    except MetricError:
        raise
    except FileNotFoundError:
        raise RecordError(f"{run.root} is not a run directory: it holds no study.json") from None
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())[:300]
        raise RecordError(f"{run.study}: {said}; only a copy of the file mends this") from None
    return study
