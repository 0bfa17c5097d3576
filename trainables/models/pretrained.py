"""Networks that ImageNet weights exist for: torchvision's download by default, or a local state dict of the same keys.

The images stay normalised by the training set's own mean and deviation, as without pretraining: torchvision's
`transform_input` and preprocessing presets are not used.
"""

import os
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Self
from urllib.request import Request, urlopen

from pydantic import AfterValidator, model_validator

from core.component import Needs
from core.value_words import listed
from trainables.models.base import Model
from trainables.models.libraries.checkpoint_formats import WeightsError, read_checkpoint
from trainables.models.libraries.names import libraries_with, nearest, timm_names, torchvision_names

if TYPE_CHECKING:
    from torch import Tensor, nn

SOURCE = "https://download.pytorch.org/models/"
FILES = {
    "resnet18": "resnet18-f37072fd.pth",
    "resnet34": "resnet34-b627a593.pth",
    "resnet50": "resnet50-0676ba61.pth",
    "vgg19": "vgg19-dcbb9e9d.pth",
    "vgg19_bn": "vgg19_bn-c79401a0.pth",
    "googlenet": "googlenet-1378be20.pth",
}
"""torchvision's IMAGENET1K_V1 weights by architecture; the name holds the content's hash"""
SHOWN = 10  # keys of a kind that an error lists


def _local(files: dict[str, str]) -> dict[str, str]:
    """Known architectures only; paths made absolute, as a trial runs in a directory of its own."""
    for architecture in files:
        if architecture not in FILES and not libraries_with(architecture):
            known = {*FILES, *torchvision_names(), *timm_names()}
            raise ValueError(f"unknown architecture {architecture!r}; {nearest(architecture, known)}")
    return {architecture: str(Path(file).expanduser().absolute()) for architecture, file in files.items()}


class PretrainedModel(Model):
    """`weights_file` maps an architecture to a local file; only the file that this network loads is kept."""

    stem_layer: ClassVar[str] = ""
    """the convolution that sees the images: its weights depend on their channels"""
    untrained: ClassVar[tuple[str, ...]] = ()
    """modules that no pretraining reaches; a file may hold them or not"""
    library: ClassVar[str] = "torchvision"
    """which publishes the weights"""

    pretrained: bool = False
    """start from ImageNet weights: torchvision's, which are downloaded once, or those of `weights_file`"""
    weights_file: Annotated[dict[str, str], AfterValidator(_local), Needs("model.pretrained")] = {}
    """local state dicts by architecture, given as `model.weights_file.ARCHITECTURE=FILE`"""

    @property
    def architecture(self) -> str:
        """The key in `FILES` of the weights that fit this network."""
        return self.name

    @model_validator(mode="after")
    def _files_in_effect(self) -> Self:
        kept = {name: file for name, file in self.weights_file.items() if self.pretrained and name == self.architecture}
        object.__setattr__(self, "weights_file", kept)
        return self

    def stems(self, network: "nn.Module") -> tuple[str, ...]:
        """The layers of the bare network that see the images."""
        return (self.stem_layer,)

    def weights_url(self) -> str:
        """Where the published weights come from."""
        return SOURCE + FILES[self.architecture]

    def cache(self) -> Path:
        """The folder that the library keeps its downloads in."""
        return cache_directory()

    def cached(self) -> bool:
        """Whether the published weights are on this machine."""
        return (self.cache() / self.weights_url().rpartition("/")[2]).is_file()

    def downloaded(self, network: "nn.Module") -> "Mapping[str, Tensor]":
        """The published weights for a network that `bare` built, by their library's own API."""
        from torchvision.models import get_model_weights

        return get_model_weights(self.architecture)["IMAGENET1K_V1"].get_state_dict(progress=False, check_hash=True)

    def adapted(self, network: "nn.Module", state: "Mapping[str, Tensor]") -> "Mapping[str, Tensor]":
        """A state dict in the form that a network of this size takes."""
        return state

    def missing_weights(self) -> str | None:
        if not self.pretrained:
            return None
        name = self.architecture
        if name in self.weights_file:
            file = self.weights_file[name]
            return None if Path(file).is_file() else f"model.weights_file.{name}: no file {file}"
        if self.cached() or reachable(self.weights_url()):
            return None
        return (
            f"model.pretrained: the ImageNet weights of {name} are not in {self.cache()} and "
            f"{self.weights_url().rpartition('/')[0]}/ does not answer; let {self.library} download them where there "
            "is internet, or give a file: "
            f"--set model.weights_file.{name}=FILE"
        )

    def load_weights(self, network: "nn.Module") -> list[str]:
        if not self.pretrained:
            return []
        name = self.architecture
        source = self.weights_file.get(name, self.weights_url().rpartition("/")[2])
        state = read_checkpoint(source, network) if name in self.weights_file else self._fetched(network)
        try:
            heads = self.heads(network)
            return load(network, self.adapted(network, state), {*self.stems(network), *heads}, self.untrained, heads)
        except WeightsError as error:
            raise WeightsError(f"{source} does not hold the weights of {name}: {error}") from None

    def _fetched(self, network: "nn.Module") -> "Mapping[str, Tensor]":
        try:
            return self.downloaded(network)
        except (OSError, RuntimeError) as error:
            raise WeightsError(
                f"model.pretrained: the download of {self.architecture}'s weights failed ({error}); "
                f"give a file: --set model.weights_file.{self.architecture}=FILE"
            ) from error


def load(
    network: "nn.Module",
    state: "Mapping[str, Tensor]",
    may_differ: Collection[str],
    untrained: Collection[str] = (),
    may_lack: Collection[str] = (),
) -> list[str]:
    """Loads `state` into the bare `network`; returns the names of the layers left unchanged: those in `untrained`,
    those in `may_differ` whose shapes differ, and those in `may_lack` that the state does not hold whole. WeightsError
    lists all other missing, unexpected or misshapen keys."""
    own = network.state_dict()
    mismatched = [key for key in own if key in state and own[key].shape != state[key].shape]
    left = {layer for key in mismatched if (layer := key.rpartition(".")[0]) in may_differ}
    left |= {layer for key in own if key not in state and (layer := key.rpartition(".")[0]) in may_lack}
    left |= {name for name, module in network.named_modules() if _within(name, untrained) and _owns_parameters(module)}

    def concerned(keys: Collection[str]) -> list[str]:
        return [key for key in keys if not _within(key, (*left, *untrained))]

    faults = {
        # counted since torch 0.4.1 and of no effect at evaluation or at a fixed momentum: older files lack it
        "missing": [key for key in concerned(own) if key not in state and not key.endswith("num_batches_tracked")],
        "unexpected": [key for key in concerned(state) if key not in own],
        "of another shape": [
            f"{key} {tuple(state[key].shape)} for {tuple(own[key].shape)}" for key in concerned(mismatched)
        ],
    }
    if any(faults.values()):
        raise WeightsError("; ".join(f"{listed(keys, SHOWN)} {kind}" for kind, keys in faults.items() if keys))
    network.load_state_dict({key: state[key] for key in concerned(state)}, strict=False)
    return [name for name, _ in network.named_modules() if name in left]


def cache_directory() -> Path:
    """Where torch.hub keeps downloads, found as torch.hub finds it but without importing torch."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch"
    return Path(os.environ.get("TORCH_HOME", default)).expanduser() / "hub" / "checkpoints"


@cache
def reachable(url: str) -> bool:
    """Whether `url` answers, asked once a process, through the proxies of the environment; transfers no content."""
    try:
        with urlopen(Request(url, method="HEAD"), timeout=3):
            return True
    except OSError:
        return False


def _within(name: str, parents: Collection[str]) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


def _owns_parameters(module: "nn.Module") -> bool:
    return any(True for _ in module.parameters(recurse=False))
