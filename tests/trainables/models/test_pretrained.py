"""Pretrained weights: where they come from, what they fill bit for bit, and the error when they cannot."""

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights

from tests.conftest import ROOT
from trainables.config import ConfigError, flatten, resolve
from trainables.models import pretrained
from trainables.models.googlenet import GoogLeNet
from trainables.models.initializers import initialize
from trainables.models.pretrained import FILES, SOURCE, PretrainedModel, WeightsError, cache_directory, load, reachable
from trainables.models.resnet import ResNet18
from trainables.models.vgg import VGG19
from trainables.registry import MODELS


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict of torchvision's ResNet18 for 1,000 classes, random, saved as the download would be."""
    return saved(tmp_path_factory.mktemp("weights") / "resnet18.pth", get_model("resnet18", weights=None))


@pytest.fixture(scope="module")
def googlenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = get_model("googlenet", weights=None, aux_logits=True, init_weights=False)
    return saved(tmp_path_factory.mktemp("weights") / "googlenet.pth", network)


def saved(path: Path, network: nn.Module) -> Path:
    generator = torch.Generator().manual_seed(7)
    state = {key: torch.randn(v.shape, generator=generator).to(v.dtype) for key, v in network.state_dict().items()}
    torch.save(state, path)
    return path


def started(settings: PretrainedModel, channels: int = 3, classes: int = 6) -> tuple[dict[str, Tensor], list[str]]:
    """Every weight by name after initialization, and the layers said to be left as drawn."""
    network = settings.build((channels, 64, 64), classes)
    left = initialize(network, settings, 0)
    return network.state_dict(), left


def filled(state: dict[str, Tensor], file: Path, left: list[str]) -> bool:
    """Whether all but the layers `left` hold the file's values, bit for bit."""
    given = torch.load(file, weights_only=True)
    return all(value.equal(given[key]) for key, value in state.items() if key.rpartition(".")[0] not in left)


@pytest.mark.parametrize(
    ("stem", "channels", "classes", "left"),
    [
        ("imagenet", 3, 1000, []),
        ("imagenet", 3, 6, ["fc"]),
        ("imagenet", 1, 6, ["conv1", "fc"]),
        ("small", 3, 6, ["conv1", "fc"]),
        ("small", 1, 1000, ["conv1"]),
    ],
)
def test_a_resnet_is_filled_but_for_what_cannot_fit(
    resnet18: Path, stem: Any, channels: int, classes: int, left: list[str]
) -> None:
    settings = ResNet18(stem=stem, pretrained=True, weights_file={"resnet18": str(resnet18)})
    state, said = started(settings, channels, classes)
    assert said == left
    assert filled(state, resnet18, left)
    plain, _ = started(ResNet18(stem=stem), channels, classes)
    assert all(state[key].equal(plain[key]) for key in state if key.rpartition(".")[0] in left)


def test_truncated_normal_reaches_only_the_layers_that_the_weights_left(resnet18: Path) -> None:
    file = {"resnet18": str(resnet18)}
    settings = ResNet18(initial_weights="truncated_normal", pretrained=True, weights_file=file)
    state, left = started(settings, channels=1)
    assert left == ["conv1", "fc"]
    assert filled(state, resnet18, left)
    alone, _ = started(ResNet18(initial_weights="truncated_normal"), channels=1)
    assert all(state[f"{layer}.weight"].equal(alone[f"{layer}.weight"]) for layer in left)
    assert not state["fc.bias"].any()


def test_googlenet_s_auxiliary_heads_are_left_whether_the_file_holds_them_or_not(
    googlenet: Path, tmp_path: Path
) -> None:
    heads = [f"aux{n}.{layer}" for n in (1, 2) for layer in ("conv.conv", "conv.bn", "fc1", "fc2")]
    whole = torch.load(googlenet, weights_only=True)
    without = {key: value for key, value in whole.items() if not key.startswith("aux")}
    torch.save(without, tmp_path / "without.pth")
    for file in (googlenet, tmp_path / "without.pth"):
        settings = GoogLeNet(pretrained=True, weights_file={"googlenet": str(file)})
        state, left = started(settings)
        assert sorted(left) == sorted([*heads, "fc"])
        assert filled(state, googlenet, left)


@pytest.mark.parametrize(
    ("channels", "classes", "left"), [(3, 1000, []), (3, 6, ["classifier.6"]), (1, 6, ["features.0", "classifier.6"])]
)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_vgg19_s_keys_are_torchvision_s(batch_norm: bool, channels: int, classes: int, left: list[str]) -> None:
    settings = VGG19(batch_norm=batch_norm, pretrained=True)
    with torch.device("meta"):
        given = get_model(settings.architecture, weights=None, init_weights=False).state_dict()
        network = settings.build((channels, 64, 64), classes)
    assert load(network, given, {settings.stem_layer, *settings.output_layers}) == left


def test_older_files_without_batch_counts_are_taken() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    state = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    assert load(network, state, ()) == []


def test_an_error_lists_every_key_that_does_not_fit(resnet18: Path, tmp_path: Path) -> None:
    state = torch.load(resnet18, weights_only=True)
    del state["layer1.0.conv1.weight"], state["bn1.running_mean"]
    state["layer9.weight"] = torch.zeros(1)
    state["layer2.0.conv1.weight"] = torch.zeros(3, 3)
    file = tmp_path / "wrong.pth"
    torch.save(state, file)
    settings = ResNet18(pretrained=True, weights_file={"resnet18": str(file)})
    network = settings.build((3, 64, 64), 6)
    with pytest.raises(WeightsError) as caught:
        initialize(network, settings, 0)
    assert str(caught.value) == (
        f"{file} does not hold the weights of resnet18: bn1.running_mean, layer1.0.conv1.weight missing; "
        "layer9.weight unexpected; layer2.0.conv1.weight (3, 3) for (128, 64, 3, 3) of another shape"
    )


def test_another_network_s_file_is_refused_with_a_short_list(resnet18: Path) -> None:
    settings = GoogLeNet(pretrained=True, weights_file={"googlenet": str(resnet18)})
    with pytest.raises(
        WeightsError, match=r"does not hold the weights of googlenet: .* and \d+ more missing; .* more un"
    ):
        started(settings)


def test_a_refused_file_leaves_the_network_as_it_was(resnet18: Path) -> None:
    network = get_model("resnet34", weights=None)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(WeightsError):
        load(network, torch.load(resnet18, weights_only=True), ())
    assert all(value.equal(before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("content", [b"", b"not a file of torch's", b"hello", b"PK\x03\x04 torn"], ids=repr)
def test_a_file_that_torch_cannot_read_is_refused_by_its_path(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.pth"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=r"cannot be read as a state dict: \D.* "):
        started(ResNet18(pretrained=True, weights_file={"resnet18": str(file)}))


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.zeros(2)], ids=repr)
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, content: object) -> None:
    file = tmp_path / "other.pth"
    torch.save(content, file)
    with pytest.raises(WeightsError, match="holds no state dict"):
        started(ResNet18(pretrained=True, weights_file={"resnet18": str(file)}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model.name": "nin", "model.pretrained": True}, "model.pretrained: unknown setting"),
        ({"model.name": "googlenet", "model.pretrained": True, "model.batch_norm": False}, "no ImageNet weights"),
        ({"model.name": "googlenet", "model.pretrained": True, "model.true_5x5": True}, "one must be false"),
        ({"model.name": "vgg19", "model.weights_file.vgg_19": "a.pth"}, "did you mean 'vgg19'"),
        ({"model.name": "vgg19", "model.weights_file": "a.pth"}, "model.weights_file"),
        ({"model.name": "resnet18", "model.weights_file.resnet18": 3}, "model.weights_file.resnet18"),
    ],
    ids=str,
)
def test_what_cannot_be_pretrained_is_refused_with_the_reason(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve({"dataset.name": "digits"}, settings)
    assert message in str(caught.value)


def test_networks_without_imagenet_weights_have_no_such_setting() -> None:
    having = {name for name in MODELS if "pretrained" in MODELS[name].model_fields}
    assert having == {"resnet18", "resnet34", "resnet50", "vgg19", "googlenet"}
    assert all(MODELS[name](name=name).missing_weights() is None for name in set(MODELS) - having)
    with pytest.raises(ValidationError):
        MODELS["stage3"].model_validate({"pretrained": True})


def test_only_the_file_that_takes_effect_is_part_of_the_configuration(tmp_path: Path) -> None:
    files = {"model.weights_file.resnet18": "a.pth", "model.weights_file.vgg19": "b.pth", "dataset.name": "digits"}
    used = resolve(files, {"model.name": "resnet18", "model.pretrained": True})
    assert flatten(used)["model.weights_file"] == {"resnet18": str(Path("a.pth").absolute())}
    assert flatten(resolve(files, {"model.name": "resnet18"}))["model.weights_file"] == {}
    assert resolve(files, {"model.name": "resnet18"}) == resolve({"dataset.name": "digits", "model.name": "resnet18"})
    with_bn = VGG19(batch_norm=True, pretrained=True, weights_file={"vgg19": "a", "vgg19_bn": "b"})
    assert list(with_bn.weights_file) == ["vgg19_bn"]


@pytest.mark.parametrize("architecture", FILES)
def test_the_known_files_are_torchvision_s_first_imagenet_weights(architecture: str) -> None:
    assert get_model_weights(architecture)["IMAGENET1K_V1"].url == SOURCE + FILES[architecture]


@pytest.mark.parametrize("variable", ["TORCH_HOME", "XDG_CACHE_HOME", None])
def test_the_cache_is_where_torch_hub_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str) -> None:
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path))
    assert cache_directory() == Path(torch.hub.get_dir()) / "checkpoints"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without internet and with an empty cache, which is returned."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(pretrained, "reachable", lambda url: False)
    cache_directory().mkdir(parents=True)
    return cache_directory()


def test_offline_without_a_file_both_ways_are_named(offline: Path) -> None:
    message = VGG19(batch_norm=True, pretrained=True).missing_weights()
    assert message is not None
    assert "ImageNet weights of vgg19_bn" in message
    assert str(offline) in message
    assert "let torchvision download them" in message
    assert "--set model.weights_file.vgg19_bn=FILE" in message


def test_nothing_is_missing_when_nothing_was_asked_for(offline: Path) -> None:
    assert ResNet18().missing_weights() is None


def test_nothing_is_missing_with_a_local_file_a_cached_one_or_the_internet(
    offline: Path, resnet18: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ResNet18(pretrained=True, weights_file={"resnet18": str(resnet18)}).missing_weights() is None
    (offline / FILES["resnet18"]).touch()
    assert ResNet18(pretrained=True).missing_weights() is None
    assert GoogLeNet(pretrained=True).missing_weights()
    asked: list[str] = []
    monkeypatch.setattr(pretrained, "reachable", lambda url: not asked.append(url))
    assert GoogLeNet(pretrained=True).missing_weights() is None
    assert asked == ["https://download.pytorch.org/models/googlenet-1378be20.pth"]


def test_a_local_file_that_is_not_there_is_missing_even_where_another_source_is(offline: Path, tmp_path: Path) -> None:
    (offline / FILES["resnet18"]).touch()
    absent = tmp_path / "absent.pth"
    settings = ResNet18(pretrained=True, weights_file={"resnet18": str(absent)})
    assert settings.missing_weights() == f"model.weights_file.resnet18: no file {absent}"


def test_a_download_that_fails_says_how_to_go_on(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(WeightsError, match=r"no route to host.*--set model\.weights_file\.resnet18=FILE"):
        started(ResNet18(pretrained=True))


def test_the_download_is_torchvision_s_and_checked_by_its_hash(
    offline: Path, resnet18: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, dict[str, Any]]] = []

    def download(url: str, **options: Any) -> Any:
        calls.append((url, options))
        return torch.load(resnet18, weights_only=True)

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    state, left = started(ResNet18(stem="imagenet", pretrained=True))
    assert left == ["fc"]
    assert filled(state, resnet18, left)
    assert calls == [(SOURCE + FILES["resnet18"], {"progress": False, "check_hash": True})]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A local site that answers HEAD requests, and would fail on any other."""

    class Head(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200 if self.path == "/there" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    site = http.server.HTTPServer(("127.0.0.1", 0), Head)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{site.server_port}"
    site.shutdown()
    site.server_close()


def test_a_url_is_reachable_when_it_answers_and_nothing_is_transferred(server: str) -> None:
    assert reachable(f"{server}/there")
    assert not reachable(f"{server}/missing")
    assert not reachable("http://127.0.0.1:1/")


def test_asking_for_missing_weights_imports_no_torch(tmp_path: Path) -> None:
    absent = tmp_path / "x.pth"
    code = f"""
import sys
from trainables.models.resnet import ResNet50
print(ResNet50(pretrained=True, weights_file={{"resnet50": {str(absent)!r}}}).missing_weights())
print("torch" in sys.modules)
"""
    said = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).splitlines()
    assert said == [f"model.weights_file.resnet50: no file {absent}", "False"]
