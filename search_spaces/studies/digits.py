"""Studies on the 8 × 8 digits: small enough for a laptop, real enough to show an effect."""

from search_spaces.factors import Factor
from search_spaces.spaces import Choice, Number
from search_spaces.study import AblationStudy, SearchStudy

LONG_TAIL = AblationStudy(
    name="digits/long-tail",
    question="When training classes are long-tailed, does a class-balanced loss help, a weighted sampler, or both?",
    workload="digits",
    baseline={
        "dataset.imbalance_factor": 50,
        "optimizer.name": "adam",
        "optimizer.lr": 0.001,
        "training.batch_size": 32,
    },
    design="factorial",
    factors=(
        # β = (N − 1) / N, as in the paper, for the hundred or so images of the most frequent digit
        Factor.of(
            "loss", {"ce": {"loss.name": "ce"}, "class_balanced": {"loss.name": "class_balanced", "loss.beta": 0.99}}
        ),
        Factor.values("sampler", "sampler.name", "uniform", "weighted"),
    ),
    epochs=30,
    metric="test_balanced_accuracy",
)

SEARCH = SearchStudy(
    name="digits/search",
    question="Which optimizer settings, placements and schedule suit the small CNN on the digits?",
    workload="digits",
    space=(
        Number(key="optimizer.lr"),
        Number(key="optimizer.momentum"),
        Number(key="optimizer.weight_decay"),
        Choice(key="model.bn_after", choices=([], ["conv1"], ["conv2"], ["conv1", "conv2"])),
        Choice(key="model.dropout_after", choices=([], ["flatten"], ["relu_fc1"])),
        Number(key="model.dropout_rate", when={"model.dropout_after": (["flatten"], ["relu_fc1"])}),
        Choice(key="schedule.name", choices=("constant", "step", "cosine")),
        Number(key="schedule.gamma", when={"schedule.name": ("step",)}),
        Number(key="schedule.warmup"),
    ),
    epochs=20,
    samples=40,
)
