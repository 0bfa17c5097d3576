"""Experiment 2, face landmarks: optimizers and their switch, schedules, and the ladder of batch norm and dropout.

All train on crops rotated by up to 15 degrees; `dataset.eval_rotation` rotates the validation and test crops too.
"""

from functools import partial
from typing import Any

from search_spaces.factors import Factor
from search_spaces.spaces import Choice, Number
from search_spaces.study import AblationStudy, SearchStudy

ADAM = {"optimizer.name": "adam", "optimizer.lr": 0.01, "optimizer.betas": [0.9, 0.999]}
SGD = {"optimizer.name": "sgd", "optimizer.lr": 0.00001, "optimizer.momentum": 0.9}
ADAM_THEN_SGD = {
    "optimizer.name": "adam_then_sgd",
    "optimizer.lr": 0.01,
    "optimizer.betas": [0.9, 0.999],
    "optimizer.sgd_lr": 0.00001,
    "optimizer.sgd_momentum": 0.9,
}
BASELINE: dict[str, Any] = {**ADAM, "training.batch_size": 64, "augmentation.rotation": 15}
BN_SITES = ["conv1_1", "conv2_2", "conv3_2"]
EPOCHS = 250

ablation = partial(AblationStudy, workload="landmarks", baseline=BASELINE, epochs=EPOCHS, metric="test_error_px")

OPTIMIZERS = ablation(
    name="landmarks/optimizers",
    question="Is SGD after Adam steadier, or lower, than either alone?",
    design="one_at_a_time",
    factors=(
        Factor.of(
            "optimizer",
            {
                "adam": ADAM,
                "sgd": SGD,
                "adam→sgd at 80 %": {**ADAM_THEN_SGD, "optimizer.switch": 0.8},
                "adam→sgd at 87.5 %": {**ADAM_THEN_SGD, "optimizer.switch": 0.875, "training.epochs": 400},
            },
        ),
    ),
    further_metrics=("val_roughness", "val_jumps"),
)

SCHEDULES = ablation(
    name="landmarks/schedules",
    question="Does a falling learning rate end lower than a fixed one?",
    design="one_at_a_time",
    factors=(
        Factor.of(
            "schedule",
            {
                "constant": {"schedule.name": "constant"},
                "step": {"schedule.name": "step", "schedule.step_size": 0.4, "schedule.gamma": 0.5},
                "cosine": {"schedule.name": "cosine"},
            },
        ),
    ),
    further_metrics=("val_roughness", "val_jumps"),
)

LADDER = ablation(
    name="landmarks/ladder",
    question="Does batch norm lower the error, and does dropout close the gap that it opens?",
    design="ladder",
    factors=(
        Factor.switch("bn", {"model.bn_after": BN_SITES}),
        # the source keeps 70 %
        Factor.switch("dropout", {"model.dropout_after": ["flatten"], "model.dropout_rate": 0.3}),
    ),
    further_metrics=("train_points", "val_points"),
)

SEARCH = SearchStudy(
    name="landmarks/search",
    question="Which optimizer, switch epoch, schedule and placements give the smallest error?",
    workload="landmarks",
    baseline={"training.batch_size": 64, "augmentation.rotation": 15},
    space=(
        Choice(key="optimizer.name", choices=("adam", "sgd", "adam_then_sgd")),
        Number(key="optimizer.lr", low=1e-6, high=3e-2, log=True),
        Number(key="optimizer.momentum", when={"optimizer.name": ("sgd",)}),
        Number(key="optimizer.switch", when={"optimizer.name": ("adam_then_sgd",)}),
        Choice(key="schedule.name", choices=("constant", "step", "cosine")),
        Choice(key="model.bn_after", choices=([], BN_SITES)),
        Choice(key="model.dropout_after", choices=([], ["flatten"])),
        Number(key="model.dropout_rate", when={"model.dropout_after": (["flatten"],)}),
    ),
    epochs=EPOCHS,
    samples=40,
    metric="test_error_px",
)
