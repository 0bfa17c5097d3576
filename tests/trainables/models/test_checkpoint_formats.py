"""Weights as other programs save them: nested, behind a prefix, without a head or with one of another size."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models import get_model

from trainables.models.initializers import initialize
from trainables.models.libraries.checkpoint_formats import WeightsError, read_checkpoint
from trainables.models.libraries.models import TimmModel, TorchvisionModel
from trainables.models.resnet import ResNet18


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    own = get_model("resnet18", weights=None, num_classes=7).state_dict()
    return {key: torch.randn(v.shape, generator=generator).to(v.dtype) for key, v in own.items()}


def behind(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}{key}": value for key, value in state.items()}


def started(file: Path, classes: int = 4, settings: Any = None) -> tuple[dict[str, torch.Tensor], list[str]]:
    settings = settings or ResNet18(stem="imagenet", pretrained=True, weights_file={"resnet18": str(file)})
    network = settings.build((3, 64, 64), classes)
    left = initialize(network, settings, 0)
    return network.state_dict(), left


FORMS = {
    "plain": lambda state: state,
    "Lightning": lambda state: {"epoch": 3, "state_dict": behind("model.", state), "hyper_parameters": {"lr": 0.1}},
    "DataParallel": lambda state: {"epoch": 3, "model": behind("module.", state), "optimizer": {"state": {}}},
    "compiled": lambda state: behind("_orig_mod.", state),
    "two prefixes": lambda state: {"state_dict": behind("model.module.", state)},
    "beside others": lambda state: {
        "state_dict": behind("backbone.", state) | {"head.weight": torch.zeros(2, 2), "loss.weight": torch.ones(4)}
    },
    "averaged": lambda state: {"model_state_dict": state, "epoch": 1},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_fills_the_same_network(form: str, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(FORMS[form](state), tmp_path / "file.ckpt")
    weights, left = started(tmp_path / "file.ckpt")
    assert left == ["fc"]  # 7 classes there, 4 here
    assert all(value.equal(state[key]) for key, value in weights.items() if not key.startswith("fc."))


def test_a_head_of_the_same_size_is_filled_too(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save({"state_dict": behind("model.", state)}, tmp_path / "file.ckpt")
    weights, left = started(tmp_path / "file.ckpt", classes=7)
    assert left == []
    assert weights["fc.weight"].equal(state["fc.weight"])


@pytest.mark.parametrize("head", [{}, {"fc.1.weight": torch.zeros(3, 512), "fc.1.bias": torch.zeros(3)}], ids=str)
def test_a_head_that_the_file_lacks_or_has_otherwise_is_left_and_named(
    head: dict[str, Any], state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    backbone = {key: value for key, value in state.items() if not key.startswith("fc.")}
    torch.save(backbone | head, tmp_path / "file.pth")
    assert started(tmp_path / "file.pth")[1] == ["fc"]


def test_a_layer_of_the_backbone_that_the_file_lacks_is_refused(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    lacking = {key: value for key, value in state.items() if key != "layer3.0.conv1.weight"}
    torch.save({"state_dict": behind("model.", lacking)}, tmp_path / "file.ckpt")
    with pytest.raises(WeightsError, match=r"layer3\.0\.conv1\.weight missing"):
        started(tmp_path / "file.ckpt")


def test_another_network_s_file_keeps_its_names_in_the_fault(tmp_path: Path) -> None:
    torch.save({"a.conv1.weight": torch.zeros(64, 3, 7, 7), "a.bn1.bias": torch.zeros(64)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"a\.conv1\.weight, a\.bn1\.bias unexpected"):
        started(tmp_path / "other.pth")


class Holds:
    """What a pickle must not make when weights are read."""


def test_a_file_of_more_than_weights_is_refused_with_the_remedy(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "hyper_parameters": Holds()}, tmp_path / "whole.ckpt")
    network = get_model("resnet18", weights=None)
    with pytest.raises(WeightsError, match=r"it holds more than weights; save them alone"):
        read_checkpoint(str(tmp_path / "whole.ckpt"), network)


def test_a_transformer_s_positions_are_interpolated_to_the_images(tmp_path: Path) -> None:
    torch.save(get_model("vit_b_32", weights=None, image_size=64).state_dict(), tmp_path / "vit.pth")
    file = {"vit_b_32": str(tmp_path / "vit.pth")}
    settings = TorchvisionModel(name="torchvision:vit_b_32", pretrained=True, weights_file=file)
    network = settings.build((3, 96, 96), 4)
    assert initialize(network, settings, 0) == ["heads.head"]
    assert network.encoder.pos_embedding.shape == (1, 10, 768)


def test_a_timm_network_takes_a_file_and_leaves_its_head(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    given = timm.create_model("mobilenetv3_small_050", num_classes=9).state_dict()
    torch.save({"state_dict": behind("module.", given)}, tmp_path / "timm.pth")
    file = {"mobilenetv3_small_050": str(tmp_path / "timm.pth")}
    settings = TimmModel(name="timm:mobilenetv3_small_050.lamb_in1k", pretrained=True, weights_file=file)
    weights, left = started(tmp_path, settings=settings)
    assert left == ["classifier"]
    assert weights["conv_stem.weight"].equal(given["conv_stem.weight"])


def test_timm_s_own_weights_are_asked_of_timm_and_adapted_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    given = timm.create_model("vit_tiny_patch16_224", num_classes=1000)
    asked: list[dict[str, Any]] = []
    create = timm.create_model

    def made(name: str, **options: Any) -> Any:
        if options.pop("pretrained", False):
            asked.append(options)
            return create(name, **options)
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", made)
    settings = TimmModel(name="timm:vit_tiny_patch16_224", pretrained=True)
    network = settings.build((1, 64, 64), 4)
    assert initialize(network, settings, 0) == ["head"]
    assert asked == [{"img_size": (64, 64), "in_chans": 1}]
    assert given.num_classes == 1000


def test_offline_a_timm_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    monkeypatch.setattr("trainables.models.pretrained.reachable", lambda url: False)
    monkeypatch.setattr(TimmModel, "cached", lambda self: False)
    message = TimmModel(name="timm:convnext_atto", pretrained=True).missing_weights()
    assert message is not None
    assert "let timm download them" in message
    assert "--set model.weights_file.convnext_atto=FILE" in message
