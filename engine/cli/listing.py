"""What `list`, `layers` and `prepare` show; imports neither torch nor ray."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.component import did_you_mean
from core.errors import PlanError, first_line
from datasets.base import DatasetSettings
from datasets.faces.dataset import Faces, write_lists
from datasets.registry import DATASETS
from datasets.sources.animals import Animals, write_csv
from engine.planning.paths import absolute
from engine.planning.run_options import Options
from search_spaces.study import AnyStudy

SIDES = (8, 32, 48, 64, 112, 224)  # of pictures, in pixels
LANDMARKS = 21
CLASSES = 10

if TYPE_CHECKING:
    from datasets.summary import Summary


def catalogue(what: str) -> list[dict[str, str]]:
    """Rows of all studies, workloads or datasets (`what`), as text by column."""
    if what == "studies":
        from search_spaces.registry import STUDIES

        return [_study(study) for study in STUDIES.values()]
    if what == "workloads":
        from trainables.registry import WORKLOADS

        return [{"name": name, "what": text} for name, (_, text) in WORKLOADS.items()]
    return [{"name": name, "what": (kind.__doc__ or "").strip().splitlines()[0]} for name, kind in DATASETS.items()]


def _study(study: AnyStudy) -> dict[str, str]:
    if study.kind == "ablation":
        design, varies = study.design, ", ".join(factor.name for factor in study.factors)
    else:
        design, varies = "search", f"{len(study.space)} settings"
    return {"name": study.name, "design": design, "varies": varies, "question": study.question}


def prepare_dataset(name: str, options: Options) -> "Summary":
    """Decode and check a data set by name, with `dataset.…` settings; ConfigError or DataError lists every fault."""
    from datasets.cache.cache import prepare
    from datasets.summary import summary

    return summary(prepare(_settings(name, options), *options.places))


def write_dataset_lists(name: str, options: Options, folder: Path) -> list[Path]:
    """The list files that a data set can write of itself; PlanError for one that has none."""
    settings, root = _settings(name, options), options.places[0]
    if isinstance(settings, Faces):
        return list(write_lists(settings, root, folder))
    if isinstance(settings, Animals):
        return [write_csv(settings, root, folder)]
    raise PlanError(f"--write-lists: {name} has no list files; allowed: faces, animals")


@dataclass(frozen=True)
class Layers:
    rows: list[tuple[str, str, str, str, str]]
    """name, class, output of one picture, parameters, multiply-adds of each layer that one pass uses"""
    total: str
    """the network's parameters and multiply-adds, and of what picture"""


def layers(model: str, options: Options, side: int | None, classes: int | None) -> Layers:
    """The layers of a network, which is built without memory: by default for a picture and a number of classes that are
    usual for it. ConfigError or PlanError for a model, a setting or a size that does not fit."""
    from trainables.config import resolve
    from trainables.models.libraries.cost import cost
    from trainables.models.libraries.models import LibraryModel
    from trainables.models.libraries.weightless import without_memory
    from trainables.models.placement import trace
    from trainables.registry import MODELS

    model = absolute(model, [Path.cwd()])
    if MODELS.find(model) is None:
        names = [*MODELS, *(f"{prefix}:NAME" for prefix in MODELS.families)]
        raise PlanError(f"model {model!r} is unknown; {did_you_mean(model, names)}")
    settings = resolve({"dataset.name": "digits", "model.name": model}, options.settings).model
    sides: tuple[int, ...] = SIDES
    usual_classes = CLASSES
    if isinstance(settings, LibraryModel):
        usual, usual_classes = settings.usual
        sides = (usual,)
    classes = classes or usual_classes
    points = 2 * LANDMARKS if settings.landmarks else 0
    shapes = [(3, size, size) for size in ([side] if side else sides)]
    shape = next((shape for shape in shapes if settings.misfit(shape, points) is None), shapes[-1])
    if fault := settings.misfit(shape, points):
        raise PlanError([fault])
    try:
        network = without_memory(lambda: settings.build(shape, classes, points))
        outputs, _ = trace(network, shape)
    except Exception as error:  # whatever a network raises for an input shape it cannot take
        from trainables.models.libraries.image_sizes import size_fault

        told = size_fault(settings, shape, classes)
        raise PlanError(told or f"model.name: {model} cannot take pictures of {shape}: {first_line(error)}") from None
    cost_of = cost(network, shape)
    rows = []
    for name, module in network.named_modules():
        if name in outputs:
            size = sum(value.numel() for value in module.parameters())
            output = " × ".join(map(str, outputs[name][1:]))
            rows.append((name, type(module).__name__, output, _count(size), _count(cost_of.layers.get(name, 0))))
    total = (
        f"{model}: {cost_of.parameters:,} parameters; {cost_of.multiply_adds:,} multiply-adds of one picture of "
        f"{' × '.join(map(str, shape))}; {classes:,} classes"
    )
    return Layers(rows, total)


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _settings(name: str, options: Options) -> DatasetSettings:
    from trainables.config import resolve

    name = absolute(name, [Path.cwd()])
    if DATASETS.find(name) is None:
        raise PlanError(f"data set {name!r} is unknown; {did_you_mean(name, DATASETS)}")
    return resolve({"dataset.name": name, "model.name": "small_cnn"}, options.settings).dataset
