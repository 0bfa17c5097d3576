"""`layers` names what `bn_after` and `dropout_after` take, and a wrong name's fault names `layers`."""

import shlex

import pytest
from click.testing import CliRunner
from PIL import Image

from run_search import main
from tests.trainables.models.model_cases import case
from trainables.models.hooks import watch_outputs
from trainables.registry import MODELS


def listed(*arguments: str) -> list[str]:
    done = CliRunner().invoke(main, ["layers", *arguments])
    assert done.exit_code == 0, done.output
    return [line.split()[0] for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_that_a_pass_uses_is_listed(name: str) -> None:
    tried = case(name)
    network, used = tried.meta().eval(), set()
    modules = {key: module for key, module in network.named_modules() if key}
    with watch_outputs(modules, lambda key, output: used.add(key)):
        network(tried.blank())
    assert set(listed(name)) == used


def test_the_multiply_adds_of_layers_add_up_to_those_of_the_network() -> None:
    done = CliRunner().invoke(main, ["layers", "small_cnn"])
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0][0] == "conv1"
    assert rows[0][-2:] == ["448", "27,648"]  # 3 × 3 × 3 × 16 × 64
    assert "small_cnn: 13,994 parameters; 110,208 multiply-adds of one picture of 3 × 8 × 8; 10 classes" in done.stderr


def test_a_library_s_network_has_its_own_size_and_classes_unless_asked_otherwise() -> None:
    done = CliRunner().invoke(main, ["layers", "torchvision:resnet18"])
    assert "11,689,512 parameters; 1,814,073,344 multiply-adds of one picture of 3 × 224 × 224; 1,000" in done.stderr
    few = CliRunner().invoke(main, ["layers", "torchvision:resnet18", "--image-size", "64", "--classes", "3"])
    assert "11,178,051 parameters; 148,047,360 multiply-adds of one picture of 3 × 64 × 64; 3 classes" in few.stderr


def test_settings_of_the_network_change_the_list() -> None:
    assert "features.1" in listed("vgg19", "--set", "model.batch_norm=true")
    assert len(listed("vgg19", "--set", "model.batch_norm=true")) > len(listed("vgg19"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["vgg18"], "model 'vgg18' is unknown; allowed: small_cnn"),
        (["stage1", "--image-size", "64"], "stage1 needs crops of 112 × 112"),
        (["small_cnn", "--set", "model.chanels=3"], "model.chanels: unknown setting"),
    ],
)
def test_what_cannot_be_listed_is_refused(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(main, ["layers", *arguments])
    assert done.exit_code == 2
    assert said in done.output


def test_a_study_of_another_network_is_refused_in_a_few_lines_whose_command_works(tmp_path) -> None:
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(20):
            Image.new("RGB", (40, 40), (number, 9, 90 * (name == "a"))).save(tmp_path / "set" / name / f"{number}.png")
    study = ["folder/ablation", "--set", f"dataset.path={tmp_path / 'set'}", "--set", "model.name=resnet50"]
    done = CliRunner().invoke(
        main, ["run", *study, "--cache-dir", str(tmp_path / "cache"), "--out", str(tmp_path / "run")]
    )
    assert done.exit_code == 2
    faults = [line for line in done.output.splitlines() if line.startswith("error: cells 'full', ")]
    assert [fault.partition("no layer '")[2].partition("'")[0] for fault in faults] == ["conv2", "conv3", "relu_fc1"]
    assert max(map(len, faults)) <= 3 * 130
    command = faults[0].split("`")[1]
    assert "layer4.2.conv3" in listed(*shlex.split(command)[3:])
