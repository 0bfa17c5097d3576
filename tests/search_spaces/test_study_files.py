"""Studies as users write them: YAML that comes back as it was meant, or a list of everything that is wrong with it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from core.component import did_you_mean
from search_spaces.designs import DESIGNS
from search_spaces.factors import Factor, Level
from search_spaces.registry import STUDIES
from search_spaces.study import AblationStudy, SearchStudy, StudyError, parse_study
from search_spaces.study_file import read_study

ABLATION = """
name: mine
question: Does momentum help?
workload: digits
baseline: {optimizer.lr: 1e-3, training.batch_size: 32}
design: one_at_a_time
factors:
  - name: momentum
    levels:
      - name: "off"
      - {name: "0.9", settings: {optimizer.momentum: 9e-1}}
epochs: 3
"""
SEARCH = """
name: mine
workload: digits
space:
  - {kind: choice, key: optimizer.name, choices: [sgd, adam]}
  - {kind: float, key: optimizer.lr, low: 1e-4, high: 1E-1, log: true}
  - {kind: float, key: optimizer.momentum, when: {optimizer.name: [sgd]}}
  - {kind: int, key: model.hidden, low: 8, high: 64}
epochs: 3
"""

FOREIGN = re.compile(
    "Input should|[Vv]alid (integer|number|string)|Extra inputs|Field required|discriminator|[Pp]ydantic|"
    "tag:yaml|constructor|Value error|at least 1 item|Tuple"
)  # words of libraries


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "study.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def faults(tmp_path: Path, text: str) -> list[str]:
    """What is wrong, without the file's name and the line, which every fault begins with."""
    return [fault for _, fault in located(tmp_path, text)]


def located(tmp_path: Path, text: str) -> list[tuple[int, str]]:
    """(line, what is wrong) of each fault; none of them is in pydantic's or the parser's words."""
    file = written(tmp_path, text)
    with pytest.raises(StudyError) as caught:
        read_study(file)
    found = []
    for fault in caught.value.faults:
        match = re.fullmatch(rf"{re.escape(str(file))}: line (\d+): (.*)", fault)
        assert match, fault
        assert not FOREIGN.search(match[2]), fault
        found.append((int(match[1]), match[2]))
    return found


def changed(text: str, **changes: Any) -> str:
    return yaml.safe_dump({**yaml.safe_load(text), **changes}, sort_keys=False)


def test_an_ablation_is_read_as_it_is_written(tmp_path: Path) -> None:
    study = read_study(written(tmp_path, ABLATION))
    assert isinstance(study, AblationStudy)
    assert study.baseline == {"optimizer.lr": 0.001, "training.batch_size": 32}
    assert study.factors == (Factor.of("momentum", {"off": {}, "0.9": {"optimizer.momentum": 0.9}}),)
    assert (study.seeds, study.metric) == (5, "test_accuracy")
    assert [cell.name for cell in study.layout().cells] == ["baseline", "momentum=0.9"]


def test_a_search_is_read_as_it_is_written(tmp_path: Path) -> None:
    study = read_study(written(tmp_path, SEARCH))
    assert isinstance(study, SearchStudy)
    assert study.space[1].bounds == (1e-4, 1e-1)
    assert study.space[2].when == {"optimizer.name": ("sgd",)}
    assert study.varied == {"optimizer.name", "optimizer.lr", "optimizer.momentum", "model.hidden"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        ("-1e-3", -1e-3),
        ("+2.5e3", 2500.0),
        (".5e1", 5.0),
        ("1.e2", 100.0),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        (".001", 0.001),
    ],
)
def test_numbers_are_numbers_however_they_are_written(text: str, value: float, tmp_path: Path) -> None:
    study = read_study(written(tmp_path, ABLATION.replace("1e-3", text)))
    assert study.baseline["optimizer.lr"] == value
    assert not isinstance(study.baseline["optimizer.lr"], str)


@pytest.mark.parametrize(
    "text", ["e5", "1e", "resnet18", "3e-4x", "'1e-3'", "2:1", "1_000", "2024-05-01", "=", "0b1", ".inf"]
)
def test_what_only_looks_like_a_number_stays_text(text: str, tmp_path: Path) -> None:
    study = read_study(written(tmp_path, ABLATION.replace("1e-3", text)))
    assert study.baseline["optimizer.lr"] == text.strip("'")


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_comes_back_from_the_json_that_a_file_of_it_holds(name: str, tmp_path: Path) -> None:
    study = STUDIES[name]
    tree = study.model_dump(mode="json")
    for again in (read_study(written(tmp_path, json.dumps(tree))), parse_study(tree, "here")):
        assert again.model_dump(mode="json") == tree
        assert type(again) is type(study)


def test_a_study_comes_back_from_yaml(tmp_path: Path) -> None:
    for text in (ABLATION, SEARCH):
        study = read_study(written(tmp_path, text))
        assert read_study(written(tmp_path, yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False))) == study


@pytest.mark.parametrize(
    ("text", "old", "new", "fault"),
    [
        (ABLATION, "epochs:", "epochs: 3\nmetrc: test_ce\nepochs:", "metrc: unknown field; .*did you mean 'metric'"),
        (ABLATION, "    levels:", "    levls: 1\n    levels:", "factors.0.levls: unknown field; .*mean 'levels'"),
        (ABLATION, ", settings:", ", setings:", "factors.0.levels.1.setings: unknown field; .*mean 'settings'"),
        (SEARCH, "low: 1e-4", "lw: 1e-4", "space.1.*lw: unknown field; .*mean 'low'"),
        (SEARCH, "choices:", "choces:", "space.0.*choces: unknown field; .*mean 'choices'"),
        (SEARCH, "epochs:", "sampls: 3\nepochs:", "sampls: unknown field; .*mean 'samples'"),
        (SEARCH, "epochs:", "design: ladder\nepochs:", "design: unknown field"),
    ],
)
def test_an_unknown_field_is_named_with_the_nearest(text: str, old: str, new: str, fault: str, tmp_path: Path) -> None:
    found = faults(tmp_path, text.replace(old, new))
    assert [each for each in found if re.match(fault, each)], found


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"design": "factrial"}, "design 'factrial' is unknown; allowed: .*did you mean 'factorial'"),
        ({"epochs": 0}, r"epochs: 0 is out of range; allowed: 1 and more"),
        ({"epochs": "3"}, "epochs: takes a whole number .got '3'"),
        ({"seeds": True}, "seeds: takes a whole number .got true"),
        ({"factors": []}, "factors: is empty"),
        ({"workload": None}, "workload: takes text .got null"),
        ({"references": {"momentum=0,9": "97 %"}}, "references name no cell: momentum=0,9; .*mean 'momentum=0.9'"),
        ({"kind": "grid"}, "kind: 'grid' is unknown; allowed: ablation, search"),
        ({"first_seed": -1}, "first_seed: -1 is out of range; allowed: 0 and more"),
        ({"path": ["momentum"]}, "path: belongs to design path, and the design is one_at_a_time"),
        ({"design": "path", "path": ["momentm"]}, "path: 'momentm' is no factor; .*did you mean 'momentum'"),
        ({"design": "path", "path": ["momentum", "momentum"]}, "path: a factor stands twice"),
    ],
    ids=str,
)
def test_a_field_that_cannot_be_is_refused_by_name(changes: dict[str, Any], fault: str, tmp_path: Path) -> None:
    (found,) = faults(tmp_path, changed(ABLATION, **changes))
    assert re.match(fault, found), found


def level(name: str) -> dict[str, Any]:
    return {"name": name, "settings": {"optimizer.lr": 0.1}}


def test_a_level_a_factor_and_a_parameter_that_stand_twice_are_refused(tmp_path: Path) -> None:
    twice = {"name": "lr", "levels": [level("a"), level("a")]}
    assert faults(tmp_path, changed(ABLATION, factors=[twice])) == ["factor 'lr' names a level twice: a, a"]
    factor = {"name": "lr", "levels": [level("a"), level("b")]}
    assert faults(tmp_path, changed(ABLATION, factors=[factor, factor])) == ["a factor stands twice: lr, lr"]
    parameter = {"kind": "choice", "key": "optimizer.name", "choices": ["sgd"]}
    assert faults(tmp_path, changed(SEARCH, space=[parameter, parameter])) == ["space: optimizer.name stands twice"]


def test_every_fault_is_reported_at_once(tmp_path: Path) -> None:
    text = changed(ABLATION, epochs=0, seeds=1.5, metrc="x", design="lader").replace("workload: digits\n", "")
    found = {re.split(":| ", fault)[0] for fault in faults(tmp_path, text)}
    assert found == {"epochs", "seeds", "metrc", "workload", "design"}
    text = changed(SEARCH, epochs=0, sampler="tep", trial_scheduler={"name": "x"})
    assert {re.split(":| ", fault)[0] for fault in faults(tmp_path, text)} == {
        "epochs",
        "sampler",
        "trial_scheduler.name",
    }


def test_a_fault_is_one_line_whatever_a_key_holds(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    ranges = r'space: [{key: optimizer.lr, low: 1, high: 2}, {key: "a\nb", low: 1, high: 2}]'
    file.write_text(f"name: mine\nworkload: digits\nepochs: 1\nsampler: grid\n{ranges}\n")
    with pytest.raises(StudyError) as refused:
        read_study(file)
    (fault,) = refused.value.faults
    assert "optimizer.lr, a b are ranges" in fault


def test_a_design_that_does_not_fit_its_factors_is_refused(tmp_path: Path) -> None:
    factor = {"name": "lr", "levels": [level("a"), level("b"), level("c")]}
    (fault,) = faults(tmp_path, changed(ABLATION, design="ladder", factors=[factor]))
    assert "takes factors of two levels" in fault


@pytest.mark.parametrize("text", ["", "- a\n- b", "just text", "a: [1", "- name: !!python/name:os.system x"])
def test_a_file_that_is_no_study_is_refused(text: str, tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, text)
    assert "cannot be read" in fault or "a study is a mapping" in fault or "is not taken" in fault


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="cannot be read"):
        read_study(tmp_path / "absent.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xff")
    with pytest.raises(StudyError, match="cannot be read"):
        read_study(tmp_path / "latin.yaml")


def test_a_level_without_a_name_and_a_factor_of_one_level_are_refused() -> None:
    with pytest.raises(ValidationError, match="at least 1 character"):
        Level(name="")
    with pytest.raises(ValidationError, match="at least 2 items"):
        Factor.of("alone", {"only": {}})


def test_off_and_on_are_names_of_levels_and_true_is_a_value(tmp_path: Path) -> None:
    text = ABLATION.replace('name: "off"', "name: off").replace(
        "{optimizer.momentum: 9e-1}", "{augmentation.flip: true}"
    )
    study = read_study(written(tmp_path, text))
    assert isinstance(study, AblationStudy)
    off, on = study.factors[0].levels
    assert off.name == "off"
    assert on.settings == {"augmentation.flip": True}


def test_the_seeds_of_a_study_are_counted_from_its_first(tmp_path: Path) -> None:
    study = read_study(written(tmp_path, changed(ABLATION, seeds=3)))
    assert list(study.replicates) == [0, 1, 2]
    later = read_study(written(tmp_path, changed(ABLATION, seeds=3, first_seed=4)))
    assert list(later.replicates) == [4, 5, 6]
    assert list(read_study(written(tmp_path, changed(SEARCH, seeds=2))).replicates) == [0, 1]


TWICE = """name: mine
workload: digits
epochs: 2
factors:
- {name: a, levels: [{name: off}, {name: b, settings: {optimizer.lr: 1}}]}
factors:
- name: momentum
  levels:
  - name: off
  - name: 0.9
    settings: {optimizer.momentum: 0.9}
    settings: {optimizer.momentum: 0.1}
epochs: 3
design: one_at_a_tim
"""


def test_keys_that_stand_twice_are_refused_with_both_lines_beside_all_other_faults(tmp_path: Path) -> None:
    assert located(tmp_path, TWICE) == [
        (6, "factors: stands twice, first in line 4; leave one out"),
        (13, "epochs: stands twice, first in line 3; leave one out"),
        (14, f"design 'one_at_a_tim' is unknown; {did_you_mean('one_at_a_tim', DESIGNS)}"),
    ]
    once = TWICE.replace(
        "factors:\n- {name: a, levels: [{name: off}, {name: b, settings: {optimizer.lr: 1}}]}\n", "", 1
    )
    inner = "factors.0.levels.1.settings: stands twice, first in line 9; leave one out"
    assert (10, inner) in located(tmp_path, once)


def test_every_fault_names_its_line(tmp_path: Path) -> None:
    text = """name: mine
seeds: many
factors:
- name: momentum
  levels:
  - {name: off}
  - settings: {optimizer.momentum: 0.9}
  - name: high
    setings: {}
trial_scheduler: {name: asha}
design: ladder
"""
    assert [(line, fault.split(": ")[0]) for line, fault in located(tmp_path, text)] == [
        (1, "workload"),
        (1, "epochs"),
        (2, "seeds"),
        (7, "factors.0.levels.1.name"),
        (9, "factors.0.levels.2.setings"),
        (10, "trial_scheduler"),
    ]


def test_a_field_of_the_other_kind_is_called_that(tmp_path: Path) -> None:
    assert faults(tmp_path, changed(SEARCH, factors=[])) == [
        "factors: unknown field of a search, which the study is by its kind"
    ]


@pytest.mark.parametrize(
    ("scheduler", "fault"),
    [
        ("{name: asha, grce: 0.1}", "trial_scheduler.grce: unknown field; allowed: name, grace, .*mean 'grace'"),
        ("{name: asah}", "trial_scheduler.name: 'asah' is unknown; allowed: none, asha, .*mean 'asha'"),
        ("{name: asha, grace: 2}", "trial_scheduler.grace: 2 is out of range; allowed: at most 1"),
        ("{}", "trial_scheduler.name: is missing"),
        ("asha", "trial_scheduler: takes a mapping .got 'asha'"),
    ],
)
def test_faults_of_a_trial_scheduler_name_its_own_fields(scheduler: str, fault: str, tmp_path: Path) -> None:
    (found,) = faults(tmp_path, SEARCH + f"trial_scheduler: {scheduler}\n")
    assert re.match(fault, found), found


def test_names_and_texts_are_what_is_written_and_not_the_number_it_looks_like(tmp_path: Path) -> None:
    text = (
        ABLATION.replace("name: mine", "name: 2024-05-01").replace('name: "0.9"', "name: 1e-2").replace('"off"', "010")
    ).replace("training.batch_size: 32", "inspect.image: 007, dataset.path: 2024")
    study = read_study(written(tmp_path, text + "references: {baseline: 0.780}\n"))
    assert isinstance(study, AblationStudy)
    assert study.name == "2024-05-01"
    assert [each.name for each in study.factors[0].levels] == ["010", "1e-2"]
    assert study.references == {"baseline": "0.780"}
    assert study.baseline == {"optimizer.lr": 0.001, "inspect.image": "007", "dataset.path": "2024"}


@pytest.mark.parametrize(
    ("parameter", "kind"),
    [
        ("{key: optimizer.lr, low: 1e-4, high: 1e-1}", "float"),
        ("{key: optimizer.lr, low: 1, high: 2}", "float"),
        ("{key: model.hidden, low: 8, high: 64}", "int"),
        ("{key: training.batch_size}", "int"),
        ("{key: optimizer.lr}", "float"),
        ("{key: model.hidden, choices: [8, 16]}", "choice"),
        ("{key: model.hidden, kind: float, low: 8, high: 64}", "float"),
    ],
)
def test_a_parameter_without_a_kind_has_that_of_its_setting(parameter: str, kind: str, tmp_path: Path) -> None:
    text = f"name: s\nworkload: digits\nepochs: 1\nspace:\n- {parameter}\n"
    study = read_study(written(tmp_path, text))
    assert isinstance(study, SearchStudy)
    assert study.space[0].kind == kind


def test_one_value_of_a_condition_needs_no_list(tmp_path: Path) -> None:
    study = read_study(
        written(tmp_path, SEARCH.replace("when: {optimizer.name: [sgd]}", "when: {optimizer.name: sgd}"))
    )
    assert isinstance(study, SearchStudy)
    assert study.space[2].when == {"optimizer.name": ("sgd",)}


@pytest.mark.parametrize(
    ("when", "fault"),
    [
        (
            "{optimizer.name: adm}",
            "when optimizer.name is 'adm': it never is; allowed: sgd, adam; did you mean 'adam'?",
        ),
        ("{optimizer.lr: 3}", "when optimizer.lr is 3: a range of fractions has no such single value; give it choices"),
        ("{optimizer.name: []}", "when optimizer.name names no value, so that it never holds"),
    ],
)
def test_a_condition_that_never_holds_is_refused(when: str, fault: str, tmp_path: Path) -> None:
    text = SEARCH.replace("when: {optimizer.name: [sgd]}", f"when: {when}")
    assert faults(tmp_path, text) == [f"space: optimizer.momentum: {fault}"]


@pytest.mark.parametrize(
    ("choices", "when", "read"),
    [
        ("[[], [conv1]]", "[conv1]", (["conv1"],)),
        ("[[], [conv1]]", "[]", ([],)),
        ("[[], [conv1], [conv2]]", "[[conv1], [conv2]]", (["conv1"], ["conv2"])),
        ("[conv1, [conv1]]", "[conv1]", ("conv1",)),
        ("[null, [conv1, conv2]]", "[conv1, conv2]", (["conv1", "conv2"],)),
    ],
)
def test_a_condition_on_a_list_may_give_the_list_itself(
    choices: str, when: str, read: tuple[Any, ...], tmp_path: Path
) -> None:
    layers = f"- {{key: model.dropout_after, choices: {choices}}}\n"
    rate = f"- {{key: model.dropout_rate, when: {{model.dropout_after: {when}}}}}\n"
    study = read_study(written(tmp_path, f"name: s\nworkload: digits\nepochs: 1\nspace:\n{layers}{rate}"))
    assert isinstance(study, SearchStudy)
    assert study.space[1].when["model.dropout_after"] == read
    again = parse_study(study.model_dump(mode="json"), "s")
    assert again == study


def test_a_space_of_billions_of_choices_is_read_at_once(tmp_path: Path) -> None:
    space = "".join(f"- {{key: k{i}, choices: [{', '.join(map(str, range(10)))}]}}\n" for i in range(12))
    study = read_study(written(tmp_path, f"name: s\nworkload: digits\nepochs: 1\nspace:\n{space}"))
    assert isinstance(study, SearchStudy)
    assert study.configurations == 20
