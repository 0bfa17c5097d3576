"""What a finished trial draws: the right pictures, of the right examples, and nothing that changes a number."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch.nn.functional import conv2d

from datasets.base import DataError, Dataset, Examples
from datasets.cache.cache import open_dataset, prepare
from datasets.lookup import find_example
from tests.datasets.makers import make_eurosat, make_faces
from tests.trainables.models.model_cases import by_size, case
from tests.trainables.small_trials import finish, small_dataset, small_learner, small_spec
from trainables.config import resolve
from trainables.models.networks import stage3
from trainables.registry import MODELS
from trainables.training.learner import Learner
from trainables.trial import image_artifacts
from trainables.trial.feature_maps import CHANNELS, STAGES, first_filters, levels, maps_of, stages

ARTIFACTS = Path("artifacts") / "0123456789ab"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a small trial that draws."""
    folder = tmp_path_factory.mktemp("drawn")
    finish(replace(small_spec(folder), pictures=True))
    return folder


def test_thumbnails_are_the_first_mistakes_as_scikit_learn_has_them_four_times_as_large(drawn: Path) -> None:
    found = pd.read_parquet(drawn / "predictions" / "0123456789ab.parquet")
    wrong = found.loc[found["prediction"] != found["target"], "index"].tolist()[:48]
    assert {file.name for file in (drawn / ARTIFACTS / "images").iterdir()} == {f"{index}.png" for index in wrong}
    assert wrong
    originals, names = load_digits().images, small_dataset().splits["test"].paths
    for index in wrong:
        enlarged = np.kron(np.rint(originals[int(names[index])] * 255 / 16), np.ones((4, 4)))
        np.testing.assert_array_equal(np.asarray(Image.open(drawn / ARTIFACTS / "images" / f"{index}.png")), enlarged)


def test_a_trial_that_draws_has_the_numbers_of_one_that_does_not(tmp_path: Path) -> None:
    with_pictures = finish(replace(small_spec(tmp_path / "a"), pictures=True))
    assert with_pictures == finish(small_spec(tmp_path / "b"))
    assert not (tmp_path / "b" / ARTIFACTS / "images").exists()
    assert not (tmp_path / "b" / ARTIFACTS / "feature_maps").exists()


def test_about_json_says_what_each_file_shows(drawn: Path) -> None:
    folder = drawn / ARTIFACTS / "feature_maps"
    about, test = json.loads((folder / "about.json").read_text()), small_dataset().splits["test"]
    assert (about["picture"], about["split"], about["index"]) == (test.paths[0], "test", 0)
    assert about["class"] == str(test.labels[0])
    files = [stage["file"] for stage in about["stages"]]
    assert files == ["01_conv1.png", "02_conv2.png"]
    assert {file.name for file in folder.iterdir()} == {*files, "00_input.png", "filters.png", "about.json"}
    assert [(s["shown"], s["channels"], s["height"], s["width"]) for s in about["stages"]] == [
        ("relu1", 4, 8, 8),
        ("relu2", 8, 4, 4),
    ]


def test_a_grid_shows_every_channel_from_its_least_to_its_greatest_value(drawn: Path) -> None:
    weights = torch.load(drawn / "checkpoints" / "0123456789ab" / "best.pt", weights_only=True)["model"]
    data = small_dataset()
    picture = torch.from_numpy(data.splits["test"].images[:1]).float() / 255
    normalised = (picture - data.info.mean[0]) / data.info.std[0]
    maps = conv2d(normalised, weights["conv1.weight"], weights["conv1.bias"], padding=1).relu()[0].numpy()
    shown = Image.open(drawn / ARTIFACTS / "feature_maps" / "01_conv1.png")
    grid, cell = np.asarray(shown), 8 * 6
    assert shown.size == (2 * cell + 2, 2 * cell + 2)
    assert (grid[cell : cell + 2] == 255).all()
    assert shown.info["transparency"] == 255
    for i, channel in enumerate(maps):
        top, left = i // 2 * (cell + 2), i % 2 * (cell + 2)
        values = grid[top : top + cell : 6, left : left + cell : 6].astype(float)
        span = channel.max() - channel.min()
        wanted = 254 * (channel - channel.min()) / span if span else np.zeros_like(channel)
        np.testing.assert_allclose(values, wanted, atol=0.51)


def test_a_constant_map_is_dark_and_counted() -> None:
    maps = torch.tensor([[[3.0, 3.0], [3.0, 3.0]], [[-1.0, 1.0], [0.0, 0.5]]])
    values, constant = levels(maps)
    assert constant == 1
    assert values.tolist() == [[[0, 0], [0, 0]], [[0, 254], [127, 190]]]


def test_filters_share_one_scale_around_grey() -> None:
    layer = torch.nn.Conv2d(3, 2, 1, bias=False)
    layer.weight.data = torch.tensor([[[[2.0]], [[-2.0]], [[0.0]]], [[[1.0]], [[0.0]], [[0.0]]]])
    found = first_filters(torch.nn.Sequential(torch.nn.Flatten(0), layer))
    assert found is not None
    assert found.flatten(1).tolist() == [[255, 1, 128], [192, 128, 128]]
    grid = np.asarray(image_artifacts.filter_grid(found.permute(0, 2, 3, 1).numpy()))
    assert grid.shape == (48, 2 * 48 + 2, 4)
    assert grid[0, 0].tolist() == [255, 1, 128, 255]
    assert grid[0, 48].tolist() == [0, 0, 0, 0]


LAYERS = {
    "resnet18": ["conv1", "layer1", "layer2", "layer3"],
    "vgg19": ["features.2", "features.7", "features.16", "features.25", "features.34"],
    "googlenet": ["conv1", "conv3", "inception3b", "inception4e", "inception5b"],
    "nin": ["cccp2", "cccp4", "cccp6"],
    "stage3": ["conv1_1", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv4_2_cls"],
}


@pytest.mark.parametrize("name", by_size(MODELS))
def test_every_network_has_stages_that_shrink(name: str) -> None:
    made = case(name, channels=3 if name in LAYERS and name != "stage3" else 1)
    network, picture = made.build().eval(), made.pictures(1)
    found = stages(network, lambda: network(picture))
    assert 1 <= len(found) <= STAGES
    if name in LAYERS:
        layers = [stage.layer for stage in found]
        assert layers == LAYERS[name][: len(layers)]
        assert len(layers) >= 2
    sizes = [stage.height for stage in found]
    assert sizes == sorted(sizes, reverse=True)
    maps = maps_of(network, found, lambda: network(picture))
    assert [tuple(kept.shape) for kept in maps] == [(min(CHANNELS, s.channels), s.height, s.width) for s in found]


def test_what_is_drawn_is_not_what_a_later_layer_made_of_it_in_place() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.Sequential(torch.nn.ReLU(inplace=True)))
    picture = torch.randn(1, 1, 4, 4)
    (stage,) = [replace(stage, shown="0") for stage in stages(network, lambda: network(picture))]
    (maps,) = maps_of(network, [stage], lambda: network(picture))
    torch.testing.assert_close(maps, network[0](picture)[0].detach())
    assert maps.min() < 0


def test_batch_norm_put_after_a_layer_belongs_to_its_stage() -> None:
    learner = small_learner({"model.bn_after": ["conv1"], "model.dropout_after": ["relu2"]})
    picture = learner.inputs("test", torch.tensor([0]))
    found = stages(learner.network.eval(), lambda: learner.network(picture))
    assert [(stage.layer, stage.shown) for stage in found] == [("conv1", "relu1"), ("conv2", "relu2")]


def test_of_a_deep_network_eight_stages_are_shown_from_first_to_last() -> None:
    layers = [torch.nn.Conv2d(1, 1, 3) for _ in range(15)]
    network, picture = torch.nn.Sequential(*layers), torch.randn(1, 1, 40, 40)
    found = [int(stage.layer) for stage in stages(network, lambda: network(picture))]
    assert found == [0, 2, 4, 6, 8, 10, 12, 14]


def faces(errors: list[float]) -> dict[str, torch.Tensor]:
    """Predictions whose error, in pixels, is that of the list; NaN is a picture without landmarks."""
    true = torch.zeros(len(errors), 3, 2)
    true[[error != error for error in errors]] = float("nan")
    points = torch.zeros(len(errors), 3, 2)
    points[:, :, 0] = torch.tensor(errors).nan_to_num()[:, None]
    return {"points": points, "true_points": true, "labels": torch.ones(len(errors))}


def test_faces_shown_are_the_worst_the_middling_and_the_first() -> None:
    errors = [float(i * 37 % 101) for i in range(101)]
    errors[50] = float("nan")
    shown = image_artifacts.shown_rows(faces(errors))
    known = sorted((i for i in range(101) if i != 50), key=lambda i: -errors[i])
    assert set(known[:8]) | set(known[46:54]) <= set(shown)
    assert len(shown) == 24
    assert shown == sorted(shown)
    others = [i for i in shown if i not in {*known[:8], *known[46:54]}]
    first = [i for i in range(101) if i != 50 and i not in {*known[:8], *known[46:54]}]
    assert others == first[: len(others)]
    assert image_artifacts.shown_rows(faces([1.0, float("nan"), 2.0])) == [0, 2]


@pytest.mark.parametrize(("size", "shown"), [((8, 8), 32), ((32, 20), 32), ((100, 112), 112), ((400, 200), 112)])
def test_a_thumbnail_s_longer_side_has_32_to_112_pixels(size: tuple[int, int], shown: int) -> None:
    pixels = np.zeros((*size, 3), np.uint8)
    assert max(image_artifacts.thumbnail(pixels).size) == shown
    assert image_artifacts.thumbnail(pixels, faces=True).size == size[::-1]


def test_a_face_is_shown_as_the_network_sees_it_turned_and_unscaled(tmp_path: Path) -> None:
    settings = {
        "dataset.name": "faces",
        "dataset.faces_only": True,
        "dataset.context": 1.5,
        "dataset.eval_rotation": 30.0,
        "model.name": "stage1",
        "loss.name": "points",
    }
    config = resolve(settings)
    data = open_dataset(config.dataset, prepare(config.dataset, make_faces(tmp_path)).path)
    learner = Learner(config, data, 0, torch.device("cpu"))
    found = learner.predictions("test")
    image_artifacts.draw(learner, data, found, tmp_path / "out")
    shown = image_artifacts.shown_rows(found)
    assert sorted(int(file.stem) for file in (tmp_path / "out" / "images").iterdir()) == shown
    seen = np.asarray(Image.open(tmp_path / "out" / "images" / f"{shown[0]}.png"))
    assert seen.shape == (112, 112)
    dark = [seen[int(y), int(x)] for x, y in found["true_points"][shown[0]].tolist()]
    assert max(dark) < 120 < np.median(seen[40:70, 40:70]) + 1  # a dark dot stands at every true landmark


def named(**paths: list[str]) -> Dataset:
    data = small_dataset()
    blank = np.zeros(0)
    splits = {name: Examples(blank, blank, None, paths.get(name, [])) for name in ("train", "val", "test")}  # type: ignore[arg-type]
    return Dataset(data.info, splits)


def test_a_picture_is_named_by_its_path_or_the_end_of_it() -> None:
    data = named(train=["cat/1.jpg", "cat/2.jpg"], val=["dog/1.jpg"], test=["a/cat/1.jpg", "p/face.png@1,2,3,4"])
    assert find_example(data, "cat/1.jpg") == ("train", 0)
    assert find_example(data, "2.jpg") == ("train", 1)
    assert find_example(data, "a/cat/1.jpg") == ("test", 0)
    assert find_example(data, "face.png") == ("test", 1)
    assert find_example(data, "p/face.png@1,2,3,4") == ("test", 1)
    with pytest.raises(DataError, match=r"'1.jpg' stands for 3 pictures; .* a/cat/1.jpg, dog/1.jpg, cat/1.jpg"):
        find_example(data, "1.jpg")
    with pytest.raises(DataError, match=r"'3.jpg' is none of the 5 pictures .* nearest: .*2.jpg"):
        find_example(data, "3.jpg")


def test_the_source_s_tile_is_inspected_where_there_is_one(tmp_path: Path) -> None:
    root = make_eurosat(tmp_path, per_class=12)
    folder = root / "eurosat" / "EuroSAT" / "2750" / "AnnualCrop"
    (folder / "AnnualCrop_3.jpg").rename(folder / "AnnualCrop_1111.jpg")
    settings = resolve({"dataset.name": "eurosat", "model.name": "small_cnn"}).dataset
    data = open_dataset(settings, prepare(settings, root).path)
    split, row = image_artifacts.inspected(data, "")
    assert data.splits[split].paths[row] == "AnnualCrop/AnnualCrop_1111.jpg"
    assert image_artifacts.inspected(small_dataset(), "") == ("test", 0)


def test_the_named_picture_is_the_one_drawn(tmp_path: Path) -> None:
    data = small_dataset()
    name = data.splits["train"].paths[5]
    finish(replace(small_spec(tmp_path, {"inspect.image": name, "training.epochs": 1}), pictures=True))
    folder = tmp_path / ARTIFACTS / "feature_maps"
    assert json.loads((folder / "about.json").read_text())["picture"] == name
    enlarged = np.kron(data.splits["train"].images[5, 0], np.ones((14, 14)))
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "00_input.png")), enlarged)


def test_a_name_of_digits_alone_may_come_as_a_number() -> None:
    known: dict[str, Any] = {"dataset.name": "digits", "model.name": "small_cnn"}
    assert resolve(known, {"inspect.image": 1066}).inspect.image == "1066"


def test_the_stages_of_a_network_of_two_branches_are_in_the_order_of_the_pass() -> None:
    network = stage3.Stage3Network(1, None, 4).eval()
    found = stages(network, lambda: network(torch.zeros(1, 1, 112, 112)))
    assert [stage.shown for stage in found][-1] == "prelu4_2"
