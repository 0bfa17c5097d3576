"""A setting that changes nothing is refused, and so is a bound or a choice that its component does not take."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest

from core.component import Component, Needs
from core.errors import PlanError
from engine.planning.effect_checks import idle_in_ablation
from engine.planning.plan import make_plan
from engine.planning.run_options import Options
from engine.planning.search_checks import resolved_edges
from engine.planning.trial_factory import TrialFactory
from search_spaces.factors import Factor
from search_spaces.registry import STUDIES
from search_spaces.spaces import Choice, Number
from search_spaces.study import AblationStudy, AnyStudy, SearchStudy, parse_study
from trainables.config import KINDS, TrialConfig, resolve
from trainables.effects import no_effect

BASE = {"dataset.name": "digits", "model.name": "small_cnn"}


def _every_setting() -> Iterator[tuple[str, str | None, str]]:
    """(kind, component, setting): of every component of every kind, and of the groups that are one component."""
    for kind, components in KINDS.items():
        for name, owner in components.items():
            yield from ((kind, name, field) for field in owner.model_fields if field != "name")
    for kind in ("augmentation", "training", "selection", "inspect"):
        owner = TrialConfig.model_fields[kind].annotation
        assert isinstance(owner, type)
        yield from ((kind, None, field) for field in owner.model_fields)


SETTINGS = [pytest.param(*item, id=".".join(filter(None, item))) for item in _every_setting()]


def _owner(kind: str, name: str | None) -> type[Component]:
    return KINDS[kind][name] if name else TrialConfig.model_fields[kind].annotation  # type: ignore[return-value]


def _chosen(kind: str, name: str | None) -> dict[str, Any]:
    return {f"{kind}.name": name} if name else {}


def _ablation(baseline: dict[str, Any], *factors: Factor) -> AblationStudy:
    momentum = Factor.of("batch", {"64": {}, "32": {"training.batch_size": 32}})
    return AblationStudy(
        name="a", workload="digits", design="one_at_a_time", epochs=2, baseline=baseline, factors=factors or (momentum,)
    )


def _search(*space: Any, **fields: Any) -> dict[str, Any]:
    return {"name": "s", "workload": "digits", "epochs": 2, "kind": "search", "space": list(space), **fields}


def _found(study: AnyStudy, tmp_path: Path, **options: Any) -> list[str]:
    """The faults of a plan; none where it is no refusal."""
    try:
        make_plan(study, Options(**options), tmp_path)
    except PlanError as refusal:
        return refusal.faults
    return []


@pytest.mark.parametrize(("kind", "name", "setting"), SETTINGS)
def test_a_setting_whose_component_no_cell_chooses_is_refused(kind: str, name: str | None, setting: str) -> None:
    others = [other for other, owner in KINDS.get(kind, {}).items() if setting not in owner.model_fields]
    key = f"{kind}.{setting}"
    value = _owner(kind, name).model_fields[setting].get_default(call_default_factory=True)
    for other in others:
        study = _ablation({**_chosen(kind, name), key: value}, Factor.of("f", {"a": {f"{kind}.name": other}, "b": {}}))
        cells = [
            (cell, resolve(BASE, study.baseline, cell.settings, {f"{kind}.name": other}))
            for cell in study.layout().cells
        ]
        found = [fault for fault in idle_in_ablation(study, cells, None) if fault.startswith(key)]
        assert found == [f'{key} = {value!r} has no effect: {kind}.name is "{other}"']


@pytest.mark.parametrize(("kind", "name", "setting"), SETTINGS)
def test_a_setting_without_which_it_takes_no_effect_must_be_on(kind: str, name: str | None, setting: str) -> None:
    key = f"{kind}.{setting}"
    needs = [item for item in _owner(kind, name).model_fields[setting].metadata if isinstance(item, Needs)]
    config = resolve(BASE, _chosen(kind, name))
    if not needs:
        assert no_effect(config, key) is None
        return
    off = {"selection.rule": "last", "schedule.milestones": [], "model.trainable": "head", "dataset.faces_only": True}
    unmet = resolve(BASE, _chosen(kind, name), {other: off[other] for other in needs[0].keys if other in off})
    assert all(other in str(no_effect(unmet, key)) for other in needs[0].keys)
    on: dict[str, Any] = {
        "model.dropout_after": ["conv1"],
        "augmentation.crop_scale": [0.5, 1.0],
        "augmentation.rotation": 5.0,
        "schedule.milestones": [0.5],
    }
    first = needs[0].keys[0]
    met = {first: needs[0].values[0] if needs[0].values else on.get(first, True)}
    assert no_effect(resolve(BASE, _chosen(kind, name), met), key) is None


def _outside(annotation: Any, metadata: list[Any]) -> list[Number | Choice]:
    """Parameters of the key `k` that leave the domain of a setting of this type on either side, or have its name."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    bounds = {
        sign: getattr(item, sign) for item in metadata for sign in ("gt", "ge", "lt", "le") if hasattr(item, sign)
    }
    found: list[Number | Choice] = [Choice(key="k", choices=({"no": "value"},))]
    if annotation in (int, float):
        kind: Literal["int", "float"] = "int" if annotation is int else "float"
        low, high = bounds.get("gt", bounds.get("ge", 0)), bounds.get("lt", bounds.get("le"))
        if "gt" in bounds or "ge" in bounds:
            found.append(Number(key="k", kind=kind, low=low - 1, high=low + 1 if high is None else high))
        if high is not None:
            found.append(Number(key="k", kind=kind, low=low, high=high + 1))
            if "lt" in bounds:
                found.append(Number(key="k", kind=kind, low=(low + high) / 2, high=high))
        if annotation is int:
            found.append(Number(key="k", kind="float", low=2.5, high=3.5))
    return found


@pytest.mark.parametrize(("kind", "name", "setting"), SETTINGS)
def test_a_bound_or_a_choice_outside_of_a_setting_is_refused(kind: str, name: str | None, setting: str) -> None:
    field = _owner(kind, name).model_fields[setting]
    for parameter in _outside(field.annotation, field.metadata):
        own = parameter.model_copy(update={"key": f"{kind}.{setting}"})
        study = SearchStudy(name="s", workload="digits", epochs=2, baseline=_chosen(kind, name), space=(own,))
        _, faults = resolved_edges(study, TrialFactory(study, Options()))
        assert faults
        assert all(fault.startswith(f"space: {kind}.{setting}") for fault in faults), faults


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "augmentation.rotation is 0.0 and augmentation.translate is 0.0 and augmentation.crop_scale is null"),
        ({"augmentation.flip": True}, "augmentation.rotation is 0.0"),
        ({"augmentation.rotation": 5.0}, None),
        ({"dataset.eval_rotation": 5.0}, None),
    ],
)
def test_what_lies_around_a_face_counts_only_where_something_turns_it_in(
    settings: dict[str, Any], reason: str | None
) -> None:
    config = resolve({"dataset.name": "faces", "model.name": "stage3", "loss.name": "face", **settings})
    assert (no_effect(config, "dataset.context") or "").startswith(reason or "")
    assert (no_effect(config, "dataset.context") is None) == (reason is None)


@pytest.mark.parametrize(
    ("epochs", "patience", "forced", "refused"),
    [(3, 3, None, True), (3, 2, None, False), (3, 9, 3, False), (9, 3, None, False), (1, 1, None, True)],
)
def test_a_patience_that_no_budget_outlasts_is_refused(
    epochs: int, patience: int, forced: int | None, refused: bool, tmp_path: Path
) -> None:
    study = parse_study({**_search(DROPOUT, baseline={"training.patience": patience}), "epochs": epochs}, "s")
    found = _found(study, tmp_path, epochs=forced)
    assert any(f"training.patience = {patience} has no effect" in fault for fault in found) == refused, found


def test_a_patience_of_a_space_that_some_proposal_s_budget_does_not_outlast_is_refused(tmp_path: Path) -> None:
    patience = {"key": "training.patience", "kind": "int", "low": 0, "high": 6}
    (fault,) = _found(parse_study({**_search(patience), "epochs": 6}, "s"), tmp_path)
    assert fault == "space: training.patience = 6 has no effect: training.epochs is 6; allowed: up to 5"
    assert _found(parse_study({**_search(patience), "epochs": 7}, "s"), tmp_path) == []


@pytest.mark.parametrize("name", list(STUDIES))
def test_every_setting_of_the_programs_own_studies_counts(name: str) -> None:
    study = STUDIES[name]
    factory = TrialFactory(study, Options())
    if isinstance(study, SearchStudy):
        edges, faults = resolved_edges(study, factory)
        assert not faults
        assert all(no_effect(config, key) is None for key, _, config in edges)
    else:
        cells = [(cell, factory.config(cell.settings)) for cell in study.layout().cells]
        assert idle_in_ablation(study, cells, None) == []


@pytest.mark.parametrize(
    ("settings", "needle"),
    [
        ({"model.dropout_rate": 0.3}, "model.dropout_after is []"),
        ({"selection.epoch": 1}, 'selection.rule is "best"'),
        ({"augmentation.crop_ratio": [0.9, 1.1]}, "augmentation.crop_scale is null"),
        ({"model.name": "resnet18", "model.weights_file.resnet18": "/nonexistent"}, "model.pretrained is false"),
    ],
)
def test_a_setting_of_the_command_line_that_changes_nothing_is_refused(
    settings: dict[str, Any], needle: str, tmp_path: Path
) -> None:
    (fault,) = _found(_ablation({}), tmp_path, settings=settings)
    assert fault.startswith(list(settings)[-1])
    assert "has no effect" in fault
    assert needle in fault


def test_weights_of_a_network_that_no_cell_has_are_refused(tmp_path: Path) -> None:
    baseline = {"model.name": "resnet18", "model.pretrained": True, "model.weights_file.resnet50": "/x"}
    config = resolve(BASE, baseline)
    assert no_effect(config, "model.weights_file.resnet50") == 'model.name is "resnet18"'


def test_a_level_that_changes_nothing_in_its_own_cells_is_refused(tmp_path: Path) -> None:
    rate = Factor.of("rate", {"0.5": {}, "0.3": {"model.dropout_rate": 0.3}})
    place = Factor.of("place", {"off": {}, "conv1": {"model.dropout_after": ["conv1"]}})
    (fault,) = _found(_ablation({}, rate, place), tmp_path)
    assert fault == "rate=0.3: model.dropout_rate = 0.3 has no effect: model.dropout_after is []"
    crossed = _ablation({}, rate, place).model_copy(update={"design": "factorial"})
    assert make_plan(crossed, Options(), tmp_path).trials


def test_a_baseline_that_every_level_replaces_is_refused(tmp_path: Path) -> None:
    lr = Factor.of("lr", {"0.1": {"optimizer.lr": 0.1}, "0.2": {"optimizer.lr": 0.2}})
    (fault,) = _found(_ablation({"optimizer.lr": 0.5}, lr), tmp_path)
    assert "optimizer.lr = 0.5 has no effect" in fault
    assert make_plan(_ablation({"optimizer.lr": 0.1}, lr), Options(), tmp_path).trials


def test_a_run_begun_before_goes_on_with_settings_that_change_nothing(tmp_path: Path) -> None:
    study = _ablation({"model.dropout_rate": 0.3})
    assert make_plan(study, Options(), tmp_path, counting=()).trials
    with pytest.raises(PlanError, match="has no effect"):
        make_plan(study, Options(settings={"selection.epoch": 2}), tmp_path, counting=("selection.epoch",))


DROPOUT = {"key": "model.dropout_after", "kind": "choice", "choices": [[], ["conv1"]]}
OPTIMIZER = {"key": "optimizer.name", "kind": "choice", "choices": ["sgd", "adam"]}


@pytest.mark.parametrize(
    ("space", "needle"),
    [
        ([DROPOUT, {"key": "model.dropout_rate", "kind": "float"}], "no effect where model.dropout_after is []"),
        ([{"key": "model.dropout_rate", "kind": "float"}], "no effect where model.dropout_after is []"),
        ([OPTIMIZER, {"key": "optimizer.momentum", "kind": "float"}], "where optimizer.name is 'adam'"),
        (
            [{"key": "optimizer.nesterov", "kind": "choice", "choices": [False, True]}],
            "optimizer.nesterov = True: needs a momentum above 0",
        ),
        (
            [
                {"key": "optimizer.momentum", "kind": "float"},
                {"key": "optimizer.nesterov", "kind": "choice", "choices": [True, False]},
            ],
            "optimizer.nesterov = True: needs a momentum above 0",
        ),
        ([{"key": "training.batch_size", "kind": "int", "low": 1, "high": 128}], "training.batch_size: "),
        (
            [{"key": "optimizer.momentum", "kind": "float", "low": 0.5, "high": 1.0}],
            "allowed: less than 1",
        ),
        (
            [{"key": "optimizer.lr", "kind": "float", "low": 0.0, "high": 1.0}],
            "allowed: more than 0",
        ),
        (
            [{"key": "training.precision", "kind": "choice", "choices": ["fp32", "fp16"]}],
            "'fp16' is unknown",
        ),
        ([{"key": "model.bn_after", "kind": "choice", "choices": [[], ["conv7"]]}], "no layer 'conv7'"),
    ],
)
def test_a_space_with_an_edge_that_cannot_be_or_does_nothing_is_refused(
    space: list[Any], needle: str, tmp_path: Path
) -> None:
    study = parse_study(_search(*space), "s")
    found = _found(study, tmp_path)
    assert any(needle in fault for fault in found), found
    assert len(found) == 1


@pytest.mark.parametrize(
    ("when", "needle"),
    [
        ({"optimizer.name": ["SGD"]}, "did you mean 'sgd'?"),
        ({"training.batch_size": [7]}, "allowed: whole numbers from 16 to 64"),
        ({"optimizer.lr": [0.1]}, "a range of fractions has no such single value"),
    ],
)
def test_a_condition_on_a_value_that_never_comes_is_refused(when: dict[str, Any], needle: str) -> None:
    space = [
        OPTIMIZER,
        {"key": "training.batch_size", "kind": "int", "low": 16, "high": 64},
        {"key": "optimizer.lr", "kind": "float"},
        {"key": "optimizer.momentum", "kind": "float", "when": when},
    ]
    with pytest.raises(ValueError, match=r"never is|no such single value") as refusal:
        parse_study(_search(*space), "s")
    assert needle in str(refusal.value)


def test_conditions_that_exclude_each_other_are_refused(tmp_path: Path) -> None:
    schedule = {"key": "schedule.name", "kind": "choice", "choices": ["cosine", "step"]}
    gamma = {"key": "schedule.gamma", "kind": "float", "when": {"schedule.name": ["step"]}}
    t_max = {"key": "schedule.t_max", "kind": "float", "low": 0.5, "high": 1.0, "when": {"schedule.name": ["cosine"]}}
    both = {"key": "optimizer.momentum", "kind": "float", "when": {"schedule.name": ["step"], "schedule.t_max": [1.0]}}
    switch = {"key": "training.ema", "kind": "choice", "choices": [0.0, 0.9], "when": {"schedule.name": ["cosine"]}}
    never = {"key": "optimizer.momentum", "kind": "float", "when": {"schedule.name": ["step"], "training.ema": [0.9]}}
    with pytest.raises(ValueError, match="no such single value"):
        parse_study(_search(schedule, t_max, both), "s")
    (fault,) = _found(parse_study(_search(schedule, gamma, switch, never), "s"), tmp_path)
    assert fault == "space: optimizer.momentum: the conditions of its `when` never hold together"


def test_one_objective_is_the_metric() -> None:
    from search_spaces.study import StudyError, with_one_objective

    tree = with_one_objective(_search(DROPOUT, objectives=["val_loss"]))
    assert (tree["metric"], tree["objectives"]) == ("test_loss", [])
    with pytest.raises(StudyError, match="val_loss alone is what the search goes by"):
        with_one_objective(_search(DROPOUT, objectives=["val_loss"], metric="test_accuracy"))
    two = _search(DROPOUT, objectives=["val_loss", "seconds"])
    assert with_one_objective(two) == two


def test_one_objective_of_the_command_line_replaces_the_metric(tmp_path: Path) -> None:
    plan = make_plan(STUDIES["digits/search"], Options(objectives=("val_loss",)), tmp_path)
    assert json.loads(plan.study.model_dump_json())["metric"] == "test_loss"
    assert _found(STUDIES["digits/search"], tmp_path, objectives=("seconds",)) == [
        "objectives: 'seconds' alone would find the worst network that is fast; add a val_ metric"
    ]
