"""`new` writes studies that are valid as written, of every workload in every form, and refuses what it cannot write."""

import re
from pathlib import Path

import pytest

from engine.cli.new_study import OF_THE_PROGRAM, study_text, write_study
from engine.planning.plan import make_plan
from engine.planning.run_options import Options
from search_spaces.designs import DESIGNS
from search_spaces.study import AblationStudy, SearchStudy, Study
from search_spaces.study_file import read_study
from tests.conftest import Cli
from trainables.registry import LOSSES, WORKLOADS

DESIGN_NAMES = [*(name for name in DESIGNS if name != "confirm"), "search"]
OPTIONAL = re.compile(r"^# (\w+): (.*)$", re.MULTILINE)


@pytest.mark.parametrize("design", DESIGN_NAMES)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_workload_in_every_design_is_a_valid_study(workload: str, design: str, tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path / "mine.yaml", workload, design))
    assert (study.name, study.workload) == ("mine", workload)
    if isinstance(study, SearchStudy):
        assert design == "search"
        assert len(study.space) == 3
    else:
        assert study.design == design
        assert len(study.factors) == 2
        assert len(study.layout().cells) >= 3


@pytest.mark.parametrize("design", DESIGN_NAMES)
@pytest.mark.parametrize("workload", [name for name in WORKLOADS if name.startswith("digits")])
def test_what_needs_no_data_plans_as_it_is(workload: str, design: str, tmp_path: Path) -> None:
    study = read_study(write_study(tmp_path / "mine.yaml", workload, design))
    plan = make_plan(study, Options(), tmp_path / "run")
    assert plan.invalid == []
    assert [cell.cell.name for cell in plan.cells if cell.identical_to] == []
    assert plan.trials or study.kind == "search"


@pytest.mark.parametrize("design", ["ladder", "search"])
def test_every_field_stands_there_with_words_before_it(design: str) -> None:
    kind: type[Study] = SearchStudy if design == "search" else AblationStudy
    lines = study_text(Path("mine.yaml"), "digits", design).splitlines()
    for name in set(kind.model_fields) - OF_THE_PROGRAM:
        (place,) = [n for n, line in enumerate(lines) if re.match(rf"(# )?{name}:", line)]
        assert re.match("# [a-z]", lines[place - 1]), f"{name}: no docstring below the field"
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("workload", ["digits", "landmarks"])
@pytest.mark.parametrize("design", ["ladder", "one_at_a_time", "search"])
def test_each_field_that_may_be_left_out_can_be_uncommented_as_it_stands(
    workload: str, design: str, tmp_path: Path
) -> None:
    text = study_text(tmp_path / "mine.yaml", workload, design)
    names = [found[1] for found in OPTIONAL.finditer(text)]
    assert set(names) >= {"further_metrics"}
    for name in names:
        file = tmp_path / f"{name}.yaml"
        file.write_text(re.sub(rf"^# ({name}:)", r"\1", text, flags=re.MULTILINE), encoding="utf-8")
        study = read_study(file)
        assert name in study.model_fields_set
        if workload == "digits":
            make_plan(study, Options(), tmp_path / "run")


def test_settings_of_the_baseline_that_need_no_file_can_be_uncommented(tmp_path: Path) -> None:
    text = study_text(tmp_path / "mine.yaml", "digits", "ladder")
    file = tmp_path / "mine.yaml"
    file.write_text(re.sub(r"^  # (model.name|metrics):", r"  \1:", text, flags=re.MULTILINE), encoding="utf-8")
    study = read_study(file)
    assert set(study.baseline) == {"optimizer.name", "model.name", "metrics"}
    assert make_plan(study, Options(), tmp_path / "run").invalid == []


def test_metrics_are_those_of_the_task(tmp_path: Path) -> None:
    found = {name: read_study(write_study(tmp_path / f"{n}.yaml", name, "path")) for n, name in enumerate(WORKLOADS)}
    assert found["landmarks"].metric == "test_error_px"
    assert {study.metric for name, study in found.items() if name != "landmarks"} == {"test_accuracy"}
    assert {loss.task for loss in LOSSES.values()} >= {"landmarks"}


@pytest.mark.parametrize("stem", ["a b", "007", "yes", "null", "1e3", "x: y # z", "'", "über", "-", "[a]", "a.b"])
def test_the_study_is_called_as_its_file_whatever_yaml_reads_into_that(stem: str, tmp_path: Path) -> None:
    assert read_study(write_study(tmp_path / f"{stem}.yaml", "digits", "ladder")).name == stem


def test_a_workload_without_network_and_data_has_lines_that_show_how(monkeypatch: pytest.MonkeyPatch) -> None:
    from trainables.workloads.digits import DigitsSmallCNN

    monkeypatch.setattr(DigitsSmallCNN, "defaults", classmethod(lambda cls: {}))
    text = study_text(Path("mine.yaml"), "digits", "factorial")
    assert "  # model.name: mine.py:Net " in text
    assert "  # dataset.name: mine.py:Pictures " in text
    assert "--data-root DIR" in text


def test_what_cannot_be_written_is_told_all_at_once(cli_here: Cli, tmp_path: Path) -> None:
    done = cli_here("new", tmp_path / "absent" / "mine.txt", "--workload", "digit", "--design", "ablation")
    assert done.returncode == 2
    faults = done.stderr.splitlines()
    faults = [line for line in faults if line.startswith("error: ")]
    assert len(faults) == 4
    assert faults[0].endswith("mine.txt: a study's file ends in .yaml")
    assert faults[1].endswith(f"there is no folder {tmp_path / 'absent'}")
    assert faults[2].startswith("error: --workload digit: is unknown; allowed: ")
    assert faults[2].endswith("did you mean 'digits'?")
    assert faults[3].startswith("error: --design ablation: is none to begin with; allowed: one_at_a_time, ")
    assert "confirm" not in faults[3]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("there.yaml", "is there already"),
        ("folder.yaml", "is there already"),
        ("there.yaml/mine.yaml", "there is no folder"),
        (" mine.yaml", "has a space at an end"),
        ("...yaml", "is no path below results/"),
        ("mine\nelse.yaml", "holds a line break"),
        (".yaml", "ends in .yaml"),
        ("", "ends in .yaml"),
    ],
)
def test_a_file_that_cannot_be_a_new_study_is_refused(name: str, said: str, cli_here: Cli, tmp_path: Path) -> None:
    (tmp_path / "there.yaml").write_text("kept")
    (tmp_path / "folder.yaml").mkdir()
    done = cli_here("new", tmp_path / name if name else "", "--workload", "digits")
    assert done.returncode == 2
    assert said in done.stderr
    assert (tmp_path / "there.yaml").read_text() == "kept"
    assert len(list(tmp_path.iterdir())) == 2


def test_it_says_where_it_wrote_and_the_comments_are_commands(cli_here: Cli, tmp_path: Path) -> None:
    file = tmp_path / "my study.yaml"
    done = cli_here("new", file, "--workload", "digits")
    assert (done.returncode, done.stdout) == (0, f"written: {file}\n")
    assert read_study(file).design == "one_at_a_time"
    assert f"plan '{file}' " in file.read_text(encoding="utf-8")
