"""Configurations are strict at every depth, report all that is wrong at once, and survive being written down."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from core.component import Range
from core.value_words import shown
from trainables.config import (
    KINDS,
    SINGLE,
    ConfigError,
    TrialConfig,
    domain,
    flatten,
    from_tree,
    parse_value,
    resolve,
    types_of,
)

DIGITS = {"dataset.name": "digits", "model.name": "small_cnn"}


def faults(*layers: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        resolve(DIGITS, *layers)
    return caught.value.faults


def owners() -> Iterator[tuple[str, dict[str, str], type[BaseModel]]]:
    """Every group of settings: its kind, what chooses it, its class."""
    for kind, field in TrialConfig.model_fields.items():
        if kind in SINGLE:
            continue
        if kind in KINDS:
            yield from ((kind, {f"{kind}.name": name}, owner) for name, owner in KINDS[kind].items())
        else:
            yield kind, {}, field.annotation


def settings() -> list[tuple[str, dict[str, str], Any]]:
    """Every setting there is: dotted name, what chooses its component, its field."""
    return [
        (f"{kind}.{name}", chosen, field)
        for kind, chosen, owner in owners()
        for name, field in owner.model_fields.items()
    ]


def ranged() -> list[tuple[str, dict[str, str], Range]]:
    found = []
    for key, chosen, field in settings():
        found += [(key, chosen, item) for item in field.metadata if isinstance(item, Range)]
    return found


def test_every_kind_of_component_has_choices_that_call_themselves_as_the_registry_does() -> None:
    for kind, components in KINDS.items():
        assert components, kind
        for name in components:
            assert getattr(resolve(DIGITS, {f"{kind}.name": name}), kind).name == name


@pytest.mark.parametrize(
    ("kind", "chosen", "owner"), list(owners()), ids=lambda value: getattr(value, "__name__", None)
)
def test_an_unknown_setting_is_refused_with_the_nearest_name(kind: str, chosen: dict[str, str], owner: Any) -> None:
    near = list(owner.model_fields)[-1]
    (fault,) = faults(chosen, {f"{kind}.{near}x": 1})
    assert fault.startswith(f"{kind}.{near}x: unknown setting (value 1)")
    assert f"did you mean '{kind}.{near}'?" in fault


def test_an_unknown_group_is_refused_with_the_nearest_name() -> None:
    assert "did you mean 'optimizer'?" in faults({"optimzer.lr": 0.1})[0]
    tree = resolve(DIGITS).model_dump(mode="json")
    with pytest.raises(ConfigError, match=r"optimzer: unknown setting .* did you mean 'optimizer'"):
        from_tree({**tree, "optimzer": {}})


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_component_is_refused_with_the_nearest_name(kind: str) -> None:
    near = next(iter(KINDS[kind]))
    (fault,) = faults({f"{kind}.name": f"{near}_"})
    assert fault.startswith(f"{kind}.name: unknown {kind} '{near}_'; allowed: ")
    assert fault.endswith(f"did you mean {near!r}?")


@pytest.mark.parametrize("name", [None, 5, ["sgd"], True])
def test_a_component_s_name_that_is_no_text_is_refused(name: object) -> None:
    (fault,) = faults({"optimizer.name": name})
    assert fault.startswith(f"optimizer.name: unknown optimizer {name!r}; allowed: {', '.join(KINDS['optimizer'])}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optimizer.lr", "0.1"),
        ("optimizer.lr", True),
        ("optimizer.lr", None),
        ("optimizer.lr", float("nan")),
        ("optimizer.lr", float("inf")),
        ("optimizer.lr", {"x": 1}),
        ("training.epochs", True),
        ("training.epochs", 1.5),
        ("training.epochs", 2.0),
        ("training.epochs", "3"),
        ("training.epochs", 0),
        ("training.normalize", 1),
        ("training.normalize", "true"),
        ("training.precision", "fp16"),
        ("model.dropout_rate", 1.0),
        ("model.channels", []),
        ("augmentation.rotation", -1.0),
        ("dataset.limit_train", -1),
        ("optimizer.momentum", 1.0),
        ("loss.label_smoothing", 1.0),
        ("schedule.warmup", 1.0),
    ],
)
def test_a_value_of_another_type_or_outside_its_domain_is_refused_by_name_and_value(key: str, value: object) -> None:
    (fault,) = faults({key: value})
    assert fault.startswith(f"{key}: ")
    assert shown(value) in fault or (value == [] and "is empty" in fault)


@pytest.mark.parametrize(
    ("setting", "value", "where"),
    [
        ({"model.channels": [8, "16"]}, "'16'", "model.channels.1"),
        ({"model.bn_after": ["conv1", 2]}, "2", "model.bn_after.1"),
        ({"schedule.name": "multistep", "schedule.milestones": [0.5, 2]}, "2", "schedule.milestones.1"),
        ({"optimizer.name": "adam", "optimizer.betas": [0.9, "x"]}, "'x'", "optimizer.betas.1"),
    ],
)
def test_a_wrong_element_is_refused_by_its_place(setting: dict[str, Any], value: str, where: str) -> None:
    (fault,) = faults(setting)
    assert fault.startswith(f"{where}: ")
    assert value in fault


def test_a_whole_number_will_do_for_a_fraction() -> None:
    assert resolve(DIGITS, {"optimizer.lr": 1}).optimizer.lr == 1.0


def test_every_fault_is_reported_at_once() -> None:
    found = faults(
        {"optimzer.lr": 1, "optimizer.lr": "x", "training.epochs": True, "loss.gama": 1},
        {"dataset": "digits", "sampler.name": "wieghted"},
    )
    assert {fault.split(":")[0] for fault in found} == {
        "optimzer.lr",
        "optimizer.lr",
        "training.epochs",
        "loss.gama",
        "dataset",
        "sampler.name",
    }


def test_settings_that_contradict_each_other_are_refused_in_words() -> None:
    (fault,) = faults({"augmentation.crop_scale": [0.9, 0.1]})
    assert fault.startswith("augmentation.crop_scale = (0.9, 0.1): must be 0 < low ≤ high ≤ 1")
    (fault,) = faults({"optimizer.nesterov": True})
    assert fault.startswith("optimizer.nesterov = True: needs a momentum above 0")


def test_settings_below_a_setting_are_refused() -> None:
    assert "training.epochs has no settings of its own" in faults({"training.epochs": 3}, {"training.epochs.x": 1})[0]


def test_a_group_s_name_alone_is_refused_with_what_it_holds() -> None:
    (fault,) = faults({"optimizer": {"lr": 1}})
    assert "names a group of settings" in fault
    assert "optimizer.momentum" in fault


def test_a_missing_choice_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve({"dataset.name": "digits"})
    assert caught.value.faults[0].startswith("model.name: not given; allowed: small_cnn")


def test_switching_a_component_keeps_the_settings_that_both_have_and_drops_the_others() -> None:
    before = {"optimizer.lr": 0.3, "optimizer.momentum": 0.9, "optimizer.weight_decay": 0.1}
    adam = resolve(DIGITS, before, {"optimizer.name": "adam"}).optimizer
    assert (adam.lr, adam.weight_decay) == (0.3, 0.1)
    assert not hasattr(adam, "momentum")
    rmsprop = resolve(DIGITS, before, {"optimizer.name": "rmsprop"}).optimizer
    assert (rmsprop.lr, rmsprop.momentum) == (0.3, 0.9)


def test_naming_the_component_that_is_there_already_drops_nothing() -> None:
    assert resolve(DIGITS, {"optimizer.momentum": 0.9}, {"optimizer.name": "sgd"}).optimizer.momentum == 0.9


def test_a_switch_takes_its_own_settings_but_none_that_the_new_component_lacks() -> None:
    adam = resolve(DIGITS, {"optimizer.momentum": 0.9}, {"optimizer.betas": [0.8, 0.9], "optimizer.name": "adam"})
    assert adam.optimizer.betas == (0.8, 0.9)
    (fault,) = faults({"optimizer.name": "adam", "optimizer.momentum": 0.9})
    assert fault.startswith("optimizer.momentum: unknown setting")


def test_a_later_layer_wins_and_layers_are_left_as_they_were() -> None:
    layers = ({"optimizer.lr": 0.1, "model.channels": [4]}, {"optimizer.lr": 0.2})
    config = resolve(DIGITS, *layers)
    assert config.optimizer.lr == 0.2
    assert layers == ({"optimizer.lr": 0.1, "model.channels": [4]}, {"optimizer.lr": 0.2})


@pytest.mark.parametrize(
    ("text", "layers"),
    [("conv1+conv2", ("conv1", "conv2")), ("conv1,conv2", ("conv1", "conv2")), ("conv1", ("conv1",)), ("none", ())],
)
def test_layer_names_are_read_as_a_shell_passes_them(text: str, layers: tuple[str, ...]) -> None:
    assert resolve(DIGITS, {"model.bn_after": text}).model.bn_after == layers
    assert resolve(DIGITS, {"model.bn_after": list(layers)}) == resolve(DIGITS, {"model.bn_after": text})


def test_a_configuration_is_frozen_at_every_depth() -> None:
    config = resolve(DIGITS)
    with pytest.raises(ValidationError, match="frozen"):
        config.training = None
    with pytest.raises(ValidationError, match="frozen"):
        config.optimizer.lr = 1.0


def every_choice() -> list[dict[str, str]]:
    return [chosen for _, chosen, _ in owners() if chosen]


@pytest.mark.parametrize("chosen", every_choice(), ids=str)
def test_a_configuration_comes_back_from_its_tree_its_json_and_its_flat_settings(chosen: dict[str, str]) -> None:
    config = resolve(DIGITS, chosen)
    tree = config.model_dump(mode="json")
    assert from_tree(tree) == config
    assert from_tree(json.loads(json.dumps(tree))) == config
    assert resolve(flatten(config)) == config
    assert flatten(config)["training.epochs"] == config.training.epochs


@given(st.data())
def test_any_point_of_the_written_ranges_survives_the_round_trip(data: st.DataObject) -> None:
    key, chosen, found = data.draw(st.sampled_from(ranged()))
    whole = isinstance(flatten(resolve(DIGITS, chosen))[key], int)
    number = st.integers(int(found.low), int(found.high)) if whole else st.floats(found.low, found.high)
    value = data.draw(number)
    config = resolve(DIGITS, chosen, {key: value})
    assert flatten(config)[key] == value
    assert resolve(flatten(config)) == config


@pytest.mark.parametrize(("key", "chosen", "found"), ranged(), ids=str)
def test_both_ends_of_every_written_range_are_allowed_and_domain_finds_it(
    key: str, chosen: dict[str, str], found: Range
) -> None:
    assert domain(key, next(iter(chosen.values()), None)) == found
    assert found.low < found.high
    for end in (found.low, found.high):
        assert flatten(resolve(DIGITS, chosen, {key: end}))[key] == end


def test_a_range_is_the_chosen_component_s_own_and_none_where_none_is_written() -> None:
    assert domain("optimizer.lr", "sgd") == domain("optimizer.lr") == Range(1e-4, 1.0, log=True)
    assert domain("optimizer.lr", "adam") == Range(1e-5, 1e-1, log=True)
    assert domain("schedule.gamma", "step") == domain("schedule.gamma")
    for key in ("optimizer.nesterov", "optimizer.nonsense", "nonsense.lr", "training", ""):
        assert domain(key) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    st.lists,
    max_leaves=8,
)


@given(json_values)
def test_a_value_written_as_json_is_read_back(value: object) -> None:
    assert parse_value(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("3", 3),
        ("true", True),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ("adam", "adam"),
        ("", ""),
        ("a+b", "a+b"),
    ],
)
def test_a_value_is_json_where_it_parses_and_text_elsewhere(text: str, value: object) -> None:
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("dataset.path", "2024", "2024"),
        ("dataset.path", "007", "007"),
        ("dataset.path", "true", "true"),
        ("dataset.path", "null", "null"),
        ("dataset.path", '"2024"', "2024"),
        ("dataset.path", "[x]", "[x]"),
        ("inspect.image", "1e5", "1e5"),
        ("model.weights_file.resnet18", "12", "12"),
        ("loss.name", "1", "1"),
        ("optimizer.lr", ".001", 0.001),
        ("optimizer.lr", "1.", 1.0),
        ("optimizer.lr", "NaN", "NaN"),
        ("optimizer.lr", "Infinity", "Infinity"),
        ("training.normalize", "False", False),
        ("training.normalize", "TRUE", True),
        ("inspect.pictures", "null", None),
        ("training.batch_size", "010", 10),
        ("dataset.channels", "3", 3),
        ("model.bn_after", "[conv1, conv2]", ["conv1", "conv2"]),
        ("model.channels", "[8, 16]", [8, 16]),
        ("model.bn_after", "[conv1", "[conv1"),
        ("model.weights_file", '{"vgg19": "a"}', {"vgg19": "a"}),
        ("model.weights_file", '{"vgg19": "a", "vgg19": "b"}', '{"vgg19": "a", "vgg19": "b"}'),
        ("nonsense.key", "False", False),
    ],
)
def test_a_value_is_read_by_the_type_of_its_settings_field(key: str, text: str, value: object) -> None:
    parsed = parse_value(text, key)
    assert parsed == value
    assert type(parsed) is type(value)


def test_types_of_a_setting_are_those_of_every_component_that_has_it() -> None:
    assert types_of("model.hidden") == {int}
    assert types_of("diagnostics") == {bool}
    assert types_of("model.weights_file.vgg19") == {str}
    assert types_of("optimizer.betas") == {tuple}
    assert types_of("optimizer.rate") == types_of("nothing") == types_of("") == set()


@pytest.mark.parametrize("name", ["image_folder", "animals", "expressions", "eurosat"])
def test_a_tree_without_the_split_rule_was_read_by_name(name: str) -> None:
    now = resolve(DIGITS, {"dataset.name": name})
    tree = now.model_dump(mode="json")
    del tree["dataset"]["split_rule"]
    assert (now.dataset.split_rule, from_tree(tree).dataset.split_rule) == ("stratified", "by_name")
    assert from_tree(tree) == resolve(DIGITS, {"dataset.name": name, "dataset.split_rule": "by_name"})
