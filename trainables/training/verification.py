"""Checks in each trial that its settings took effect; one that did nothing is an error.

`after_first_epoch` probes a copy of the network with real training images; `at_end` checks what the trial recorded.
Both return one sentence per fault; an empty list means that the trial is verified.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from datasets.base import central_crop
from trainables.models.build import build_network
from trainables.models.hooks import watch_outputs
from trainables.models.placement import Placed
from trainables.training.learner import Learner, batches
from trainables.training.rng import RngContext

PROBE_ROWS = 32
CLIP_SLACK = 1.001  # float32 rounding of a norm
PROBE_VALUES = 2**16  # of a placed layer's test input: enough for dropout at the lowest rate to drop some


def after_first_epoch(learner: Learner, initial: dict[str, Tensor]) -> list[str]:
    """Faults of placement, precision, inputs, loss weights and optimizer; `initial`: the initial parameters."""
    rows = torch.arange(min(PROBE_ROWS, len(learner.labels["train"])), device=learner.device)
    with RngContext(learner.device):
        probe = _probe(learner, rows)
    return [
        *_placement(learner, probe),
        *_outputs(learner, probe["outputs"]),
        *_inputs(learner, rows),
        *_loss(learner, rows),
        *_optimizer(learner, initial),
        *_clipped_steps(learner),
        *_clipped(learner),
        *_averaged(learner),
        *_initial_weights(learner, initial),
    ]


def at_end(learner: Learner, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Faults of the learning-rate trace and of what the sampler drew, over the recorded epochs."""
    config, faults = learner.config, []
    for row in rows:
        expected, lr = config.optimizer.lr_at(row["epoch"], config.training.epochs, config.schedule), row["lr"]
        if lr != expected:
            faults.append(f"schedule.name: {config.schedule.name} gives {expected} in epoch {row['epoch']}, not {lr}")
    counts = torch.tensor(learner.info.counts["train"], dtype=torch.float64)
    share = torch.tensor(config.sampler.expected(learner.info.counts["train"]), dtype=torch.float64)
    drawn = learner.sampled.double()
    slack = 6 * (drawn.sum() * share * (1 - share)).sqrt() + 1  # six standard deviations of a binomial
    if ((drawn - drawn.sum() * share).abs() > slack).any():
        faults.append(
            f"sampler.name: {config.sampler.name} drew {drawn.tolist()} rows a class, expected shares {share.tolist()}"
        )
    if config.sampler.name == "uniform" and not torch.equal(drawn, counts * learner.epoch):
        faults.append(
            f"sampler.name: uniform drew {drawn.tolist()} rows a class in {learner.epoch} epochs of {counts.tolist()}"
        )
    return faults + _clipped(learner)


def notes(learner: Learner) -> list[str]:
    """Settings that had no effect within the budget, which is no fault."""
    config = learner.config
    found = config.optimizer.not_reached(config.training.epochs, config.schedule)
    clip, ema = learner.clip, config.training.ema
    if clip is not None and (norm := float(clip.largest[0])) <= clip.limit:
        found.append(f"training.clip_norm {clip.limit:g}: not reached, the largest gradient norm was {norm:.3g}")
    if learner.average is not None and (steps := int(learner.average.n_averaged)) < (span := 1 / (1 - ema)):
        found.append(f"training.ema {ema:g}: averages over about {span:.0f} steps, of which there were {steps}")
    return found


def _probe(learner: Learner, rows: Tensor) -> dict[str, Any]:
    """The outputs of a copy of the network in training mode, and each placed layer's (input, output) for a ramp."""
    network = copy.deepcopy(learner.network).train()
    sites = [module for module in network.modules() if isinstance(module, Placed)]
    placed = {
        f"{site.site}.{name}": layer for site in sites for name, layer in site.named_children() if name != "layer"
    }
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def see(name: str, output: Tensor) -> None:
        # Not the activations: they are all zero or NaN where training failed, which is no fault of the setting.
        shape = output.shape[1:]
        rows = max(2, PROBE_VALUES // shape.numel())
        ramp = torch.linspace(1, 2, rows * shape.numel(), device=output.device).reshape(rows, *shape)
        seen[name] = (ramp, placed[name].forward(ramp))

    with torch.no_grad(), learner.autocast(), watch_outputs(placed, see):
        return {"placed": seen, "outputs": network(learner.inputs("train", rows))}


def _placement(learner: Learner, probe: dict[str, Any]) -> Iterator[str]:
    model = learner.config.model
    for site in model.bn_after:
        taken, given = probe["placed"].get(f"{site}.bn", (None, None))
        if given is None or torch.equal(taken, given):
            yield f"model.bn_after: no batch norm worked after {site}"
    for site in model.dropout_after:
        _, given = probe["placed"].get(f"{site}.dropout", (None, None))
        if given is None or not (given == 0).any():
            yield f"model.dropout_after: no unit was dropped after {site}"


def _outputs(learner: Learner, outputs: Any) -> Iterator[str]:
    """Faults of a training-mode pass: precision, auxiliary heads, the ReLU behind the last layer."""
    model = learner.config.model
    first = outputs[0] if isinstance(outputs, tuple) else outputs
    # A network of the user's own may return what precision it likes.
    if learner.config.training.precision == "bf16" and first.dtype != torch.bfloat16 and not model.own_references:
        yield f"training.precision: bf16 was asked for, the network computes in {first.dtype}"
    if model.auxiliary_weight and not (isinstance(outputs, tuple) and outputs[1]):
        yield f"model.name: {model.name} trained without its auxiliary heads"
    if model.relu_on_output and (first < 0).any():
        yield "model.relu_on_output: the last layer gives values below 0"


def _inputs(learner: Learner, rows: Tensor) -> Iterator[str]:
    plain = learner.inputs("train", rows)
    if not learner.config.augmentation.is_off and torch.equal(plain, learner.inputs("train", rows, 0)):
        yield "augmentation: no training picture was changed"
    raw = central_crop(learner.data.splits["train"].images[rows], learner.info.crop).float() / 255
    if learner.config.training.normalize and torch.equal(plain, raw):
        yield "training.normalize: the pictures reach the network as they were"
    if learner.config.training.mixup and learner.data.for_training(learner.draw_batch(rows, 0)).second is None:
        yield "training.mixup: the pictures were not mixed"


def _loss(learner: Learner, rows: Tensor) -> list[str]:
    """Class weights that differ must change the criterion of a batch that holds several classes."""
    loss: Any = learner.config.loss
    task: Any = learner.task
    weights = loss.class_weights(learner.info.counts["train"])
    targets = learner.labels["train"][rows]
    held = [weights[label] for label in targets.tolist()] if weights else [1.0]
    if max(held) < 1.001 * min(held):  # less than rounding shows
        return []
    # Not the network's outputs: once training has converged, their loss is 0 whatever the weights.
    logits = torch.arange(len(rows) * learner.task.classes, device=rows.device).reshape(len(rows), -1).sin()
    weighted, plain = (
        terms[0] / terms[1] for terms in (task.class_terms(logits, targets), loss.terms(logits, targets, None))
    )
    return ["loss.name: the class weights did not reach the loss"] if torch.equal(weighted, plain) else []


def _optimizer(learner: Learner, initial: dict[str, Tensor]) -> list[str]:
    config, network = learner.config, learner.network
    moved = {name for name, value in network.named_parameters() if not torch.equal(value.detach().cpu(), initial[name])}
    trained = {name for name, value in network.named_parameters() if value.requires_grad}
    faults = [f"model.trainable: {name} is frozen, and changed" for name in sorted(moved - trained)[:1]]
    if config.model.trainable != "all" and len(trained) == len(initial):
        faults.append(f"model.trainable: {config.model.trainable} was asked for, and no layer is frozen")
    if not moved & trained:
        faults.append(f"optimizer.name: {config.optimizer.name} moved no parameter")
    return faults + _rates(learner)


def _rates(learner: Learner) -> list[str]:
    """The layers before the output layers must have the rate that they were given."""
    config, groups = learner.config, learner.optimizer.param_groups
    if config.optimizer.lr_backbone is None:
        return []
    expected = config.optimizer.lr_backbone_at(learner.epoch, config.training.epochs, config.schedule)
    rates = {group["lr"] for group in groups if group.get("backbone")}
    return [] if rates == {expected} else [f"optimizer.lr_backbone: gives {expected}, the optimizer used {rates}"]


def _clipped(learner: Learner) -> list[str]:
    clip = learner.clip
    if clip is not None and (norm := float(clip.largest[1])) > CLIP_SLACK * clip.limit:  # false for NaN: it diverged
        return [f"training.clip_norm: {clip.limit:g} was asked for, a gradient of norm {norm:g} moved the weights"]
    return []


def _clipped_steps(learner: Learner) -> list[str]:
    clipped, steps = 0 if learner.clip is None else learner.clip.steps, _steps(learner)
    wanted = learner.config.training.clip_norm
    return [f"training.clip_norm: {clipped} of {steps} steps were clipped"] if wanted and clipped != steps else []


def _averaged(learner: Learner) -> list[str]:
    """Faults of the averaged weights: steps left out, another decay, or evaluation without them."""
    ema, average, steps = learner.config.training.ema, learner.average, _steps(learner)
    if not ema or average is None:
        return ["training.ema: no average of the weights was kept"] if ema else []
    faults = []
    if average.n_averaged != steps:
        faults.append(f"training.ema: {int(average.n_averaged)} of {steps} steps were averaged")
    # Not whether average and network differ: they are equal once training has converged.
    probe, ones = copy.deepcopy(average), copy.deepcopy(learner.network)
    for value, network in enumerate((probe, ones)):
        for parameter in network.parameters():
            parameter.data.fill_(value)
    probe.n_averaged.fill_(1)  # 0 would copy
    probe.update_parameters(ones)
    shares = {float(parameter.detach().flatten()[0]) for parameter in probe.parameters()}
    if not all(math.isclose(share, 1 - ema, rel_tol=1e-3) for share in shares):
        faults.append(f"training.ema: {ema:g} was asked for, the average keeps {1 - max(shares):g} of itself a step")
    passes: list[str] = []
    with torch.no_grad(), watch_outputs({"average": average.module}, lambda name, _: passes.append(name)):
        next(learner.outputs("train", 2))
    return faults if passes else [*faults, "training.ema: evaluation does not use the averaged weights"]


def _steps(learner: Learner) -> int:
    """Steps in one epoch of the rows that were drawn."""
    return len(batches(torch.arange(int(learner.sampled.sum())), learner.config.training.batch_size))


def _initial_weights(learner: Learner, initial: dict[str, Tensor]) -> list[str]:
    """Truncated-normal layers must start with deviation 0.01, pretrained ones other than a fresh network's."""
    model = learner.config.model
    large = {name: value for name, value in initial.items() if value.ndim > 1 and value.numel() >= 1000}
    if getattr(model, "pretrained", False):
        scratch = learner.config.model_copy(update={"model": model.model_copy(update={"pretrained": False})})
        fresh = build_network(scratch, learner.info, learner.seed).state_dict()
        same = [name for name, value in large.items() if name in fresh and torch.equal(fresh[name], value)]
        return ["model.pretrained: every layer started as a fresh network's"] if len(same) == len(large) else []
    if model.initial_weights == "truncated_normal":
        modules = learner.network.named_modules()
        drawn = {f"{name}.weight" for name, module in modules if isinstance(module, nn.Conv2d | nn.Linear)}
        wrong = [name for name, value in large.items() if name in drawn and not 0.008 < float(value.std()) < 0.012]
        return [f"model.initial_weights: {name} did not start with deviation 0.01" for name in wrong]
    return []
