"""A trial's configuration: frozen, strict at every depth, built from layers of dotted settings.

`resolve` is the one way to make it: defaults, then a study's baseline, then a cell's levels or a sampled point. The
resolved configuration holds the settings that take effect and no others, so equal configurations are equal trials.
"""

import json
import re
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    BeforeValidator,
    Field,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
)
from pydantic_core import PydanticCustomError

from core.component import Component, Needs, Range, Registry, did_you_mean
from core.errors import FaultError
from core.metrics import MetricError, declare
from core.value_words import value_fault
from core.yaml_text import plain, read_document
from datasets.augmentation.settings import Augmentation
from datasets.base import DatasetSettings
from datasets.registry import DATASETS
from datasets.samplers import SAMPLERS, Sampler
from trainables.losses import Loss
from trainables.metrics.field import FIELD
from trainables.metrics.setting import SplitMetric
from trainables.models.base import Model
from trainables.models.libraries.names import libraries_with
from trainables.optimizers import Optimizer
from trainables.registry import LOSSES, MODELS, OPTIMIZERS, SCHEDULES
from trainables.schedules import Schedule

KINDS: dict[str, Registry[Any]] = {
    "dataset": DATASETS,
    "model": MODELS,
    "loss": LOSSES,
    "sampler": SAMPLERS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
}


def _chosen(kind: str) -> Any:
    """The validator of a component: by the class that its name chooses, among those that are registered by then."""

    def choose(settings: Any) -> Any:
        if not isinstance(settings, dict):
            return settings
        name = settings.get("name")
        if found := KINDS[kind].find(name):
            return found.model_validate_json(json.dumps(settings))
        what = f"unknown {kind} {name!r}" if "name" in settings else "not given"
        raise PydanticCustomError("unknown_component", "{what}", {"what": what})

    return BeforeValidator(choose)


class Training(Component):
    """How long, in which batches and in which precision a network is trained, and which weights are evaluated."""

    epochs: int = Field(30, ge=1)
    """passes over the training split; a study and `--epochs` give them"""
    batch_size: Annotated[int, Range(16, 256, log=True)] = Field(64, ge=2)
    """examples of a training step"""
    precision: Literal["fp32", "bf16"] = "fp32"
    """of the forward pass and its gradients; weights and losses stay in fp32"""
    normalize: bool = True
    """subtract the training split's mean of each channel and divide by its deviation"""
    mixup: Annotated[float, Field(ge=0)] = 0.0
    """both parameters of the Beta distribution that mixup draws its shares from; 0 mixes nothing"""
    clip_norm: Annotated[float, Field(ge=0), Range(0.1, 10.0, log=True)] = 0.0
    """what the total gradient norm is clipped to before each step; 0 clips nothing"""
    ema: Annotated[float, Field(ge=0, lt=1), Range(0.9, 0.9999)] = 0.0
    """decay a step of the averaged weights that are evaluated, selected and saved; 0 evaluates the trained ones"""
    patience: int = Field(0, ge=0)
    """epochs without a better selection metric after which a search's trial ends; 0 waits for ever"""
    evaluate_test: Literal["every_epoch", "selected"] = "every_epoch"
    """when the test split is evaluated: after every epoch, or at the `selected` one alone, which saves time and changes
    no number there; the test metrics of other epochs are then null, and a trial is the same trial under either"""


class Selection(Component):
    """The epoch a trial is judged at: `best` validation `metric`, the `last`, or a fixed `epoch`."""

    rule: Literal["best", "last", "epoch"] = "best"
    """the best epoch by `metric`, the last one, or the one numbered `epoch`"""
    metric: Annotated[str, Needs("selection.rule", values=("best",))] = "val_reference"
    """what `rule: best` goes by: `val_reference`, `val_loss`, `val_ce`, `val_accuracy`, `val_balanced_accuracy`, or
    `val_NAME` of one of `metrics`"""
    epoch: Annotated[int, Field(ge=0), Needs("selection.rule", values=("epoch",))] = 0
    """the number of that epoch, counted from 1"""


def _as_text(value: object) -> object:
    """A name of digits alone, which a shell's `--set` passes as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Inspect(Component):
    """What a finished trial draws to be looked at. It changes no number, so trials that differ in it alone are one."""

    image: Annotated[str, BeforeValidator(_as_text)] = ""
    """the image whose feature maps are drawn, by the end of its path in the data set; empty: AnnualCrop_1111.jpg, or
    the first test image where there is none of that name"""
    pictures: bool | None = None
    """whether trials draw; null: the first seed of each cell of an ablation does, no trial of a search does"""


class TrialConfig(Component):
    """Everything that decides a trial's numbers but its seed and its data's content, and what changes no number."""

    dataset: Annotated[SerializeAsAny[DatasetSettings], _chosen("dataset")]
    model: Annotated[SerializeAsAny[Model], _chosen("model")]
    loss: Annotated[SerializeAsAny[Loss], _chosen("loss")]
    sampler: Annotated[SerializeAsAny[Sampler], _chosen("sampler")]
    augmentation: Augmentation
    optimizer: Annotated[SerializeAsAny[Optimizer], _chosen("optimizer")]
    schedule: Annotated[SerializeAsAny[Schedule], _chosen("schedule")]
    training: Training
    selection: Selection
    metrics: tuple[SplitMetric, ...] = ()
    """of the whole validation and test split, recorded beside the task's own: `top5_accuracy`, `f1_macro`,
    `f1_weighted`, `auroc`, `average_precision`, `kappa`, `mcc`, `brier`, `ece`, or a function of one's own as `{name:
    FILE.py:FUNCTION, maximise: true}`, with `as: NAME` where its columns are to be named otherwise"""
    diagnostics: bool = False
    """record activations, dead units, gradients and updates of each layer after every epoch"""
    inspect: Inspect = Inspect()

    @field_validator("metrics")
    @classmethod
    def _each_once(cls, metrics: tuple[SplitMetric, ...]) -> tuple[SplitMetric, ...]:
        """In the order of their columns, as equal configurations are equal trials."""
        columns = [metric.column for metric in metrics]
        if twice := sorted({name for name in columns if columns.count(name) > 1}):
            raise ValueError(f"{', '.join(twice)} stands twice")
        return tuple(sorted(metrics, key=lambda metric: metric.column))

    @model_serializer(mode="wrap")
    def _as_recorded(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without metrics where there are none, so that trials of the time before the setting keep their keys."""
        tree: dict[str, Any] = handler(self)
        if not tree.get("metrics"):
            tree.pop("metrics", None)
        return tree

    @property
    def own_references(self) -> tuple[str, ...]:
        parts = [*(part for _, part in self if isinstance(part, Component)), *self.metrics]
        return tuple(each for part in parts for each in part.own_references)


UNCOUNTED: dict[str, Any] = {"inspect": True, "training": {"evaluate_test"}}
"""what changes no result, whole groups or some of their settings, as pydantic excludes them: not part of any key"""
SINGLE = {"diagnostics", "metrics"}  # top-level settings outside any group
SELECTABLE = ("val_reference", "val_loss", "val_ce", "val_accuracy", "val_balanced_accuracy")
"""what an epoch may be selected by, beside the validation columns of `metrics`"""

DEFAULTS: dict[str, Any] = {
    "loss.name": "ce",
    "sampler.name": "uniform",
    "optimizer.name": "sgd",
    "schedule.name": "constant",
}


class ConfigError(FaultError, ValueError):
    """A configuration is not valid; lists every fault."""


def resolve(*layers: Mapping[str, Any]) -> TrialConfig:
    """The configuration of dotted settings, later layers over earlier ones; ConfigError lists all that is wrong.

    A layer that chooses another component (`optimizer.name: adam`) keeps the earlier settings which that component also
    has and drops the others (a momentum); a setting of that same layer that it lacks is an error.
    """
    settings: dict[str, Any] = {}
    for layer in (DEFAULTS, *layers):
        settings = laid_over(settings, layer)
    tree: dict[str, Any] = {kind: {} for kind in TrialConfig.model_fields if kind not in SINGLE}
    faults = [fault for key, value in settings.items() for fault in _assign(tree, key, value)]
    try:
        config = _validated(tree)
    except ConfigError as error:
        raise ConfigError([*faults, *error.faults]) from None
    if faults:
        raise ConfigError(faults)
    return config


def laid_over(below: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    """The dotted settings of a layer over those below it, without what a component that it chooses does not have."""
    below, layer = _by_argument(below), _by_argument(layer)
    kept = {key: value for key, value in below.items() if key not in layer}
    for kind, registry in KINDS.items():
        name, own = layer.get(f"{kind}.name"), f"{kind}."
        if (chosen := registry.find(name)) and name != below.get(f"{kind}.name"):
            kept = {
                key: value
                for key, value in kept.items()
                if not key.startswith(own) or chosen.has_setting(str(name), key.removeprefix(own))
            }
    return {**kept, **layer}


def _by_argument(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with each entry of an `args` mapping as a setting of its own, so that layers can lie over it."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if key.endswith(".args") and key.count(".") == 1 and isinstance(value, dict):
            found |= {f"{key}.{name}": each for name, each in value.items()}
        else:
            found[key] = value
    return found


def from_tree(tree: Mapping[str, Any]) -> TrialConfig:
    """The configuration of a nested dict as `model_dump(mode="json")` or a log line holds it."""
    kind = DATASETS.find(tree.get("dataset", {}).get("name"))
    return _validated({**tree, "dataset": {**kind.unrecorded, **tree["dataset"]}} if kind else tree)


def _validated(tree: Mapping[str, Any]) -> TrialConfig:
    """The configuration of a nested dict; its own metrics' directions are known from then on."""
    try:
        config = TrialConfig.model_validate_json(json.dumps(tree))
        declare(metric.record for metric in config.metrics)
    except ValidationError as error:
        raise ConfigError(_sentence(fault, tree) for fault in error.errors()) from None
    except MetricError as error:
        raise ConfigError(error.faults) from None
    chosen, allowed = config.selection.metric, [*SELECTABLE, *(f"val_{metric.column}" for metric in config.metrics)]
    if chosen not in allowed:
        add = f"; `metrics: [{chosen[4:]}]` records it" if chosen[:4] == "val_" and chosen[4:] in FIELD else ""
        raise ConfigError([f"selection.metric: {chosen!r} is unknown; {did_you_mean(chosen, allowed)}{add}"])
    return config


def counts(key: str) -> bool:
    """Whether a dotted setting is part of the keys of trials and cells."""
    kind, _, name = key.partition(".")
    left_out = UNCOUNTED.get(kind, ())
    return left_out is not True and name not in left_out


def flatten(config: TrialConfig) -> dict[str, Any]:
    """Every setting by its dotted name."""
    tree = {"metrics": [], **config.model_dump(mode="json")}
    flat: dict[str, Any] = {}
    for kind, settings in tree.items():
        own = isinstance(settings, dict)
        flat |= {f"{kind}.{key}": value for key, value in settings.items()} if own else {kind: settings}
    return flat


def domain(key: str, component: str | None = None) -> Range | None:
    """The range a search looks in for a dotted setting, as written beside its default; None where there is none."""
    kind, _, name = key.partition(".")
    for owner in _owners(kind):
        if name in owner.model_fields and (component is None or component == _name(owner)):
            found = [item for item in owner.model_fields[name].metadata if isinstance(item, Range)]
            if found:
                return found[0]
    return None


def needed_by(key: str) -> set[str]:
    """The settings without which a dotted setting takes no effect, in any component that has it."""
    kind, _, rest = key.partition(".")
    name = rest.partition(".")[0]
    fields = [owner.model_fields[name] for owner in _owners(kind) if name in owner.model_fields]
    return {other for field in fields for item in field.metadata if isinstance(item, Needs) for other in item.keys}


def _owners(kind: str) -> list[type[Component]]:
    if kind in KINDS:
        return KINDS[kind].classes
    field = TrialConfig.model_fields.get(kind)
    return [field.annotation] if field and kind not in SINGLE and isinstance(field.annotation, type) else []


def _name(owner: type[Component]) -> str | None:
    field = owner.model_fields.get("name")
    return field.default if field else None


def _assign(tree: dict[str, Any], key: str, value: Any) -> list[str]:
    kind, _, rest = key.partition(".")
    if key in SINGLE:
        tree[key] = value
        return []
    if kind not in tree:
        return [f"{key}: unknown setting (value {value!r}); {did_you_mean(kind, TrialConfig.model_fields)}"]
    if not rest:
        return [f"{key}: names a group of settings; choose one of {', '.join(_settings(kind, tree))}"]
    *path, last = rest.split(".")
    node = tree[kind]
    for part in path:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            return [f"{key}: unknown setting (value {value!r}); {kind}.{part} has no settings of its own"]
    node[last] = dict(value) if isinstance(value, dict) else value  # entries may be laid over it
    return []


def _settings(kind: str, tree: Mapping[str, Any]) -> list[str]:
    """Dotted names of the settings that the component chosen in `tree` has; the keys of an entry of `metrics`."""
    if kind in SINGLE:
        return [field.alias or name for name, field in SplitMetric.model_fields.items()]
    found = KINDS[kind].find(tree.get(kind, {}).get("name")) if kind in KINDS else None
    owners = [found] if found else _owners(kind)[:1]
    return [f"{kind}.{field}" for owner in owners for field in owner.model_fields]


def _sentence(fault: Any, tree: Mapping[str, Any]) -> str:
    """One pydantic error in the project's form: setting, what is wrong, value, what is allowed, nearest name."""
    kind, *rest = (str(part) for part in fault["loc"])
    key = name = ".".join((kind, *rest))
    value = fault["input"]
    if kind in SINGLE and rest:  # an entry of a list
        key, name = ": ".join((kind, f"number {int(rest[0]) + 1}", *rest[1:])), rest[-1]
    if fault["type"] == "extra_forbidden":
        allowed = _settings(kind, tree) if rest else TrialConfig.model_fields
        return f"{key}: unknown setting (value {value!r}); {did_you_mean(name, allowed)}"
    if fault["type"] == "unknown_component":
        return f"{key}.name: {fault['ctx']['what']}; {_names_like(kind, value.get('name') or '')}"
    message = value_fault(fault)
    if (named := re.match(r"(\w+)[.\w]* = ", message)) and f"{key}.{named[1]}" in _settings(kind, tree):
        return f"{key}.{message}"  # settings of one component that do not fit each other
    return f"{key}: {message}"


def _names_like(kind: str, name: object) -> str:
    """The names that a component may have, and the nearest; of a library's network, the name with the library's."""
    allowed = did_you_mean(re.sub(":.*", ":NAME", str(name)), KINDS[kind].forms)
    homes = libraries_with(str(name)) if kind == "model" and "; did you" not in allowed else []
    return f"{allowed}; did you mean {' or '.join(repr(f'{home}:{name}') for home in homes)}?" if homes else allowed


def types_of(key: str) -> set[type]:
    """The types of the values that a dotted setting may have, in all components that have it; empty if none has."""
    kind, _, name = key.partition(".")
    name, _, inner = name.partition(".")
    if key in SINGLE:
        return _types(TrialConfig.model_fields[key].annotation, inner)
    fields = [owner.model_fields[name].annotation for owner in _owners(kind) if name in owner.model_fields]
    return {each for field in fields for each in _types(field, inner)}


def _types(annotation: Any, inner: str = "") -> set[type]:
    """`inner`: the key in a mapping whose values' types are asked for."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return {type(argument) for argument in arguments}
    if origin in (Union, UnionType, Annotated):
        parts = arguments[:1] if origin is Annotated else arguments
        return {each for part in parts for each in _types(part, inner)}
    if origin is dict and inner:
        return _types(arguments[1])
    return {origin or annotation}


def takes_text(key: str) -> bool:
    """Whether a dotted setting takes text alone, so that what looks like a number or a truth value is text too."""
    return str in (types := types_of(key)) and types <= {str, NoneType}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of a JSON text; ValueError where a key stands twice, of which Python would keep the last."""
    if len(made := dict(pairs)) < len(pairs):
        raise ValueError("a key stands twice")
    return made


def parse_value(text: str, key: str = "") -> Any:
    """A setting's value as a shell passes it: text where the setting takes text alone, else what JSON or YAML 1.2 make
    of it (.001, False, null, [conv1, conv2]); text that is neither stands for itself.
    """
    if text.startswith(('"', "[", "{")):
        try:
            return json.loads(text, parse_constant=str, object_pairs_hook=_once)
        except (ValueError, RecursionError):
            found = read_document(text.encode(errors="replace"))
            return text if found.faults or takes_text(key) else found.content
    value = plain(text.strip()) if text else text
    if takes_text(key) and not (value is None and NoneType in types_of(key)):
        return text
    return text if isinstance(value, str) else value
