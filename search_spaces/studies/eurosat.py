"""Experiment 5, EuroSAT: optimizers, augmentation by learning-rate schedule, and a long tail by loss and sampler."""

from functools import partial
from typing import Any

from search_spaces.factors import Factor
from search_spaces.spaces import Choice, Number
from search_spaces.study import AblationStudy, SearchStudy

ADAM: dict[str, Any] = {"optimizer.name": "adam", "optimizer.lr": 0.001, "training.batch_size": 64}
AUGMENTATION = {"augmentation.crop_scale": [0.08, 1.0], "augmentation.flip": True}
MULTISTEP = {"schedule.name": "multistep", "schedule.milestones": [0.5, 0.75], "schedule.gamma": 0.1}
TAILED = {**ADAM, "dataset.imbalance_factor": 100}

ablation = partial(AblationStudy, workload="eurosat", epochs=60)

OPTIMIZERS = ablation(
    name="eurosat/optimizers",
    question="Which optimizer suits a pretrained ResNet18 on satellite tiles?",
    baseline={
        "model.name": "resnet18",
        "model.stem": "imagenet",
        "model.pretrained": True,
        "training.batch_size": 64,
    },
    design="one_at_a_time",
    factors=(
        Factor.of(
            "optimizer",
            {
                "sgd": {"optimizer.name": "sgd", "optimizer.lr": 0.01, "optimizer.momentum": 0.9},
                "adam": {"optimizer.name": "adam", "optimizer.lr": 0.001},
                "rmsprop": {"optimizer.name": "rmsprop", "optimizer.lr": 0.001},
            },
        ),
    ),
    epochs=30,
    references={"baseline": "test 96.7 %, train 95.4 % (which optimizer is not stated)"},
)

AUGMENTATION_SCHEDULE = ablation(
    name="eurosat/augmentation-schedule",
    question="Do augmentation and a falling learning rate help UltraNet18, each and together?",
    baseline=ADAM,
    design="factorial",
    factors=(
        Factor.switch("augmentation", AUGMENTATION),
        Factor.of("schedule", {"constant": {"schedule.name": "constant"}, "multistep": MULTISTEP}),
    ),
    references={"baseline": "test 86.20 %, train 92.30 %"},
)

LONG_TAIL = ablation(
    name="eurosat/long-tail",
    question="When training classes are long-tailed, does a class-balanced loss help, a weighted sampler, or both?",
    baseline=TAILED,
    design="factorial",
    factors=(
        Factor.of(
            "loss", {"ce": {"loss.name": "ce"}, "class_balanced": {"loss.name": "class_balanced", "loss.beta": 0.999}}
        ),
        Factor.values("sampler", "sampler.name", "uniform", "weighted"),
    ),
    metric="test_balanced_accuracy",
    references={"baseline": "67.09 %", "loss=class_balanced + sampler=weighted": "84.87 %"},
)

SEARCH = SearchStudy(
    name="eurosat/search",
    question="Which learning rate, β of the class-balanced loss, schedule and augmentation suit the long tail?",
    workload="eurosat",
    baseline={**TAILED, "loss.name": "class_balanced"},
    space=(
        Number(key="optimizer.lr"),
        Choice(key="loss.beta", choices=(0.9, 0.99, 0.999, 0.9999)),
        Choice(key="schedule.name", choices=("constant", "multistep", "cosine")),
        Choice(key="augmentation.flip", choices=(False, True)),
        Choice(key="augmentation.crop_scale", choices=(None, [0.5, 1.0], [0.08, 1.0])),
    ),
    epochs=40,
    samples=40,
    metric="test_balanced_accuracy",
)
