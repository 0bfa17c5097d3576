"""Activations, dead units, gradients, weights and updates of each layer, to see why a network does not learn.

Switched on by `diagnostics`; measured once an epoch on the same training images, on a copy, so that none of the trial's
own numbers changes.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from trainables.models.hooks import watch_outputs
from trainables.training.learner import Learner
from trainables.training.rng import RngContext

PROBE_ROWS = 64


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """A copy of every parameter, to measure an epoch's update against."""
    return {name: value.detach().clone() for name, value in network.named_parameters()}


def layer_rows(learner: Learner, before: dict[str, Tensor]) -> list[dict[str, Any]]:
    """One row per layer: `mean`, `std` and `dead` (share of units that are zero for every probe image) of its output,
    `gradient_norm` and `weight_norm` of its own parameters, `update_ratio` = norm of the epoch's change over `before`'s
    norm. None where a layer has no parameters or its output is no tensor."""
    network = copy.deepcopy(learner.network).train()
    leaves = {name: module for name, module in network.named_modules() if not list(module.children())}
    seen: dict[str, Tensor] = {}

    def see(name: str, output: object) -> None:
        if isinstance(output, Tensor):
            seen[name] = output.detach().float()

    with RngContext(learner.device), watch_outputs(leaves, see):
        rows = torch.arange(min(PROBE_ROWS, len(learner.labels["train"])), device=learner.device)
        batch = learner.data.for_evaluation("train", rows)
        terms = learner.task.criterion(network(batch.images), batch)
        torch.stack([term.value for term in terms.values()]).sum().backward()
    return [
        {"epoch": learner.epoch, "layer": name, "kind": type(module).__name__, **_activation(seen.get(name))}
        | _parameters(name, module, before)
        for name, module in leaves.items()
    ]


def _activation(output: Tensor | None) -> dict[str, float | None]:
    if output is None:
        return {"mean": None, "std": None, "dead": None}
    dead = (output == 0).flatten(2).all(2).all(0) if output.ndim > 2 else (output == 0).all(0)
    return {"mean": float(output.mean()), "std": float(output.std()), "dead": float(dead.float().mean())}


def _parameters(name: str, module: nn.Module, before: dict[str, Tensor]) -> dict[str, float | None]:
    own = {f"{name}.{key}": value for key, value in module.named_parameters(recurse=False)}
    if not own:
        return {"gradient_norm": None, "weight_norm": None, "update_ratio": None}
    gradients = [value.grad for value in own.values() if value.grad is not None]
    old = _norm([before[key] for key in own])
    change = _norm([value.detach() - before[key] for key, value in own.items()])
    return {
        "gradient_norm": _norm(gradients) if gradients else None,
        "weight_norm": _norm([value.detach() for value in own.values()]),
        "update_ratio": change / old if old else None,
    }


def _norm(tensors: list[Tensor]) -> float:
    return float(torch.stack([tensor.norm() for tensor in tensors]).norm())
