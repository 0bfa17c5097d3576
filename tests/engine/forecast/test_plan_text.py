"""What a plan says beforehand of what its trials cannot show."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from rich.console import Console
from torch import nn

from engine.forecast.plan_text import describe_plan, plan_record, remarks
from search_spaces.factors import Factor
from search_spaces.spaces import Number
from search_spaces.study import SearchStudy
from tests.engine.planning.test_plan import MOMENTUM, ablation, planned
from trainables.models.small_cnn import SmallCNN

pytestmark = pytest.mark.usefixtures("probes")
LR = Number(key="optimizer.lr", low=0.01, high=0.1)


def printed(plan: Any) -> str:
    console = Console(width=100, record=True, quiet=False, file=Path("/dev/null").open("w"))  # noqa: SIM115
    describe_plan(plan, console)
    return console.export_text()


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_are_said_to_give_no_verdict(tmp_path: Path, seeds: int) -> None:
    plan = planned(ablation(MOMENTUM), tmp_path, seeds=seeds)
    said = f"{seeds} seed{'s' * (seeds > 1)}: no verdict can follow, each row will say `too few runs`; 3 seeds are"
    assert said in printed(plan)
    assert plan_record(plan)["remarks"][0].startswith(said)


def test_three_seeds_and_a_search_are_left_in_peace(tmp_path: Path) -> None:
    assert remarks(planned(ablation(MOMENTUM), tmp_path, seeds=3)) == []
    search = SearchStudy(name="t", workload="digits", epochs=2, space=(LR,), samples=2, seeds=1)
    assert remarks(planned(search, tmp_path)) == []


def zeroed(sites: tuple[str, ...]) -> Any:
    plain = SmallCNN.bare

    def bare(self: SmallCNN, *arguments: Any) -> nn.Module:
        network = plain(self, *arguments)
        for site in sites:
            nn.init.zeros_(network.get_parameter(site))
        return network

    return bare


def test_layers_that_the_network_set_itself_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SmallCNN, "bare", zeroed(("conv2.weight", "fc2.bias")))
    plan = planned(ablation(MOMENTUM), tmp_path, seeds=3)
    said = (
        "initial weights of small_cnn that its constructor set, so not paired with other networks: "
        "conv2.weight, fc2.bias"
    )
    assert remarks(plan) == [said]
    assert said in printed(plan)
    assert plan_record(plan)["unpaired_weights"] == {"small_cnn": ["conv2.weight", "fc2.bias"]}


def test_a_long_list_is_cut_in_words_and_whole_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"conv{i}.{key}" for i in range(1, 9) for key in ("weight", "bias")]
    monkeypatch.setattr(SmallCNN, "bare", zeroed(tuple(names)))
    plan = planned(ablation(MOMENTUM, baseline={"model.channels": [4] * 8}), tmp_path, seeds=3)
    assert remarks(plan)[0].endswith("conv6.bias and 4 more (plan --json lists all)")
    assert plan_record(plan)["unpaired_weights"]["small_cnn"] == names


def test_a_placed_layer_and_a_changed_number_of_classes_do_not_hide_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SmallCNN, "bare", zeroed(("conv2.weight",)))
    study = ablation(MOMENTUM, baseline={"model.bn_after": ["conv2"], "model.dropout_after": ["conv2"]})
    assert plan_record(planned(study, tmp_path))["unpaired_weights"] == {"small_cnn": ["conv2.weight"]}


def test_layers_that_pretrained_weights_do_not_fill_are_named(tmp_path: Path) -> None:
    file = tmp_path / "resnet18.pth"
    torch.save(torchvision.models.resnet18().state_dict(), file)
    weights = {"model.name": "resnet18", "model.pretrained": True, "model.weights_file.resnet18": str(file)}
    (said,) = remarks(planned(ablation(MOMENTUM), tmp_path, seeds=3, settings=weights))
    assert said.startswith("pretrained weights of resnet18 do not fill conv1, fc, which start at random")


def test_epochs_for_cells_whose_levels_set_others_are_told(tmp_path: Path) -> None:
    study = ablation(Factor.of("budget", {"2": {}, "4": {"training.epochs": 4}}))
    assert "also where a level sets training.epochs" in remarks(planned(study, tmp_path, seeds=3, epochs=3))[0]
    assert remarks(planned(study, tmp_path, seeds=3)) == []


@pytest.mark.parametrize(("options", "epochs"), [({}, 7), ({"epochs": 5}, 5)])
def test_epochs_of_the_command_line_are_the_plan_s_own(options: dict[str, Any], epochs: int, tmp_path: Path) -> None:
    plan = planned(ablation(MOMENTUM), tmp_path, seeds=3, settings={"training.epochs": 7}, **options)
    study = plan_record(plan)["study"]
    assert study["epochs"] == epochs
    assert "training.epochs" not in study["baseline"]
