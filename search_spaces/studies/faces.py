"""Experiment 1, face detection with landmarks: class weights, loss weights, places of batch norm and dropout.

The baseline of the weight studies has all five batch norms and both dropouts on.
"""

from functools import partial
from typing import Any

from search_spaces.factors import Factor
from search_spaces.spaces import Choice, Number
from search_spaces.study import AblationStudy, SearchStudy

BASELINE: dict[str, Any] = {
    "optimizer.name": "adam",
    "optimizer.lr": 0.01,
    "optimizer.betas": [0.9, 0.99],
    "training.batch_size": 64,
    "loss.name": "face",
    "loss.class_weight": 2.0,
    "loss.points_weight": 1.0,
}
BN_SITES = ["conv1_1", "conv2_1", "conv2_2", "conv3_1", "conv3_2"]
DROPOUT_SITES = ["flatten", "flatten_cls"]
FIVE_BN = {"model.bn_after": BN_SITES}
DROPOUT = {"model.dropout_after": DROPOUT_SITES, "model.dropout_rate": 0.5}
PER_CLASS = ("test_accuracy_face", "test_accuracy_nonface")

ablation = partial(AblationStudy, workload="faces", baseline={**BASELINE, **FIVE_BN, **DROPOUT}, epochs=100)

CLASS_WEIGHTS = ablation(
    name="faces/class-weights",
    question="Does class weighting make the validation loss curve stable?",
    design="one_at_a_time",
    factors=(Factor.values("class weights", "loss.weighting", "none", "inverse", "as_listed"),),
    metric="test_balanced_accuracy",
    further_metrics=("val_roughness", "val_jumps", *PER_CLASS, "test_error_px"),
    references={
        "baseline": "valid 98.94 % (face 97.43, non-face 99.56), valid loss 0.8017; its weights are not stated"
    },
)

LOSS_WEIGHTS = ablation(
    name="faces/loss-weights",
    question="How should the two tasks be weighted against each other?",
    design="one_at_a_time",
    factors=(
        Factor.of(
            "loss weights",
            {
                f"{w_cls}:{w_pts}": {"loss.class_weight": float(w_cls), "loss.points_weight": float(w_pts)}
                for w_cls, w_pts in ((2, 1), (1, 1), (1, 2), (4, 1))
            },
        ),
    ),
    further_metrics=(*PER_CLASS, "test_error_px"),
)

BN_DROPOUT = ablation(
    name="faces/bn-dropout",
    question="What do batch norm and dropout each add, and do they help each other?",
    baseline=BASELINE,
    design="factorial",
    factors=(
        Factor.of("bn", {"none": {}, "five": FIVE_BN}),
        Factor.of("dropout", {"none": {}, "0.5": DROPOUT}),
    ),
    further_metrics=(*PER_CLASS, "test_error_px"),
)

SEARCH = SearchStudy(
    name="faces/search",
    question="Which learning rate, weights, placements and schedule suit the face network?",
    workload="faces",
    baseline=BASELINE,
    space=(
        Number(key="optimizer.lr"),
        Number(key="loss.class_weight"),
        Number(key="loss.points_weight"),
        Choice(key="loss.weighting", choices=("none", "inverse")),
        Choice(key="model.bn_after", choices=([], BN_SITES, ["conv1_1", "conv2_2", "conv3_2"])),
        Choice(key="model.dropout_after", choices=([], DROPOUT_SITES)),
        Number(key="model.dropout_rate", when={"model.dropout_after": (DROPOUT_SITES,)}),
        Choice(key="schedule.name", choices=("constant", "step", "cosine")),
        Number(key="schedule.gamma", when={"schedule.name": ("step",)}),
    ),
    epochs=60,
    samples=50,
)
