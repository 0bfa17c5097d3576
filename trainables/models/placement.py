"""Batch norm and dropout put after named layers of any network.

A placed layer replaces the module it follows by a `Placed` sequence, so the network stays plain modules (it exports,
and `state_dict` keys say what was put where). The order is layer, batch norm, dropout.
"""

import json
from collections import Counter, OrderedDict
from difflib import get_close_matches

import torch
from torch import Tensor, nn

from core.component import did_you_mean
from core.errors import FaultError
from core.text import word
from trainables.models.base import Model
from trainables.models.hooks import watch_outputs

SHOWN, NEAREST = 20, 5  # names of a fault: of a network of at most so many layers, of a larger one


class PlacementError(FaultError, ValueError):
    """Batch norm or dropout cannot be placed after these layers."""


class Placed(nn.Sequential):
    """A layer and what was placed after it, as `layer`, `bn`, `dropout`; `site` is its name in the bare network."""

    def __init__(self, site: str, layers: OrderedDict[str, nn.Module]) -> None:
        super().__init__(layers)
        self.site = site


def place(network: nn.Module, settings: Model, image_shape: tuple[int, int, int]) -> None:
    """Put batch norm and dropout where `settings` says, in place; PlacementError names every wrong layer."""
    sites = list(dict.fromkeys((*settings.bn_after, *settings.dropout_after)))
    if not sites:
        return
    shapes, calls = trace(network, image_shape)
    asked = [("model.bn_after", site) for site in settings.bn_after]
    asked += [("model.dropout_after", site) for site in settings.dropout_after]
    command = _listing(settings, image_shape)
    if found := [fault for key, site in asked if (fault := _fault(key, site, shapes, calls, command))]:
        raise PlacementError(found)
    for site in sorted(sites, key=lambda name: -name.count(".")):  # inner ones first: a placed container changes paths
        layers = OrderedDict(layer=network.get_submodule(site))
        if site in settings.bn_after:
            shape = shapes[site]
            layers["bn"] = nn.BatchNorm2d(shape[1]) if len(shape) == 4 else nn.BatchNorm1d(shape[1])
        if site in settings.dropout_after:
            layers["dropout"] = nn.Dropout(settings.dropout_rate)
        parent, _, child = site.rpartition(".")
        setattr(network.get_submodule(parent), child, Placed(site, layers))


def trace(network: nn.Module, image_shape: tuple[int, int, int]) -> tuple[dict[str, torch.Size], Counter[str]]:
    """Output shape and number of calls of every named module in one evaluation pass of two blank images."""
    shapes: dict[str, torch.Size] = {}
    calls: Counter[str] = Counter()

    def see(name: str, output: object) -> None:
        calls[name] += 1
        if isinstance(output, Tensor):
            shapes[name] = output.shape

    training = network.training
    device = next(network.parameters()).device
    with torch.no_grad(), watch_outputs({name: m for name, m in network.named_modules() if name}, see):
        network.eval()(torch.zeros(2, *image_shape, device=device))
    network.train(training)
    return shapes, calls


def _listing(settings: Model, image_shape: tuple[int, int, int]) -> str:
    """The command that lists the layers of a network."""
    placed = {"name", "bn_after", "dropout_after", "dropout_rate", "initial_weights", "pretrained", "weights_file"}
    own = settings.model_dump(mode="json", exclude=placed, exclude_defaults=True)
    given = "".join(f" --set {word(f'model.{key}={json.dumps(value)}')}" for key, value in own.items())
    return f"python run_search.py layers {word(settings.name)} --image-size {max(image_shape[1:])}{given}"


def _nearest(site: str, names: list[str], command: str) -> str:
    """All names of a small network; of a large one, whose names would fill the screen, the nearest."""
    if len(names) <= SHOWN:
        return did_you_mean(site, names)
    near = get_close_matches(site, names, n=NEAREST, cutoff=0.3) or names[:NEAREST]
    return f"{did_you_mean(site, near)}; {len(names) - len(near)} more: `{command}`"


def _fault(key: str, site: str, shapes: dict[str, torch.Size], calls: Counter[str], command: str) -> str | None:
    if site not in shapes:
        return f"{key}: no layer {site!r} in this network; {_nearest(site, list(shapes), command)}"
    if calls[site] > 1:
        return f"{key}: layer {site!r} is used {calls[site]} times in one pass, so nothing can be placed after it"
    if key == "model.bn_after" and len(shapes[site]) not in (2, 4):
        return f"{key}: layer {site!r} gives {len(shapes[site])} dimensions; batch norm needs (N, C) or (N, C, H, W)"
    return None
