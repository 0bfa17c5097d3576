"""Reads state dicts as training programs save them: plain, nested in a checkpoint, with a prefix before every key."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core.errors import first_line

if TYPE_CHECKING:
    from torch import Tensor, nn

NESTED = ("state_dict", "model_state_dict", "model", "model_ema", "state_dict_ema", "teacher")
"""where Lightning, timm, torchvision's references and others keep the weights among epochs and optimizers"""


class WeightsError(ValueError):
    """Pretrained weights that cannot be had or do not fit the network."""


def read_checkpoint(file: str, network: "nn.Module") -> "Mapping[str, Tensor]":
    """The file's weights under the names of `network`; WeightsError for a file that holds none.

    The prefix that most of the network's names stand behind (`module.` of DataParallel, `model.` of a Lightning module,
    `backbone.`) is taken away, and with it what stands outside of it.
    """
    state = _tensors(file, _loaded(file))
    own = network.state_dict()
    ends = {name.rpartition(".")[2] for name in own}
    prefixes = Counter(
        key.removesuffix(name)
        for key in state
        if key.rpartition(".")[2] in ends
        for name in _endings(key)
        if name in own and own[name].shape == state[key].shape
    )
    prefix = max(prefixes, key=lambda each: (prefixes[each], -len(each)), default="")
    if 2 * prefixes[prefix] < len(own):  # another network's, whose names happen to end alike
        return state
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _endings(key: str) -> list[str]:
    """a.b.c, b.c, c"""
    parts = key.split(".")
    return [".".join(parts[start:]) for start in range(len(parts))]


def _loaded(file: str) -> Any:
    try:
        if file.endswith(".safetensors"):
            from safetensors.torch import load_file

            return load_file(file)
        import torch

        return torch.load(file, map_location="cpu", weights_only=True)
    except ImportError:
        raise WeightsError(f"{file}: needs the package safetensors, which comes with the extra `timm`") from None
    except Exception as error:  # whatever a damaged or foreign file makes of zip, pickle and torch
        reason = first_line(error)
        if " " not in reason:  # pickle tells of a byte that it does not know by its number alone
            reason = f"no file that torch.save wrote ({type(error).__name__} {reason})"
        if "Weights only load failed" in reason:
            reason = "it holds more than weights; save them alone: torch.save(MODEL.state_dict(), FILE)"
        raise WeightsError(f"{file} cannot be read as a state dict: {reason}") from error


def _tensors(file: str, found: Any) -> "dict[str, Tensor]":
    import torch

    held = found
    if isinstance(found, Mapping):
        held = next((found[key] for key in NESTED if isinstance(found.get(key), Mapping)), found)
    if not isinstance(held, Mapping) or not all(isinstance(value, torch.Tensor) for value in held.values()):
        raise WeightsError(f"{file} holds no state dict (names to tensors), but {type(found).__name__}")
    return dict(held)
