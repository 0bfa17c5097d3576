"""Experiment 4, facial expressions: a cumulative ladder, its rungs left out one by one, regularizers not yet tried.

Rung 8 trains on the validation images, so the ladder selects the last epoch of each rung.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from search_spaces.factors import Factor
from search_spaces.spaces import Choice, Number
from search_spaces.study import AblationStudy, SearchStudy

BASELINE_CNN: dict[str, Any] = {"optimizer.name": "sgd", "optimizer.lr": 0.01, "training.batch_size": 64}
LARGE_STEPS: dict[str, Any] = {"optimizer.name": "sgd", "optimizer.lr": 0.1, "training.batch_size": 128}
RESNET18 = {"model.name": "resnet18", "model.stem": "imagenet"}
INGREDIENTS: dict[str, dict[str, Any]] = {
    "resnet18": RESNET18,
    "momentum and decay": {"optimizer.momentum": 0.9, "optimizer.weight_decay": 1e-4},
    "cosine": {"schedule.name": "cosine", "schedule.eta_min": 1e-5},
    "flip": {"augmentation.flip": True},
    "rotation": {"augmentation.rotation": 30},
    "crop": {"augmentation.crop_scale": [0.08, 1.0]},
}
RUNG_6 = LARGE_STEPS | {key: value for settings in INGREDIENTS.values() for key, value in settings.items()}
ablation = partial(AblationStudy, workload="expressions", epochs=100)


def ingredient(name: str, beside: Mapping[str, Any] = {}) -> Factor:
    """A factor that switches one of INGREDIENTS on, together with the settings `beside`."""
    return Factor.switch(name, {**INGREDIENTS[name], **beside})


LEARNING_RATE = ablation(
    name="expressions/learning-rate",
    question="How do loss and accuracy of the baseline CNN depend on the learning rate?",
    baseline=BASELINE_CNN,
    design="one_at_a_time",
    factors=(Factor.values("lr", "optimizer.lr", 0.01, 0.001, 0.1),),
    epochs=30,
)

LADDER = ablation(
    name="expressions/ladder",
    question="How much does each rung add on the way from a small CNN to a well-trained ResNet18?",
    baseline={**BASELINE_CNN, "selection.rule": "last"},
    design="ladder",
    factors=(
        ingredient("resnet18", {"optimizer.lr": 0.1}),
        ingredient("momentum and decay"),
        ingredient("cosine", {"training.batch_size": 128, "training.epochs": 50}),
        ingredient("flip", {"training.epochs": 40}),
        ingredient("rotation", {"training.epochs": 100}),
        ingredient("crop", {"training.epochs": 100}),
        Factor.switch("300 epochs", {"training.epochs": 300}),
        Factor.switch("validation data", {"dataset.train_on_validation": True, "training.epochs": 1000}),
    ),
    epochs=30,
    references={
        "0 baseline": "test 32.22 %, valid 28.95 %",
        "1 + resnet18": "test 51.90 %, valid 48.72 %",
        "2 + momentum and decay": "test 54.03 %, valid 50.87 %",
        "3 + cosine": "valid 48.86 %",
        "4 + flip": "valid 51.85 %",
        "5 + rotation": "valid 56.63 %",
        "6 + crop": "valid 57.67 %",
        "7 + 300 epochs": "test 63 %, valid 59.54 %",
        "8 + validation data": "test 66.42 % (valid 99.22 %, seen in training)",
    },
)

LEAVE_ONE_OUT = ablation(
    name="expressions/leave-one-out",
    question="Which ingredient of rung 6 is missed most when it alone is left out?",
    baseline=LARGE_STEPS,
    design="leave_one_out",
    factors=tuple(map(ingredient, INGREDIENTS)),
)

REGULARIZERS = ablation(
    name="expressions/regularizers",
    question="Which of the regularizers that the source did not try would have helped rung 6?",
    baseline=RUNG_6,
    design="one_at_a_time",
    factors=(
        Factor.of(
            "loss",
            {
                "ce": {"loss.name": "ce"},
                "focal γ 1": {"loss.name": "focal", "loss.gamma": 1.0},
                "focal γ 2": {"loss.name": "focal", "loss.gamma": 2.0},
            },
        ),
        Factor.of("label smoothing", {"off": {}, "0.1": {"loss.label_smoothing": 0.1}}),
        Factor.of("mixup", {"off": {}, "0.2": {"training.mixup": 0.2}}),
        Factor.of("dropout", {"off": {}, "0.5": {"model.dropout_after": ["avgpool"], "model.dropout_rate": 0.5}}),
        Factor.of("class weights", {"none": {}, "inverse": {"loss.weighting": "inverse"}}),
        Factor.of("sampler", {"uniform": {}, "weighted": {"sampler.name": "weighted"}}),
    ),
)

SEARCH = SearchStudy(
    name="expressions/search",
    question="Which optimizer settings, schedule, augmentation and regularizers suit ResNet18 on the expressions?",
    workload="expressions",
    baseline={"training.batch_size": 128, "optimizer.name": "sgd", **RESNET18},
    space=(
        Number(key="optimizer.lr", low=1e-3, high=0.5, log=True),
        Number(key="optimizer.momentum"),
        Number(key="optimizer.weight_decay"),
        Choice(key="schedule.name", choices=("constant", "step", "multistep", "cosine")),
        Number(key="schedule.gamma", when={"schedule.name": ("step", "multistep")}),
        Choice(key="augmentation.flip", choices=(False, True)),
        Number(key="augmentation.rotation"),
        Choice(key="augmentation.crop_scale", choices=(None, [0.5, 1.0], [0.08, 1.0])),
        Number(key="loss.label_smoothing"),
        Choice(key="training.mixup", choices=(0.0, 0.1, 0.2, 0.4)),
        Choice(key="model.dropout_after", choices=([], ["avgpool"])),
        Number(key="model.dropout_rate", when={"model.dropout_after": (["avgpool"],)}),
    ),
    epochs=40,
    samples=60,
)
