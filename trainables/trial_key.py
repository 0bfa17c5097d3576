"""A trial's key: one hash of configuration, seed, data, epoch budget, and the code that computes its numbers.

The code is every definition reachable by name from `Trial` and from the components of the configuration. A new data set
or network, a moved module or a renamed function change no other trial's key.
"""

import gc
import hashlib
import inspect
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.code_hash import closure_hash
from core.component import REFERENCE, Component
from core.definitions import EVERYTHING, Ref, module_file
from core.metrics import maximised
from core.user_code.copies import by_made_names, file_elsewhere, from_elsewhere
from core.user_code.references import is_reference, located
from trainables.config import UNCOUNTED, TrialConfig

if TYPE_CHECKING:
    from datasets.base import DatasetInfo

ENTRIES = (("trainables.trial.trial", "Trial"), ("datasets.cache.cache", "channel_statistics"))
UNCOUNTED_CODE = (
    # Registries and the schema only choose among components; the components chosen are counted themselves.
    ("datasets.registry", EVERYTHING),
    ("trainables.registry", EVERYTHING),
    ("trainables.config", EVERYTHING),
    ("core.metrics", EVERYTHING),  # the direction of the metric that selects is part of the key
    ("core.user_code.imports", EVERYTHING),
    ("core.user_code.guard", EVERYTHING),
    ("core.user_code.references", EVERYTHING),
    ("core.user_code.component", EVERYTHING),
    ("core.user_code.copies", EVERYTHING),
    ("core.user_code.reads", EVERYTHING),
    # Files, memory, threads and drawn images: no number is computed there.
    ("core.errors", EVERYTHING),
    ("core.files", EVERYTHING),
    ("core.storage", EVERYTHING),
    ("core.aside", EVERYTHING),
    ("trainables.training.malloc", EVERYTHING),
    ("trainables.trial.processor", EVERYTHING),
    ("trainables.trial.remote_checkpoints", EVERYTHING),
    ("trainables.trial.image_artifacts", EVERYTHING),
    # Decodes a data set: the fingerprint covers the result.
    ("datasets.cache.cache", "prepare"),
)


def trial_key(config: TrialConfig, seed: int, data: "DatasetInfo", population: str | None = None) -> str:
    """Twelve hex digits; the content of data and weight files counts, their paths and drawn images do not.

    `population` describes the population of which the trial is a member, as it may take over other members' weights.
    """
    return key_of(content_key(config, seed, data, population), code_version(config))


def key_of(content: str, code: str) -> str:
    """A trial's key, from its content key and the version of its code."""
    return _digest(f"{content} {code}")


def content_key(config: TrialConfig, seed: int, data: "DatasetInfo", population: str | None = None) -> str:
    """All of a trial's identity but the code: equal keys by different code are one trial if its numbers are equal."""
    tree = _counted(config)
    for name in (*config.dataset.place_fields, *config.dataset.unrecorded):
        tree["dataset"].pop(name)
    tree = _by_object(tree)
    if files := tree["model"].get("weights_file"):
        tree["model"]["weights_file"] = {name: _content(file) for name, file in files.items()}
    facts = [data.fingerprint, data.crop, data.flip_pairs, maximised(config.selection.metric)]
    return _digest(json.dumps([tree, seed, facts, *([population] if population else [])], sort_keys=True))


def configuration_key(config: TrialConfig, budget: bool = True) -> str:
    """Equal for configurations that are one cell: eight hex digits of everything but seed, data and code.

    Without `budget`, the number of epochs is left out too, and a cell keeps its name when it is given more.
    """
    tree = _counted(config)
    for name, value in config.dataset.unrecorded.items():
        if tree["dataset"][name] == value:  # so that cells that were named before the setting keep their names
            del tree["dataset"][name]
    if not budget:
        del tree["training"]["epochs"]
    return _digest(json.dumps(tree, sort_keys=True))[:8]


def _by_object(tree: Any) -> Any:
    """The tree with each reference to a file by its object alone: the code counts, and the file may be moved."""
    if isinstance(tree, dict):
        return {key: _by_object(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_by_object(value) for value in tree]
    found = REFERENCE.fullmatch(tree) if isinstance(tree, str) else None
    return f":{found['name']}" if found and found["file"] else tree


def _counted(config: TrialConfig) -> dict[str, Any]:
    """The settings that count as JSON, without those that are as before there was such a setting."""
    tree = config.model_dump(mode="json", exclude=UNCOUNTED)
    for kind, part in config:
        if isinstance(part, Component) and kind != "dataset":
            for name, value in part.unrecorded.items():
                if tree.get(kind, {}).get(name) == value:
                    del tree[kind][name]
    return tree


def code_version(config: TrialConfig) -> str:
    """A hash of the code that computes the numbers of a trial of `config`, the user's own included.

    A data set's own class is not counted: it only decodes, and the fingerprint covers the result.
    """
    chosen = {type(component) for component in _components(value for name, value in config if name != "dataset")}
    # Sorted by name: the order of the definitions counts, the location of a module does not.
    ours = sorted((each.__qualname__, _file(each)) for each in chosen)
    data = config.dataset.own_references
    places = [located(each) for each in config.own_references if each not in data and is_reference(each)]
    places = [place._replace(file=place.file or file_elsewhere(place.module)) for place in places]
    own = [(place.name, str(place.file)) for place in places if place.file]
    facts = [_version(place.module) for place in places if not place.file]
    for file in dict.fromkeys(place.file for place in places if place.file):
        modules, read = by_made_names(file)
        own += [(EVERYTHING, str(each)) for each in (*modules, *from_elsewhere(file))]
        facts += [f"{each.name} {_content(str(each))}" for each in read]
    return _code_version((*ours, *own), tuple(facts))


def _components(values: Any) -> Iterator[Component]:
    for value in values:
        if isinstance(value, Component):
            yield value
            yield from _components(own for _, own in value)
        elif isinstance(value, Mapping | Sequence) and not isinstance(value, str):
            yield from _components(value.values() if isinstance(value, Mapping) else value)


def _version(module: str) -> str:
    """An installed package's version, which stands for its code."""
    top = module.partition(".")[0]
    if top in ("torch", "torchvision"):
        return top
    with suppress(PackageNotFoundError):
        return f"{top} {getattr(sys.modules.get(top), '__version__', '') or version(top)}"
    return f"{top} "


@cache
def _code_version(components: tuple[tuple[str, str], ...], installed: tuple[str, ...] = ()) -> str:
    entries = [Ref(module_file(name), own) for name, own in ENTRIES]
    entries += [Ref(Path(file), name) for name, file in components]
    uncounted = {Ref(module_file(name), own) for name, own in UNCOUNTED_CODE}
    collecting = gc.isenabled()
    gc.disable()  # which would traverse half a million syntax nodes again and again
    try:
        found = closure_hash(entries, uncounted)
        return _digest(json.dumps([found, *installed])) if installed else found
    finally:
        if collecting:
            gc.enable()


@cache
def _file(component: type) -> str:
    return str(Path(inspect.getfile(component)).resolve())


@cache
def _content(file: str) -> str:
    with Path(file).open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").hexdigest()


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
