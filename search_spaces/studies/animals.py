"""Experiment 3, animals: networks against each other, two ladders, and what to vary when a run is stuck."""

from functools import partial
from typing import Any

from search_spaces.factors import Factor
from search_spaces.spaces import Choice, Number
from search_spaces.study import AblationStudy, SearchStudy

BASELINE: dict[str, Any] = {"optimizer.name": "adam", "optimizer.lr": 0.001, "training.batch_size": 64}
AUGMENTATION = {
    "augmentation.flip": True,
    "augmentation.crop_scale": [0.08, 1.0],
    "augmentation.brightness": 0.4,
    "augmentation.contrast": 0.4,
    "augmentation.saturation": 0.4,
}
TRUNCATED_NORMAL = {"model.initial_weights": "truncated_normal"}
RESNET18 = {"model.name": "resnet18", "model.stem": "imagenet"}
NETWORKS: dict[str, dict[str, Any]] = {
    "vgg19": {"model.name": "vgg19"},
    "vgg19_bn": {"model.name": "vgg19", "model.batch_norm": True},
    "nin": {"model.name": "nin"},
    "googlenet": {"model.name": "googlenet"},
    "googlenet_plain": {"model.name": "googlenet", "model.batch_norm": False},
    "resnet18": RESNET18,
    "resnet34": {"model.name": "resnet34", "model.stem": "imagenet"},
    "resnet50": {"model.name": "resnet50", "model.stem": "imagenet"},
}

ablation = partial(AblationStudy, workload="animals", baseline=BASELINE, epochs=100)

NETWORK = ablation(
    name="animals/networks",
    question="Which network recognises the animals best when all are trained alike?",
    design="one_at_a_time",
    factors=(Factor.of("network", NETWORKS),),
    references={
        "baseline": "uncertain: 0.82 or 0.822",
        "network=nin": "uncertain: 0.825 or 0.81",
        "network=googlenet_plain": "uncertain: 0.825 or none",
        "network=resnet18": "0.908–0.911 (depth and augmentation not stated)",
    },
)

GOOGLENET_LADDER = ablation(
    name="animals/googlenet-ladder",
    question="What do better initial weights, augmentation and ImageNet add to GoogLeNet?",
    baseline={**BASELINE, "model.name": "googlenet"},
    design="ladder",
    factors=(
        Factor.of(
            "truncated normal and bn",
            {"off": {"model.batch_norm": False}, "on": {"model.batch_norm": True, **TRUNCATED_NORMAL}},
        ),
        Factor.switch("augmentation", AUGMENTATION),
        Factor.switch("pretrained", {"model.pretrained": True}),
    ),
    references={
        "0 baseline": "uncertain: 0.825 or none",
        "1 + truncated normal and bn": "0.900",
        "2 + augmentation": "0.905 at 50 epochs, 0.924 at 100",
        "3 + pretrained": "0.944",
    },
)

RESNET_LADDER = ablation(
    name="animals/resnet-ladder",
    question="What do augmentation and ImageNet add to ResNet18?",
    baseline={**BASELINE, **RESNET18},
    design="ladder",
    factors=(
        Factor.switch("augmentation", AUGMENTATION),
        Factor.switch("pretrained", {"model.pretrained": True}),
    ),
    references={"0 baseline": "0.908–0.911 (augmentation not stated)", "2 + pretrained": "0.952"},
)

STUCK = ablation(
    name="animals/stuck",
    question="When training is stuck, what frees it: weights, batch norm, optimizer, normalisation, the last layer?",
    baseline={**BASELINE, "model.name": "vgg19", "diagnostics": True},
    design="one_at_a_time",
    factors=(
        Factor.of("initial weights", {"default": {}, "truncated normal": TRUNCATED_NORMAL}),
        Factor.of("bn", {"without": {}, "with": {"model.batch_norm": True}}),
        Factor.of("optimizer", {"adam": {}, "sgd": {"optimizer.name": "sgd", "optimizer.lr": 0.01}}),
        Factor.of("normalisation", {"on": {}, "off": {"training.normalize": False}}),
        Factor.of("last layer", {"linear": {}, "relu": {"model.relu_on_output": True}}),
    ),
    epochs=20,
)

SEARCH = SearchStudy(
    name="animals/search",
    question="Which network, learning rate, augmentation and initial weights suit the animals?",
    workload="animals",
    baseline=BASELINE,
    space=(
        Choice(key="model.name", choices=("vgg19", "nin", "googlenet", "resnet18")),
        Number(key="optimizer.lr"),
        Choice(key="augmentation.flip", choices=(False, True)),
        Choice(key="augmentation.crop_scale", choices=(None, [0.5, 1.0], [0.08, 1.0])),
        Number(key="augmentation.brightness"),
        Number(key="augmentation.contrast"),
        Number(key="augmentation.saturation"),
        Choice(key="model.initial_weights", choices=("default", "truncated_normal")),
    ),
    epochs=50,
    samples=40,
)
