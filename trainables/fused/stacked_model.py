"""Several networks of one architecture stacked into one: grouped convolutions, batched linear layers.

Each network has a lane: channels k·C to (k + 1)·C − 1 of every activation are lane k's. Each parameter is stacked,
(K, *shape), and a lane's own network holds views of its slices, so that its optimizer, clipping, averaging and
checkpoints work on the stack unchanged. No operation mixes lanes: the values of one, NaN included, change no bit of
another's. Results differ from those of a network trained alone only by the order of sums in convolutions.
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d
from torch.utils._pytree import tree_leaves, tree_map

from trainables.training.rng import RngContext

TOLERANCE = 1e-3  # relative to the largest value, float32: reordered sums differ far less, mixed-up channels far more
MIXES = "it mixes channels, so that lanes would mix"


class UnfusableError(ValueError):
    """The network cannot be stacked; the message says why."""


class StackedModel:
    """Holds `lanes` networks of `template`'s architecture; the parameters of an empty lane are zero."""

    def __init__(self, template: nn.Module, lanes: int) -> None:
        self.lanes = lanes
        self.program = _widened(template, lanes)
        self.layers = {path: layer for path, layer in self.program.named_modules() if isinstance(layer, _Wide)}
        self.drawing = [torch.Generator(next(template.parameters()).device) for _ in range(lanes)]
        self.gradients = [value.grad for value in self.program.parameters() if value.grad is not None]

    def __call__(self, images: Sequence[Tensor]) -> list[Any]:
        """Each lane's outputs for its own images (B, C, H, W), all of one shape."""
        together = torch.cat(list(images), 1).contiguous(memory_format=torch.channels_last)
        outputs = self.program(together)
        return [
            tree_map(lambda tensor, lane=lane: tensor.unflatten(1, (self.lanes, -1))[:, lane], outputs)
            for lane in range(self.lanes)
        ]

    def zero_grad(self) -> None:
        """Zero the gradients in place: the lanes' own are views of them."""
        torch._foreach_zero_(self.gradients)

    def enter(self, lane: int, network: nn.Module) -> None:
        """Copies a network's parameters and buffers into a lane, and replaces them by views of the lane."""
        for path, layer in self.layers.items():
            layer.enter(lane, network.get_submodule(path))

    def leave(self, lane: int, network: nn.Module) -> None:
        """Copies a lane's values back into memory owned by the network, and zeroes the lane."""
        for path, layer in self.layers.items():
            layer.leave(lane, network.get_submodule(path))

    def draw_from(self, seeds: Iterable[int | None]) -> None:
        """Seeds dropout in each lane; None turns it off there."""
        generators = [
            None if seed is None else generator.manual_seed(seed)
            for seed, generator in zip(seeds, self.drawing, strict=True)
        ]
        for layer in self.layers.values():
            if isinstance(layer, _Dropout):
                layer.generators = generators


def check(
    template: nn.Module,
    image_shape: tuple[int, int, int],
    lanes: int = 2,
    batch: int = 4,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> None:
    """Compares two networks in the first and last lane with the same two alone, over a training step without dropout.

    UnfusableError where outputs, gradients or buffers differ in float32 by more than reordered sums do; where NaN in
    one lane changes a bit of the other (operations across channels, as torch.cat or local response normalisation,
    cannot be stacked); and where swapping the two lanes changes a bit. Bits are compared within `autocast`, the
    training precision.
    """
    device = next(template.parameters()).device
    generator = torch.Generator(device).manual_seed(0)
    alone = [_blurred(template, generator) for _ in range(2)]
    images = [_uniform((batch, *image_shape), generator) for _ in alone]
    stacked, places = StackedModel(template, lanes), (0, lanes - 1)
    stacked.program.train()
    stacked.draw_from([None] * lanes)
    seated = dict(zip(places, alone, strict=True))
    try:
        together = _stepped(stacked, seated, images)
    except (RuntimeError, TypeError) as error:
        raise UnfusableError(f"its layers do not take pictures side by side: {error}") from None
    for network, found, own in zip(alone, together, images, strict=True):
        if not near(found, _alone(network, own)):
            raise UnfusableError(MIXES)
    with autocast():
        together = _stepped(stacked, seated, images)
        for lane, other in ((0, 1), (1, 0)):
            poisoned = [torch.full_like(part, torch.nan) if n == lane else part for n, part in enumerate(images)]
            if not all(map(torch.equal, _stepped(stacked, seated, poisoned)[other], together[other])):
                raise UnfusableError(MIXES)
        swapped = _stepped(stacked, dict(zip(places[::-1], alone, strict=True)), images)
    if not all(map(torch.equal, chain(*swapped), chain(*together))):
        raise UnfusableError(f"which of {lanes} lanes it is in would show in its numbers; another --fuse may do")


def _stepped(stacked: StackedModel, networks: Mapping[int, nn.Module], images: Sequence[Tensor]) -> list[list[Tensor]]:
    """Outputs, gradients and buffers of each network after one step in its lane; the networks stay as they are."""
    copies = {lane: copy.deepcopy(network) for lane, network in networks.items()}
    for lane, network in copies.items():
        stacked.enter(lane, network)
    stacked.zero_grad()
    given = dict(zip(copies, images, strict=True))
    outputs = stacked([given.get(lane, torch.zeros_like(images[0])) for lane in range(stacked.lanes)])
    _loss([outputs[lane] for lane in copies]).backward()
    found = [[t.clone() for t in (*tree_leaves(outputs[lane]), *_state(network))] for lane, network in copies.items()]
    for lane, network in copies.items():
        stacked.leave(lane, network)
    return found


def _alone(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Outputs, gradients and buffers of a network after one step by itself."""
    trained, drawing = copy.deepcopy(network), RngContext(images.device)
    before = drawing.own.get_state()
    with drawing:
        outputs = trained(images.contiguous(memory_format=torch.channels_last))
    if not drawing.own.get_state().equal(before):
        raise UnfusableError("it draws random numbers besides dropout's, which lanes would share")
    _loss([outputs]).backward()
    if unused := [name for name, value in trained.named_parameters() if value.grad is None]:
        raise UnfusableError(f"{unused[0]} has no gradient, so it would not be left out of a fused step")
    return [*tree_leaves(outputs), *_state(trained)]


def _state(network: nn.Module) -> list[Tensor]:
    return [*(value.grad for value in network.parameters() if value.grad is not None), *network.buffers()]


def _blurred(template: nn.Module, generator: torch.Generator) -> nn.Module:
    """A copy with random weights near the template's, in training mode without dropout."""
    network = copy.deepcopy(template).train()
    with torch.no_grad():
        for parameter in network.parameters():
            share, shift = (_uniform(parameter.shape, generator) for _ in range(2))
            parameter.mul_(0.9 + 0.2 * share).add_(1e-3 * shift - 5e-4)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network


def _uniform(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.rand(*shape, generator=generator, device=generator.device)


def _loss(outputs: Iterable[Any]) -> Tensor:
    return torch.stack([tensor.float().square().mean() for part in outputs for tensor in tree_leaves(part)]).sum()


def near(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    """Whether tensors differ by no more than reordered sums do."""
    return all(
        mine.shape == other.shape and distance(mine, other) <= TOLERANCE * (1e-3 + float(other.detach().abs().max()))
        for mine, other in zip(ours, theirs, strict=True)
    )


def distance(mine: Tensor, other: Tensor) -> float:
    """The largest absolute difference of an element."""
    return float((mine.detach() - other.detach()).abs().max())


def _widened(template: nn.Module, lanes: int) -> nn.Module:
    """A copy of `template` with every dropout, and every layer with parameters or buffers, in its `_Wide` form."""
    program = copy.deepcopy(template)
    for path, module in template.named_modules():
        kinds = [wide for kind, wide in WIDE.items() if isinstance(module, kind)]
        if kinds:
            program.set_submodule(path, kinds[0](module, lanes))
        elif list(module.parameters(recurse=False)) or list(module.buffers(recurse=False)):
            raise UnfusableError(f"layer {path} ({type(module).__name__}) has no fused form")
    return program


class _Wide(nn.Module):
    """A layer's parameters and buffers for all lanes: each (K, *shape), a lane's slice with the layer's own strides."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: Any, lanes: int) -> None:
        super().__init__()
        self.lanes = lanes
        for name, value in layer._parameters.items():
            self.register_parameter(name, None if value is None else nn.Parameter(_stack(value.detach(), lanes)))
        for stacked in self.parameters():
            stacked.grad = torch.zeros_like(stacked)
        for name, buffer in layer.named_buffers(recurse=False):
            self.register_buffer(name, _stack(buffer, lanes))

    def enter(self, lane: int, layer: nn.Module) -> None:
        for name, stacked in self.named_parameters(recurse=False):
            own = layer.get_parameter(name)
            stacked.data[lane].copy_(own.data)
            own.data = stacked.data[lane]
            assert stacked.grad is not None
            own.grad = stacked.grad[lane]
        for name, buffer in self.named_buffers(recurse=False):
            buffer[lane].copy_(layer.get_buffer(name))
            layer.register_buffer(name, buffer[lane])

    def leave(self, lane: int, layer: nn.Module) -> None:
        for name, stacked in self.named_parameters(recurse=False):
            own = layer.get_parameter(name)
            own.data, own.grad = own.data.clone(), None
            stacked.data[lane].zero_()
        for name, buffer in self.named_buffers(recurse=False):
            layer.register_buffer(name, layer.get_buffer(name).clone())
            buffer[lane].zero_()


def _stack(value: Tensor, lanes: int) -> Tensor:
    size = value.numel()
    return value.new_zeros(lanes * size).as_strided((lanes, *value.shape), (size, *value.stride()))


class _Conv2d(_Wide):
    def __init__(self, layer: nn.Conv2d, lanes: int) -> None:
        super().__init__(layer, lanes)
        if layer.padding_mode != "zeros":
            raise UnfusableError(f"a convolution padded by {layer.padding_mode} has no fused form")
        self.layout: dict[str, Any] = {name: getattr(layer, name) for name in ("stride", "padding", "dilation")}
        self.layout["groups"] = lanes * layer.groups

    def forward(self, images: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.flatten()
        return conv2d(images, self.weight.flatten(0, 1), bias, **self.layout)


class _Linear(_Wide):
    """A batched matrix product, one a lane; (B, K · in) to (B, K · out)."""

    def forward(self, features: Tensor) -> Tensor:
        rows = features.unflatten(1, (self.lanes, -1)).transpose(0, 1)
        found = rows @ self.weight.transpose(1, 2)
        if self.bias is not None:
            # As a matrix product, whose gradient is one too: torch would sum over images in vectors that span lanes.
            found = torch.baddbmm(found, rows.new_ones(*rows.shape[:2], 1), self.bias[:, None])
        return found.transpose(0, 1).flatten(1)


class _BatchNorm(_Wide):
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, layer: nn.BatchNorm1d | nn.BatchNorm2d, lanes: int) -> None:
        super().__init__(layer, lanes)
        if layer.momentum is None or not layer.affine or not layer.track_running_stats:
            raise UnfusableError("batch norm without weights, running statistics or momentum has no fused form")
        self.momentum, self.eps = layer.momentum, layer.eps

    def forward(self, values: Tensor) -> Tensor:
        if self.training:
            self.num_batches_tracked.add_(1)
        mean, var, weight, bias = (
            part.view(-1) for part in (self.running_mean, self.running_var, self.weight, self.bias)
        )
        return batch_norm(values, mean, var, weight, bias, self.training, self.momentum, self.eps)


class _PReLU(_Wide):
    def forward(self, values: Tensor) -> Tensor:
        slopes = self.weight.expand(-1, values.shape[1] // self.lanes).flatten()
        return torch.prelu(values, slopes.to(values.dtype))


class _Dropout(_Wide):
    """Each lane drops at its own rate by its own generator; on a CPU the same units as `nn.Dropout` alone."""

    def __init__(self, layer: nn.Dropout, lanes: int) -> None:
        super().__init__(layer, lanes)
        self.rates = [0.0] * lanes
        self.generators: list[torch.Generator | None] = [None] * lanes

    def enter(self, lane: int, layer: nn.Module) -> None:
        assert isinstance(layer, nn.Dropout)
        self.rates[lane] = layer.p

    def leave(self, lane: int, layer: nn.Module) -> None:
        self.rates[lane] = 0.0

    def forward(self, values: Tensor) -> Tensor:
        if not self.training:
            return values
        kept = [self._kept(part, lane) for lane, part in enumerate(values.detach().chunk(self.lanes, 1))]
        return values * torch.cat(kept, 1)

    def _kept(self, part: Tensor, lane: int) -> Tensor:
        """The mask of one lane: 0 for dropped units, 1 / (1 − rate) for kept ones."""
        channels_last = part.ndim == 4 and part.device.type == "cpu"
        form = torch.channels_last if channels_last else torch.contiguous_format
        noise = torch.empty(part.shape, dtype=part.dtype, device=part.device, memory_format=form)
        rate, generator = self.rates[lane], self.generators[lane]
        if generator is None or not rate:
            return noise.fill_(1)
        return noise.bernoulli_(1 - rate, generator=generator).div_(1 - rate)


WIDE: dict[type[nn.Module], type[_Wide]] = {
    nn.Conv2d: _Conv2d,
    nn.Linear: _Linear,
    nn.BatchNorm1d: _BatchNorm,
    nn.BatchNorm2d: _BatchNorm,
    nn.PReLU: _PReLU,
    nn.Dropout: _Dropout,
}
