"""`--gpus-per-trial auto`: how many trials fit on one GPU, by the memory that a real one takes."""

from dataclasses import dataclass
from typing import Any

import torch

from trainables.config import from_tree
from trainables.learner import Learner
from trainables.trial import TrialSpec, dataset_of

MARGIN = 0.9  # of a GPU's memory that is given away; allocators fragment, and other programs come and go
CONTEXT = 600 * 2**20  # bytes of a process's CUDA context, which torch's own figures leave out
PROBED = 8  # configurations at most; the one that takes most counts
STEPS = 3


@dataclass(frozen=True)
class Memory:
    """Bytes of one GPU: what a trial's process takes at its peak, and what there is for trials."""

    trial: int
    free: int


def share(memory: Memory) -> float:
    """The part of a GPU for one trial, as 1/n; a whole one where a trial takes more than half."""
    return 1.0 / max(1, int(MARGIN * memory.free / max(1, memory.trial)))


def measured_share(specs: list[TrialSpec]) -> tuple[float, str]:
    """(part of a GPU for one trial, how it was found), on the Ray that is up; whole GPUs where torch sees none."""
    import ray

    if not any(node["Resources"].get("GPU") for node in ray.nodes() if node["Alive"]):
        return 0.0, "there is no GPU"
    distinct = {str([spec.config[part] for part in ("model", "training", "dataset")]): spec for spec in specs}
    probe = ray.remote(num_gpus=1, max_calls=1)(peak_memory)  # its process ends, and with it what it holds of the GPU
    found = ray.get([probe.remote(spec.to_dict()) for spec in list(distinct.values())[:PROBED]])
    known = [memory for memory in found if memory is not None]
    if not known:
        return 1.0, "torch sees no GPU where trials run, so that nothing can be measured: each has one to itself"
    largest = max(known, key=lambda memory: memory.trial)
    part = share(largest)
    return part, (
        f"a trial takes {largest.trial / 2**30:.2f} of {largest.free / 2**30:.1f} GiB: {round(1 / part)} share a GPU"
    )


def peak_memory(spec: dict[str, Any]) -> Memory | None:
    """Of a few training steps and an evaluation batch of a real trial; None without a GPU."""
    if not torch.cuda.is_available():
        return None
    config, free = from_tree(spec["config"]), torch.cuda.mem_get_info()[0]
    dataset = dataset_of(TrialSpec(**spec), config)
    learner = Learner(config, dataset, spec["seed"], torch.device("cuda"))
    rows = torch.arange(min(config.training.batch_size, len(learner.labels["train"])))
    learner.network.train()
    for number in range(STEPS):
        learner.step(learner.fed(rows, number), learner.task.totals())
    with torch.no_grad():
        next(learner.outputs("test"))
    return Memory(torch.cuda.max_memory_reserved() + CONTEXT, free + CONTEXT)
