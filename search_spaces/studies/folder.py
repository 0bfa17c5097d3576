"""Studies on any class-folder set: `--set dataset.path=DIR`."""

from search_spaces.factors import Factor
from search_spaces.spaces import Choice, Number
from search_spaces.study import AblationStudy, SearchStudy

ABLATION = AblationStudy(
    name="folder/ablation",
    question="Of the usual ingredients, which one does this data set miss most when it is left out?",
    workload="folder",
    baseline={"optimizer.name": "sgd", "optimizer.lr": 0.02},
    design="leave_one_out",
    factors=(
        Factor.switch("batch_norm", {"model.bn_after": ["conv1", "conv2", "conv3"]}),
        Factor.of("momentum", {"off": {}, "0.9": {"optimizer.momentum": 0.9}}),
        Factor.of("weight_decay", {"off": {}, "5e-4": {"optimizer.weight_decay": 5e-4}}),
        Factor.values("schedule", "schedule.name", "constant", "cosine"),
        Factor.switch("augmentation", {"augmentation.flip": True, "augmentation.crop_scale": [0.5, 1.0]}),
        Factor.of("dropout", {"off": {}, "0.5": {"model.dropout_after": ["relu_fc1"], "model.dropout_rate": 0.5}}),
    ),
    epochs=30,
)

SEARCH = SearchStudy(
    name="folder/search",
    question="Which optimizer, schedule, augmentation and placements suit this data set?",
    workload="folder",
    space=(
        Choice(key="optimizer.name", choices=("sgd", "adam")),
        Number(key="optimizer.lr", low=1e-4, high=1e-1, log=True),
        Number(key="optimizer.momentum", when={"optimizer.name": ("sgd",)}),
        Number(key="optimizer.weight_decay"),
        Choice(key="schedule.name", choices=("constant", "multistep", "cosine")),
        Choice(key="augmentation.flip", choices=(False, True)),
        Choice(key="augmentation.crop_scale", choices=(None, [0.5, 1.0], [0.2, 1.0])),
        Choice(key="model.bn_after", choices=([], ["conv1", "conv2", "conv3"])),
        Choice(key="model.dropout_after", choices=([], ["relu_fc1"])),
        Number(key="model.dropout_rate", when={"model.dropout_after": (["relu_fc1"],)}),
        Number(key="training.batch_size", kind="int"),
    ),
    epochs=30,
    samples=40,
)
