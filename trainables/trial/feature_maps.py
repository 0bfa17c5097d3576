"""Finds the stages of any network, and takes their feature maps for one image.

A stage is a run of layers whose outputs have one size. It is found by running the network once and not by the names of
its layers, so that a new network has stages without saying so.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from trainables.models.hooks import watch_outputs
from trainables.models.placement import Placed

STAGES = 8  # at most; of a deeper network some are left out, evenly
CHANNELS = 64  # of one stage at most

Run = Callable[[], object]
"""one forward pass of the network, in evaluation mode"""


@dataclass(frozen=True)
class Stage:
    """`layer`, which names the stage, is its last convolution or block of them. The maps are the output of `shown`, the
    batch norm or activation after it, (channels, height, width)."""

    layer: str
    shown: str
    channels: int
    height: int
    width: int


def stages(network: nn.Module, run: Run) -> list[Stage]:
    """The network's stages in the order of the forward pass: a new one begins where the size of the maps changes, and
    where blocks follow single layers, as after the stem of a ResNet. Stages without a convolution (a pool, a global
    mean) and maps of 1 × 1 are left out."""
    shapes = _shapes(network, run)
    found: list[Stage] = []
    size: tuple[int, ...] = ()
    named = in_blocks = False  # whether the present stage has a convolution yet, whether it has a block
    for path in sorted(_units(network, shapes), key=list(shapes).index):
        module = network.get_submodule(path)
        channels, *now = shapes[path]
        if tuple(now) != size or (_is_block(module) and named and not in_blocks):
            found.append(Stage("", path, channels, *now))
            size, named, in_blocks = tuple(now), False, False
        in_blocks |= _is_block(module)
        layer = path if any(isinstance(part, nn.Conv2d) for part in module.modules()) else found[-1].layer
        named |= bool(layer)
        found[-1] = replace(found[-1], layer=layer, shown=path, channels=channels)
    kept = [stage for stage in found if stage.layer and stage.height * stage.width > 1]
    return [kept[i * (len(kept) - 1) // (STAGES - 1)] for i in range(STAGES)] if len(kept) > STAGES else kept


def _shapes(network: nn.Module, run: Run) -> dict[str, tuple[int, ...]]:
    """(channels, height, width) of the maps that each module gave, by its name, in the order of its last call."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, output: Tensor) -> None:
        shapes.pop(name, None)
        shapes[name] = tuple(output.shape[1:])

    _run(network, [name for name, _ in network.named_modules() if name], note, run)
    return shapes


def _units(network: nn.Module, shapes: dict[str, tuple[int, ...]], prefix: str = "") -> Iterator[str]:
    """The network's children that give maps; a sequence whose parts differ in size is replaced by its parts."""
    for name, child in network.named_children():
        path = f"{prefix}{name}"
        inner = {shapes[f"{path}.{part}"][1:] for part, _ in child.named_children() if f"{path}.{part}" in shapes}
        if isinstance(child, nn.Sequential) and not isinstance(child, Placed) and len(inner) > 1:
            yield from _units(child, shapes, f"{path}.")
        elif path in shapes:
            yield path


def _is_block(module: nn.Module) -> bool:
    layer = module.layer if isinstance(module, Placed) else module
    return isinstance(layer, nn.Module) and bool(list(layer.children()))


def maps_of(network: nn.Module, found: list[Stage], run: Run) -> list[Tensor]:
    """Each stage's feature maps in a pass over one image, (channels ≤ 64, height, width) float32 on the CPU."""
    kept: dict[str, Tensor] = {}

    def keep(name: str, output: Tensor) -> None:
        kept[name] = output[0, :CHANNELS].detach().float().cpu().clone()  # later layers may work in place

    _run(network, [stage.shown for stage in found], keep, run)
    return [kept[stage.shown] for stage in found]


@torch.no_grad()
def _run(network: nn.Module, names: list[str], see: Callable[[str, Tensor], None], run: Run) -> None:
    """Run, and call `see` with every output of these modules that is maps, (1, channels, height, width)."""

    def see_maps(name: str, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            see(name, output)

    with watch_outputs({name: network.get_submodule(name) for name in names}, see_maps):
        run()


def levels(maps: Tensor) -> tuple[Tensor, int]:
    """(maps (N, H, W), each scaled from its own minimum and maximum to 0 … 254, uint8; how many are constant).

    A constant map, as of a dead channel, becomes 0.
    """
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    constant = (high == low).flatten()
    share = torch.where(high > low, (maps - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny), 0.0)
    return (share * 254).round().to(torch.uint8), int(constant.sum())


def first_filters(network: nn.Module) -> Tensor | None:
    """Weights of the first convolution as images, (N ≤ 64, 3 or 1, kH, kW) uint8: 128 is 0, and all filters share one
    scale, so that one with weights near 0 looks flat. Channels are averaged unless there are three."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            weights = module.weight.detach()[:CHANNELS].float().cpu()
            if weights.shape[1] != 3:
                weights = weights.mean(1, keepdim=True)
            return (128 + 127 * weights / weights.abs().amax().clamp(min=1e-12)).round().to(torch.uint8)
    return None
