"""Metrics that a study asks for: where they may stand in it, and what is refused before any trial."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import PlanError
from core.metrics import declare
from engine.execution.trial_schedulers import WORST, Decisions
from engine.planning.config_checks import whole_split_faults
from engine.planning.plan import make_plan, objectives
from engine.planning.remaining_work import remaining_work
from engine.planning.run_options import Options
from engine.planning.study_record import study_record
from engine.runlog.history import History
from search_spaces.study import AnyStudy, SearchStudy, StudyError, parse_study
from search_spaces.study_file import read_study
from search_spaces.trial_schedulers import ASHA
from tests.own_metrics import Write, write
from trainables.config import resolve

__all__ = ["write"]

MOMENTUM = {"name": "momentum", "levels": [{"name": "off"}, {"name": "on", "settings": {"optimizer.momentum": 0.9}}]}
GOOD = "def cost(scores, targets):\n    return 1.0"
COST = {"name": "mine.py:cost", "maximise": False}


def ablation(**fields: Any) -> AnyStudy:
    known = {"name": "t", "workload": "digits", "epochs": 2, "design": "one_at_a_time", "seeds": 2}
    return parse_study({**known, "factors": [MOMENTUM], **fields}, "t")


def search(**fields: Any) -> AnyStudy:
    known = {"name": "t", "workload": "digits", "epochs": 2, "space": [{"key": "optimizer.lr", "low": 0.01, "high": 1}]}
    return parse_study({**known, **fields}, "t")


def faults(study: AnyStudy, tmp_path: Path, options: Mapping[str, Any] | None = None) -> list[str]:
    with pytest.raises(PlanError) as refusal:
        make_plan(study, Options(**(options or {})), tmp_path)
    return refusal.value.faults


def data_of(classes: int) -> Any:
    return SimpleNamespace(counts=dict.fromkeys(("train", "val", "test"), [3] * classes))


def test_a_study_s_field_is_its_baseline_s_setting(tmp_path: Path) -> None:
    asked = ["f1_macro", "ece"]
    study = ablation(metrics=asked)
    assert study == ablation(baseline={"metrics": asked})
    file = tmp_path / "s.yaml"
    file.write_text(json.dumps(study.model_dump(mode="json")), encoding="utf-8")
    assert read_study(file) == study
    with pytest.raises(StudyError, match="metrics: stands in the baseline too; give it once"):
        ablation(metrics=asked, baseline={"metrics": asked})
    with pytest.raises(StudyError, match="did you mean 'metrics'"):
        ablation(metrcs=asked)


def test_primary_further_and_selection_may_be_any_of_them(write: Write, tmp_path: Path) -> None:
    write(GOOD)
    fields = {"metric": "test_cost", "further_metrics": ["test_kappa", "val_f1_macro"]}
    study = ablation(
        metrics=["kappa", COST, "f1_macro"], **fields, baseline={"selection.metric": "val_cost", "optimizer.lr": 0.1}
    )
    plan = make_plan(study, Options(), tmp_path)
    assert plan.invalid == []
    record = study_record(plan, [])
    assert record["metrics"] == [
        {"name": "cost", "maximise": False},
        {"name": "f1_macro", "maximise": True},
        {"name": "kappa", "maximise": True},
    ]


def test_a_study_without_them_is_recorded_as_before(tmp_path: Path) -> None:
    plan = make_plan(ablation(), Options(), tmp_path)
    assert "metrics" not in study_record(plan, [])
    assert "metrics" not in plan.trials[0].config


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"objectives": ["val_cost"]}, [("val_cost", False)]),
        ({"metric": "test_cost"}, [("val_cost", False)]),
        (
            {"objectives": ["val_kappa", "val_cost", "seconds"]},
            [("val_kappa", True), ("val_cost", False), ("seconds", False)],
        ),
    ],
)
def test_a_search_goes_by_them_in_their_direction(
    given: dict[str, Any], expected: list[tuple[str, bool]], write: Write, tmp_path: Path
) -> None:
    write(GOOD)
    plan = make_plan(search(metrics=["kappa", COST], **given), Options(), tmp_path)
    assert isinstance(plan.study, SearchStudy)
    assert objectives(plan.study) == expected
    by_option = make_plan(
        search(metric="test_kappa", metrics=["kappa", COST]), Options(objectives=("val_cost",)), tmp_path
    )
    assert by_option.study.metric == "test_cost"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"metric": "test_f1_macro"}, "`metrics: [f1_macro]` records it"),
        ({"metric": "train_kappa", "metrics": ["kappa"]}, "metric: 'train_kappa' is not recorded"),
        ({"metric": "test_kapa", "metrics": ["kappa"]}, "did you mean 'test_kappa'?"),
        ({"baseline": {"selection.metric": "val_mcc"}}, "`metrics: [mcc]` records it"),
        (
            {"factors": [{"name": "m", "levels": [{"name": "a"}, {"name": "b", "settings": {"metrics": ["ece"]}}]}]},
            "metrics: varied by the study, but it changes no number",
        ),
    ],
)
def test_what_cannot_answer_is_refused(fields: dict[str, Any], said: str, tmp_path: Path) -> None:
    assert any(said in fault for fault in faults(ablation(**fields), tmp_path))


@pytest.mark.parametrize("study", [ablation, search])
@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("def cost(scores, targets):\n    return 1.0, 2.0", "returns 2 values; allowed: one number for the split ("),
        ("def cost(scores):\n    return 1.0", "fails on scores (40, 10) and targets (40,): "),
        ("def gain(scores, targets):\n    return 1.0", "defines no cost; allowed: gain"),
    ],
)
def test_a_function_that_is_no_metric_is_the_study_s_fault(
    study: Any, function: str, said: str, write: Write, tmp_path: Path
) -> None:
    write(function)
    (fault,) = faults(study(metrics=[COST]), tmp_path)
    assert fault.startswith("metrics: mine.py:cost: ")
    assert said in fault


def test_a_metric_that_the_clock_decides_is_told_of(write: Write, tmp_path: Path) -> None:
    write("def cost(scores, targets):\n    return np.random.default_rng().random()")
    plan = make_plan(ablation(metrics=[COST]), Options(), tmp_path)
    (remark,) = plan.factory.own_remarks
    assert remark.startswith("mine.py:cost: gives other values for the same scores, so no rerun")


def test_the_function_s_code_is_part_of_a_trial(write: Write, tmp_path: Path) -> None:
    keys = []
    for text in (GOOD, GOOD.replace("1.0", "2.0"), f"# a remark\n{GOOD}"):
        write(text)
        keys.append(make_plan(ablation(metrics=[COST]), Options(), tmp_path).trials[0].trial)
    assert keys[0] == keys[2] != keys[1]


def test_top5_says_something_from_six_classes_on() -> None:
    config = resolve({"dataset.name": "digits", "model.name": "small_cnn", "metrics": ["top5_accuracy"]})
    assert list(whole_split_faults(config, data_of(6))) == []
    (fault,) = whole_split_faults(config, data_of(5))
    assert fault == "metrics: top5_accuracy says nothing of 5 classes: it is 1; allowed: from 6 on"


def test_landmarks_have_no_scores_and_faces_have(write: Write) -> None:
    points = {"dataset.name": "faces", "model.name": "stage1", "loss.name": "points", "metrics": ["ece"]}
    (fault,) = whole_split_faults(resolve(points), data_of(2))
    assert fault == "metrics: are of a classifier's scores, and points trains landmarks; allowed: []"
    faces = {"dataset.name": "faces", "model.name": "stage3", "loss.name": "face"}
    assert list(whole_split_faults(resolve(faces, {"metrics": ["ece"]}), data_of(2))) == []
    write("def accuracy_face(scores, targets):\n        return 1.0")
    taken = {"metrics": [{"name": "mine.py:accuracy_face", "maximise": True}]}
    (fault,) = whole_split_faults(resolve(faces, taken), data_of(2))
    assert "the name 'accuracy_face' is taken" in fault


@pytest.mark.parametrize(("before", "after"), [([], ["ece"]), (["ece"], []), (["ece"], ["ece", "mcc"])])
def test_a_run_goes_on_with_the_metrics_that_it_began_with(before: list[str], after: list[str], tmp_path: Path) -> None:
    spec = make_plan(ablation(metrics=before), Options(), tmp_path).trials[0]
    history = History()
    history.add(
        {"event": "start", "time": "", **{key: getattr(spec, key) for key in ("trial", "cell", "seed", "config")}}
    )
    with pytest.raises(PlanError, match=r"with other settings: metrics from .*; run it into another folder with --out"):
        remaining_work(make_plan(ablation(metrics=after), Options(), tmp_path), history)
    assert remaining_work(make_plan(ablation(metrics=before[::-1]), Options(), tmp_path), history)


@pytest.mark.parametrize(
    ("metric", "worst"), [("val_accuracy", 0.0), ("val_kappa", -1.0), ("val_gain", -WORST), ("val_ece", WORST)]
)
def test_a_trial_without_a_value_is_worse_than_any_other(metric: str, worst: float, write: Write) -> None:
    declare([{"name": "gain", "maximise": True}])
    assert Decisions(ASHA(name="asha"), 4, metric, metric != "val_ece").worst == worst
