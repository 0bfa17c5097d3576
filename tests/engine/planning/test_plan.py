"""What a plan holds: cells, keys, what cannot run and why."""

from pathlib import Path

import pytest

from core.errors import PlanError
from engine.execution.launch import invalid_cells
from engine.planning.plan import Plan, make_plan
from engine.planning.remaining_work import remaining_work
from engine.planning.run_options import Options
from engine.runlog.history import History
from search_spaces.factors import Factor
from search_spaces.registry import STUDIES
from search_spaces.spaces import Choice, Number
from search_spaces.study import AblationStudy, AnyStudy, SearchStudy


def ablation(*factors: Factor, **fields: object) -> AblationStudy:
    known = {"name": "t", "workload": "digits", "epochs": 2, "design": "one_at_a_time", "seeds": 2}
    return AblationStudy(**{**known, **fields, "factors": factors})  # type: ignore[arg-type]


def planned(study: AnyStudy, tmp_path: Path, **options: object) -> Plan:
    return make_plan(study, Options(**options), tmp_path)  # type: ignore[arg-type]


def faults(study: AnyStudy, tmp_path: Path, **options: object) -> list[str]:
    with pytest.raises(PlanError) as refusal:
        planned(study, tmp_path, **options)
    return refusal.value.faults


MOMENTUM = Factor.of("momentum", {"off": {}, "0.5": {"optimizer.momentum": 0.5}, "0.9": {"optimizer.momentum": 0.9}})
BN = {"model.bn_after": ["conv1"]}
SITE = Factor.of("site", {"none": {}, "conv1": {"model.bn_after": ["conv1"]}, "lost": {"model.bn_after": ["conv7"]}})


def test_trials_come_seed_by_seed_so_that_a_cut_run_leaves_whole_pairs(tmp_path: Path) -> None:
    plan = planned(ablation(MOMENTUM), tmp_path, seeds=3)
    assert [spec.seed for spec in plan.trials] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [spec.cell for spec in plan.trials[:3]] == ["baseline", "momentum=0.5", "momentum=0.9"]


def test_keys_are_unique_and_do_not_depend_on_where_the_run_is_kept(tmp_path: Path) -> None:
    here, there = (planned(ablation(MOMENTUM), tmp_path / name) for name in ("a", "b"))
    assert [spec.trial for spec in here.trials] == [spec.trial for spec in there.trials]
    assert len({spec.trial for spec in here.trials}) == len(here.trials)


def test_more_seeds_keep_the_earlier_trials(tmp_path: Path) -> None:
    few = {spec.trial for spec in planned(ablation(MOMENTUM), tmp_path, seeds=2).trials}
    many = {spec.trial for spec in planned(ablation(MOMENTUM), tmp_path, seeds=4).trials}
    assert few < many
    assert len(many) == 2 * len(few)


def test_a_cell_equal_to_another_runs_once_and_names_it(tmp_path: Path) -> None:
    study = ablation(Factor.of("momentum", {"off": {}, "zero": {"optimizer.momentum": 0.0}}))
    plan = planned(study, tmp_path)
    assert [item.identical_to for item in plan.cells] == [None, "baseline"]
    assert {spec.cell for spec in plan.trials} == {"baseline"}


def test_the_epochs_option_has_the_last_word_over_a_level(tmp_path: Path) -> None:
    longer = ablation(Factor.of("budget", {"2": {}, "4": {"training.epochs": 4}}))
    assert [item.config.training.epochs for item in planned(longer, tmp_path).cells if item.config] == [2, 4]
    forced = planned(longer, tmp_path, epochs=3)
    assert [item.config.training.epochs for item in forced.cells if item.config] == [3, 3]
    assert forced.cells[1].identical_to == "baseline"


def test_the_epochs_option_is_refused_where_a_search_varies_the_epochs(tmp_path: Path) -> None:
    study = SearchStudy(
        name="s", workload="digits", epochs=2, space=(Number(key="training.epochs", kind="int", low=1, high=4),)
    )
    assert faults(study, tmp_path, epochs=3) == ["--epochs: the study varies training.epochs; use another study"]


def test_a_cell_whose_network_cannot_be_is_invalid_and_the_others_run(tmp_path: Path) -> None:
    plan = planned(ablation(SITE), tmp_path)
    assert [item.cell.name for item in plan.invalid] == ["site=lost"]
    assert "no layer 'conv7'" in str(plan.invalid[0].invalid)
    assert {spec.cell for spec in plan.trials} == {"baseline", "site=conv1"}


def test_a_baseline_that_cannot_be_makes_every_cell_that_shares_it_invalid(tmp_path: Path) -> None:
    plan = planned(ablation(MOMENTUM), tmp_path, settings={"model.bn_after": ["conv7"]})
    assert len(plan.invalid) == len(plan.cells) == 3
    assert all("conv7" in str(item.invalid) for item in plan.cells)
    assert plan.trials == ()


def test_a_baseline_that_cannot_be_leaves_the_cells_that_replace_its_fault(tmp_path: Path) -> None:
    site = Factor.of("site", {"lost": {"model.bn_after": ["conv7"]}, "conv1": {"model.bn_after": ["conv1"]}})
    plan = planned(ablation(site), tmp_path)
    assert [item.cell.name for item in plan.invalid] == ["baseline"]
    (fault,) = invalid_cells(planned(ablation(site), tmp_path, skip_invalid=True))
    assert fault.startswith("cell 'baseline' cannot run: ")


def test_one_training_image_is_too_few_for_a_batch_norm_alone(tmp_path: Path) -> None:
    one = {"dataset.limit_train": 1}
    plan = planned(ablation(SITE), tmp_path, settings=one)
    assert [item.cell.name for item in plan.invalid] == ["site=conv1", "site=lost"]
    assert "batch norm needs two" in str(plan.cells[1].invalid)
    assert not planned(ablation(MOMENTUM), tmp_path, settings={"dataset.limit_train": 2, **BN}).invalid


def test_data_that_cannot_be_read_are_the_studys_fault(tmp_path: Path) -> None:
    study = ablation(MOMENTUM, workload="folder")
    assert "no such folder" in faults(study, tmp_path, settings={"dataset.path": "nowhere"})[0]


def test_faults_of_levels_name_their_cell(tmp_path: Path) -> None:
    study = ablation(Factor.of("lr", {"low": {}, "none": {"optimizer.lr": 0}, "word": {"optimizer.lr": "x"}}))
    found = faults(study, tmp_path)
    assert [fault.split(":")[0] for fault in found] == ["lr=none", "lr=word"]


@pytest.mark.parametrize(
    ("metric", "needle"),
    [("test_acuracy", "did you mean 'test_accuracy'?"), ("val_loss", "which this study varies"), ("x", "not recorded")],
)
def test_a_metric_that_cannot_answer_is_refused(metric: str, needle: str, tmp_path: Path) -> None:
    study = ablation(Factor.of("loss", {"ce": {}, "focal": {"loss.name": "focal"}}), metric=metric)
    assert any(needle in fault for fault in faults(study, tmp_path))


def test_a_fixed_epoch_outside_the_budget_is_refused(tmp_path: Path) -> None:
    settings = {"selection.rule": "epoch", "selection.epoch": 9}
    plan = planned(ablation(MOMENTUM), tmp_path, settings=settings)
    assert all("outside 1 … 2" in str(item.invalid) for item in plan.cells)


def test_an_unknown_workload_names_the_nearest(tmp_path: Path) -> None:
    assert "did you mean 'digits'?" in faults(ablation(MOMENTUM, workload="digit"), tmp_path)[0]


def test_a_space_is_tried_out_before_anything_runs(tmp_path: Path) -> None:
    unconditional = SearchStudy(
        name="s",
        workload="digits",
        epochs=1,
        space=(
            Choice(key="optimizer.name", choices=("sgd", "adam")),
            Number(key="optimizer.momentum", low=0.0, high=0.9),
        ),
    )
    assert any("optimizer.momentum: unknown setting" in fault for fault in faults(unconditional, tmp_path))
    unknown = SearchStudy(
        name="s", workload="digits", epochs=1, space=(Number(key="optimizer.rate", low=0.1, high=1.0),)
    )
    assert any("optimizer.rate" in fault for fault in faults(unknown, tmp_path))


def test_a_numeric_level_can_be_added_and_levels_be_left_out(tmp_path: Path) -> None:
    study = ablation(Factor.of("lr", {"0.01": {"optimizer.lr": 0.01}, "0.1": {"optimizer.lr": 0.1}}))
    plan = planned(study, tmp_path, levels={"lr": ("0.01", "0.3")})
    assert [item.cell.name for item in plan.cells] == ["baseline", "lr=0.3"]
    assert plan.cells[1].config is not None
    assert plan.cells[1].config.optimizer.lr == 0.3


@pytest.mark.parametrize(
    ("asked", "cells"),
    [
        (("0.01", "0.10"), ["baseline", "lr=0.1"]),
        (("0.01", ".1", "1e-1"), ["baseline", "lr=0.1"]),
        (("0.01", ".3", "0.30", ".2"), ["baseline", "lr=.3", "lr=.2"]),
        (("1e-2", "0.1"), ["baseline", "lr=0.1"]),
    ],
)
def test_a_number_asks_for_the_level_that_sets_it_however_it_is_written(
    asked: tuple[str, ...], cells: list[str], tmp_path: Path
) -> None:
    study = ablation(Factor.of("lr", {"0.01": {"optimizer.lr": 0.01}, "0.1": {"optimizer.lr": 0.1}}))
    plan = planned(study, tmp_path, levels={"lr": asked})
    assert [item.cell.name for item in plan.cells] == cells
    assert not [item for item in plan.cells if item.identical_to]


@pytest.mark.parametrize("name", ["nan", "inf", "1e999", "true", "", "fast"])
def test_a_new_level_is_a_finite_number(name: str, tmp_path: Path) -> None:
    study = ablation(Factor.of("lr", {"0.01": {"optimizer.lr": 0.01}, "0.1": {"optimizer.lr": 0.1}}))
    assert faults(study, tmp_path, levels={"lr": ("0.01", name)})[0].startswith(f"--levels lr: no level {name!r}")


@pytest.mark.parametrize("name", [name for name, study in STUDIES.items() if study.workload.startswith("digits")])
def test_every_digits_study_plans(name: str, tmp_path: Path) -> None:
    plan = planned(STUDIES[name], tmp_path)
    assert remaining_work(plan, History()).total > 0
    assert not plan.invalid
