"""Every classification network of torchvision and of timm, as `torchvision:efficientnet_b0` or `timm:convnext_atto`.

They are built by the library's own functions, for any number of channels and classes, without auxiliary heads.
"""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

from trainables.models.libraries.names import timm_names, torchvision_names, unknown
from trainables.models.pretrained import PretrainedModel

if TYPE_CHECKING:
    from torch import Tensor, nn


def _torchvision_name(name: str) -> str:
    if fault := unknown(name.partition(":")[2], "torchvision", torchvision_names()):
        raise ValueError(fault)
    return name


def _timm_name(name: str) -> str:
    if fault := unknown(name.partition(":")[2], "timm", timm_names()):
        raise ValueError(fault)
    return name


class LibraryModel(PretrainedModel):
    """A network of a library; where one is made for a size of images (a vision transformer), it is that of the data."""

    untrained = ("aux1", "aux2", "AuxLogits")

    @property
    def own(self) -> str:
        """The library's name of the network."""
        return self.name.partition(":")[2]

    @property
    def architecture(self) -> str:
        return self.own.partition(".")[0]  # without the tag of timm's weights

    @property
    @abstractmethod
    def usual(self) -> tuple[int, int]:
        """(side of the images that it was trained with, its number of classes)"""


class TorchvisionModel(LibraryModel):
    """Any classification network of torchvision, by the name of `torchvision.models.list_models()`.

    Its last layer is the head; other channels than three replace its first convolution."""

    name: Annotated[str, AfterValidator(_torchvision_name)]

    @property
    def usual(self) -> tuple[int, int]:
        weights = self._weights()
        return weights.transforms().crop_size[0], len(weights.meta["categories"])

    def _weights(self) -> Any:
        from torchvision.models import get_model_weights

        return get_model_weights(self.own).DEFAULT

    def bare(self, image_shape: tuple[int, int, int], outputs: int, points: int) -> "nn.Module":
        from torchvision.models import get_model

        channels, height, width = image_shape
        options: dict[str, Any] = {"weights": None, "num_classes": outputs}
        if self.own in ("googlenet", "inception_v3"):
            options |= {"aux_logits": False, "init_weights": True}
        if self.own.startswith("vit_"):
            options["image_size"] = height
        if self.own.startswith("maxvit_"):
            options["input_size"] = (height, width)
        network = get_model(self.own, **options)
        if channels != 3:
            _take_channels(network, channels)
        return network

    def heads(self, network: "nn.Module") -> tuple[str, ...]:
        from torch import nn

        return ([name for name, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)][-1],)

    def stems(self, network: "nn.Module") -> tuple[str, ...]:
        return (_first_convolution(network),)

    def weights_url(self) -> str:
        return str(self._weights().url)

    def downloaded(self, network: "nn.Module") -> "Mapping[str, Tensor]":
        return self._weights().get_state_dict(progress=False, check_hash=True)

    def adapted(self, network: "nn.Module", state: "Mapping[str, Tensor]") -> "Mapping[str, Tensor]":
        """A transformer's positions are interpolated to the size of the images, as torchvision does it."""
        from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

        if not isinstance(network, VisionTransformer) or "encoder.pos_embedding" not in state:
            return state
        return interpolate_embeddings(network.image_size, network.patch_size, dict(state))


class TimmModel(LibraryModel):
    """Any network of timm, by the name of `timm.list_models()`, with or without the tag of its weights.

    timm (the extra `timm`) must be installed; it adapts channels, classes and image sizes itself."""

    library = "timm"
    name: Annotated[str, AfterValidator(_timm_name)]

    @property
    def usual(self) -> tuple[int, int]:
        config = self._config()
        return config.input_size[-1], config.num_classes

    def _config(self) -> Any:
        import timm

        return timm.get_pretrained_cfg(self.own)

    def bare(self, image_shape: tuple[int, int, int], outputs: int, points: int) -> "nn.Module":
        network: Any = self._made(image_shape[1:], in_chans=image_shape[0], num_classes=outputs)
        network.built_for = image_shape
        return network

    def _made(self, size: tuple[int, int], **options: Any) -> "nn.Module":
        import timm

        config = self._config()
        if config.fixed_input_size and tuple(config.input_size[1:]) != size:
            try:
                return timm.create_model(self.own, img_size=size, **options)
            except TypeError as error:
                if "img_size" not in str(error):
                    raise
        return timm.create_model(self.own, **options)

    def heads(self, network: "nn.Module") -> tuple[str, ...]:
        return _names(self._config().classifier)

    def stems(self, network: "nn.Module") -> tuple[str, ...]:
        return _names(self._config().first_conv) or (_first_convolution(network),)

    def weights_url(self) -> str:
        config = self._config()
        return config.url or f"https://huggingface.co/{config.hf_hub_id}/resolve/main/config.json"

    def missing_weights(self) -> str | None:
        if self.pretrained and not self.weights_file and not self._config().has_weights:
            return f"model.pretrained: timm has no weights of {self.own}"
        return super().missing_weights()

    def cache(self) -> Path:
        from huggingface_hub.constants import HF_HUB_CACHE

        return Path(HF_HUB_CACHE) if self._config().hf_hub_id else super().cache()

    def cached(self) -> bool:
        from huggingface_hub import try_to_load_from_cache

        source, files = self._config().hf_hub_id, ("model.safetensors", "pytorch_model.bin")
        if not source:
            return super().cached()
        return any(isinstance(try_to_load_from_cache(source, file), str) for file in files)

    def downloaded(self, network: Any) -> "Mapping[str, Tensor]":
        """timm's weights as timm itself adapts them to the network's channels and image size."""
        channels, *size = network.built_for
        return self._made(tuple(size), pretrained=True, in_chans=channels).state_dict()


def _names(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


def _first_convolution(network: "nn.Module") -> str:
    from torch import nn

    return next(name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d))


def _take_channels(network: "nn.Module", channels: int) -> None:
    """Give the first convolution another number of input channels; its weights are then drawn as torch draws them."""
    from torch import nn

    name = _first_convolution(network)
    old: Any = network.get_submodule(name)
    shape = {key: getattr(old, key) for key in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
    network.set_submodule(name, nn.Conv2d(channels, old.out_channels, bias=old.bias is not None, **shape))
