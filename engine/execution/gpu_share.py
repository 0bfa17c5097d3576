"""`--gpus-per-trial auto`: how many trials fit on one GPU, from the measured memory of a real trial."""

import contextlib
from dataclasses import dataclass
from typing import Any

import torch

from trainables.config import from_tree
from trainables.fused.programs import Graphs, LaneError
from trainables.training.learner import Learner
from trainables.trial.spec import TrialSpec
from trainables.trial.trial import dataset_of

MARGIN = 0.9  # usable part of a GPU's free memory; allocators fragment, and other programs come and go
CONTEXT = 600 * 2**20  # bytes of a process's CUDA context, which torch's own figures leave out
PROBED = 8  # configurations measured at most; the largest counts
STEPS = 12  # training steps, enough for a CUDA graph capture


@dataclass(frozen=True)
class Memory:
    """Bytes of one GPU: `trial`, the peak of a trial's process, and `free`, available to trials."""

    trial: int
    free: int


def share(memory: Memory, lanes: int = 1) -> float:
    """The part of a GPU, 1/n, for a process that trains `lanes` trials; 1 if it needs more than half."""
    taken = memory.trial + (lanes - 1) * max(0, memory.trial - CONTEXT)
    return 1.0 / max(1, int(MARGIN * memory.free / max(1, taken)))


def measured_share(specs: list[TrialSpec], lanes: int = 1) -> tuple[float, str]:
    """(GPUs for a process of `lanes` trials, how that was found), on the running Ray; 1 if torch sees no GPU, 0 if Ray
    has none."""
    import ray

    if not any(node["Resources"].get("GPU") for node in ray.nodes() if node["Alive"]):
        return 0.0, "there is no GPU"
    distinct = {str([spec.config[part] for part in ("model", "training", "dataset")]): spec for spec in specs}
    probe = ray.remote(num_gpus=1, max_calls=1)(peak_memory)  # max_calls: its process ends and frees its GPU memory
    found = ray.get([probe.remote(spec.to_dict()) for spec in list(distinct.values())[:PROBED]])
    known = [memory for memory in found if memory is not None]
    if not known:
        return 1.0, "torch sees no GPU where trials run, so that nothing can be measured: each has one to itself"
    largest = max(known, key=lambda memory: memory.trial)
    part = share(largest, lanes)
    return part, (
        f"a trial takes {largest.trial / 2**30:.2f} of {largest.free / 2**30:.1f} GiB: "
        f"{lanes * round(1 / part)} share a GPU"
    )


def peak_memory(spec: dict[str, Any]) -> Memory | None:
    """Peak of a real trial's training steps, eager and as a CUDA graph, and evaluation batch; None without a GPU."""
    if not torch.cuda.is_available():
        return None
    config, free = from_tree(spec["config"]), torch.cuda.mem_get_info()[0]
    dataset = dataset_of(TrialSpec(**spec), config)
    learner = Learner(config, dataset, spec["seed"], torch.device("cuda"))
    learner.train_epoch(STEPS)
    graphs = Graphs()
    graphs.enter(0, learner, capture=True)
    with contextlib.suppress(RuntimeError, AssertionError, LaneError):  # uncaptured steps need no more memory
        graphs.train({0: learner}, STEPS)
    with torch.no_grad():
        next(learner.outputs("test"))
    return Memory(torch.cuda.max_memory_reserved() + CONTEXT, free + CONTEXT)
